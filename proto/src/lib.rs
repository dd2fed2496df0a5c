//! The contract of Fourwire: what an entry is, what may become of it, and how both look on each wire.
//!
//! Everything that two processes must agree on stands here and nowhere else. This crate opens no socket,
//! reads no environment and starts no task.
//!
//! In reading order: an [`EntryDraft`] becomes a valid [`LogEntry`]; it travels by a [`Transport`]; what
//! became of it is an [`Outcome`] or a [`Failure`]; [`StoredEntry`] is what one reads back. Which ones is a [`Filter`]:
//! that of a page in a [`Query`], that of a tail in a [`TailQuery`]. The modules [`json`], [`rpc`], [`grpc`] and
//! [`rabbitmq`] hold the form on each wire.

pub mod limits;
pub mod release;

mod bounded;
mod entry;
mod filter;
mod gathered;
mod outcome;
mod per_outcome;
mod query;
mod read;
mod tail;
mod time;
mod transport;

pub mod grpc;
pub mod json;
pub mod rabbitmq;
pub mod rpc;

pub use bounded::Bounded;
pub use entry::{EntryDraft, Level, LogEntry};
pub use filter::Filter;
#[cfg(feature = "clap")]
pub use filter::flag;
pub use gathered::Gathered;
pub use outcome::{BatchMode, BatchReceipt, Certainty, Code, Failure, Outcome, Receipt};
pub use per_outcome::PerOutcome;
pub use query::Query;
pub use read::{Cursor, Page, StoredEntry, parse_entry_id};
pub use tail::{TailEvent, TailQuery};
pub use time::{NoTime, Time};
pub use transport::Transport;
