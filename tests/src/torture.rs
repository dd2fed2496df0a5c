//! Tries to break what the system promises, over and over, and holds what was answered against what is stored.
//!
//! A [`Trial`] is one way to try. Both `make torture`, with many rounds, and the end-to-end tests, with a few, run
//! them. Each kind of trial has a file of its own.

pub mod clock_leaps;
pub mod confirm_ownership;
pub mod control;
pub mod disk_full;
pub mod disk_was_full;
pub mod duplicates;
pub mod listener_restarted;
pub mod log;
pub mod lone;
pub mod nested_headers;
pub mod overload;
pub mod power_loss;
pub mod queue_deleted;
pub mod rabbitmq_alarm;
pub mod rabbitmq_killed;
pub mod slow_clients;
pub mod soak;
pub mod store_files;
pub mod sync_order;
pub mod under_load;

mod figures;
mod load;
mod trial;

pub use load::Load;
pub use trial::{Report, Trial};

use jiff::Timestamp;
use proto::{EntryDraft, Level, LogEntry};

/// An entry of a trial, made now.
fn entry(level: Level, data: String) -> LogEntry {
    let level = Some(level.as_str().to_owned());
    let draft = EntryDraft { name: "torture".to_owned(), data, level, ..EntryDraft::default() };
    draft.check(Timestamp::now()).expect("it is within the limits")
}
