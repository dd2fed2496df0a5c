//! Where entries come from, and where dead letters go. The rest of the listener knows a source by these types
//! alone: a delivery stays with the source until it is acknowledged, and is redelivered otherwise.

mod rabbitmq;

pub(crate) use rabbitmq::{DeadLetterQueue, Delivery, QueueWatch, Session, Subscription};

/// Why taking deliveries ended.
pub(crate) type Reason = Box<dyn std::error::Error + Send + Sync>;
