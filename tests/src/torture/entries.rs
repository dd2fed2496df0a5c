//! The entries of the trials.

use jiff::Timestamp;
use proto::{EntryDraft, Level, LogEntry};
use rand::{RngExt, rngs::StdRng};

/// Of the entries of a load one of so many is large, and has up to so many times 32 bytes.
const LARGE_ONE_OF: u32 = 100;
const LARGE_REPEATS: usize = 512;

/// An entry of a trial, made now.
pub(super) fn entry(level: Level, data: String) -> LogEntry {
    let level = Some(level.as_str().to_owned());
    let draft = EntryDraft { name: "torture".to_owned(), data, level, ..EntryDraft::default() };
    draft.check(Timestamp::now()).expect("it is within the limits")
}

/// Mostly small; one in twenty has several pages of its own in the store.
pub fn random_entry(random: &mut StdRng) -> LogEntry {
    let repeats = if random.random_ratio(1, 20) { 300 } else { random.random_range(1..8) };
    entry(Level::Info, format!("{:032x}", random.random::<u128>()).repeat(repeats))
}

/// Of any level; most are of the size of a line, and a few are large.
pub(super) fn entry_of_a_load(random: &mut StdRng) -> LogEntry {
    let level = Level::ALL[random.random_range(0..Level::ALL.len())];
    let most = if random.random_range(0..LARGE_ONE_OF) == 0 { LARGE_REPEATS } else { 8 };
    entry(level, format!("{:032x}", random.random::<u128>()).repeat(random.random_range(1..most)))
}
