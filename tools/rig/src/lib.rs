//! What proving a promise takes: services as a [`Process`] and RabbitMQ as a [`Node`] that can be killed and frozen, a
//! [`Relay`] that breaks connections on purpose, and a [`Journal`] of what was sent and answered, which is held
//! against what is stored. Used by the tests, and by whatever measures.

mod journal;
mod node;
mod process;
mod tap;

pub use ::relay::{Direction, Fault, Relay};
pub use journal::{Answer, Journal, Verdict};
pub use node::Node;
pub use process::{NotReady, Process, Usage, forget_peak_memory};
pub use tap::{LogTo, Tap};
