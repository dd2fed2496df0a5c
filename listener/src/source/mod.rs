//! Where entries come from, and where those go that can never be stored. The rest of the listener knows a source by these
//! types alone: its deliveries are its own until they are acknowledged, and it delivers again what was not.

mod rabbitmq;

pub(crate) use rabbitmq::{DeadLetterQueue, Delivery, QueueWatch, Session, Subscription};

/// Why taking deliveries ended.
pub(crate) type Reason = Box<dyn std::error::Error + Send + Sync>;
