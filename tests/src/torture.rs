//! Tries to break what the system promises, over and over, and verifies what was answered against what is stored.
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
pub mod load;
pub mod log;
pub mod lone;
pub mod nested_headers;
pub mod overload;
pub mod postgres_killed;
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
mod trial;

pub use load::Load;
pub use trial::Trial;

use jiff::Timestamp;
use proto::{EntryDraft, Level, LogEntry};
use rand::{RngExt, rngs::StdRng};
use rig::Verdict;

/// What comes of a trial: an error, if what it stands on does not work.
pub type Tried = anyhow::Result<Report>;

/// What a trial has shown.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many rounds it had.
    pub rounds: u32,
    /// How many entries were sent.
    pub entries: usize,
    /// How many of them were accepted.
    pub accepted: usize,
    /// What was measured, for the table.
    pub figures: String,
    /// Each promise that was broken, in a sentence. None, if all held.
    pub broken: Vec<String>,
}

impl Report {
    /// What a reconciliation has shown.
    pub fn of(verdict: &Verdict, rounds: u32) -> Self {
        let broken = if verdict.is_sound() { Vec::new() } else { vec![verdict.to_string()] };
        let (entries, accepted) = (verdict.sent, verdict.accepted);
        Report { rounds, entries, accepted, figures: verdict.to_string(), broken }
    }
}

/// An entry of a trial, made now.
pub(crate) fn entry(level: Level, data: String) -> LogEntry {
    let level = Some(level.as_str().to_owned());
    let draft = EntryDraft { name: "torture".to_owned(), data, level, ..EntryDraft::default() };
    draft.check(Timestamp::now()).expect("it is within the limits")
}

/// Mostly small; one in twenty has several pages of its own in the store.
pub fn random_entry(random: &mut StdRng) -> LogEntry {
    let repeats = if random.random_ratio(1, 20) { 300 } else { random.random_range(1..8) };
    entry(Level::Info, format!("{:032x}", random.random::<u128>()).repeat(repeats))
}
