//! The contract of Fourwire: what an entry is, what may become of it, and how both look on each wire.
//!
//! Everything that two processes must agree on stands here and nowhere else. This crate opens no socket,
//! reads no environment and starts no task.
//!
//! In reading order: an [`EntryDraft`] becomes a valid [`LogEntry`]; it travels by a [`Transport`], alone or in a
//! [`Batch`]; what became of it is an [`Outcome`] or a [`Failure`]; [`StoredEntry`] is what one reads back. Which ones
//! is a [`Filter`]: that of a page in a [`Query`], that of a tail in a [`TailQuery`]. The modules [`json`], [`rpc`],
//! [`netrpc`], [`grpc`] and [`rabbitmq`] hold the form on each wire.

pub mod limits;
pub mod release;

mod batch;
mod bounded;
mod code;
mod entry;
mod failure;
mod filter;
mod outcome;
mod per_outcome;
mod per_transport;
mod query;
mod read;
mod tail;
mod time;
mod transport;
mod words;

pub mod grpc;
pub mod json;
pub mod netrpc;
pub mod rabbitmq;
pub mod rpc;

pub use batch::{Batch, check_batch_len};
pub use bounded::Bounded;
pub use code::{Certainty, Code};
pub use entry::{EntryDraft, Level, LogEntry, too_long};
pub use failure::Failure;
pub use filter::Filter;
#[cfg(feature = "clap")]
pub use filter::flag;
pub use outcome::{BatchMode, BatchReceipt, Outcome, Receipt};
pub use per_outcome::PerOutcome;
pub use per_transport::PerTransport;
pub use query::Query;
pub use read::{Cursor, Page, StoredEntry, parse_entry_id};
pub use tail::{TailEvent, TailQuery};
pub use time::{NoTime, Time};
pub use transport::{Direct, Indirect, Promise, Transport};
