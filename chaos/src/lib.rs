//! What proving a promise takes: a [`Relay`] that breaks connections on purpose, and a [`Journal`] of what was
//! sent and answered, which is held against what is stored. Used by the tests, and by whatever measures.

mod journal;
mod relay;

pub use journal::{Answer, Journal, Verdict};
pub use relay::{Direction, Fault, Relay};
