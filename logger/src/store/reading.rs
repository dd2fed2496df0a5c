//! What reading has in common for all kinds of stores: where a page or a look of a tail ends, and how a time is found.
//! How rows are fetched is each kind's own.

use std::time::{Duration, Instant};

use proto::{Cursor, Filter, StoredEntry, Time};

use super::{
    Followed,
    row::{LeftOut, Raw, Unreadable},
};

/// Reads that run at once. Each holds a connection (of SQLite's a thread too), and a page of up to 2 MiB.
pub(super) const CONNECTIONS: usize = 4;

/// Tails that read at once, each for a tenth of a second.
pub(super) const TAILS: usize = CONNECTIONS / 2;

/// How long a read waits for a free connection. A page takes at most half a second.
pub(super) const WAIT: Duration = Duration::from_secs(1);

/// Maximum bytes of name and data on a page. As JSON they may become six times as many, and the page must still fit
/// into what a client takes.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Maximum entries that a tail gets at a time.
pub(super) const FOLLOWED: usize = 512;

/// So many rows in a row that cannot be trusted are passed over where a time is looked for; behind more of them one
/// sees what the next step finds.
pub(super) const ALTERED: u32 = 100;

/// Where a page ends, whatever its query says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// How long it may search.
    pub(super) time: Duration,
    /// How many sequence numbers are searched between two looks at the clock.
    pub(super) window: i64,
    /// How many bytes of name and data it may hold. It always holds one entry, if it found one.
    pub(super) bytes: usize,
}

impl Budget {
    /// What callers get.
    pub(super) const DEFAULT: Budget =
        Budget { time: Duration::from_millis(500), window: 10_000, bytes: PAGE_BYTES };

    /// What a tail gets at a time. Less, since it is kept for as long as its reader takes.
    pub(super) const FOLLOW: Budget =
        Budget { time: Duration::from_millis(100), window: 10_000, bytes: PAGE_BYTES / 4 };
}

/// The search for the first entry that was stored at a time or later, by halving: `stored_at` grows with the sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Halving {
    time: Time,
    low: i64,
    high: i64,
}

impl Halving {
    /// Among the numbers from `first` to `last`.
    pub(super) const fn new(time: Time, first: i64, last: i64) -> Self {
        Halving { time, low: first, high: last + 1 }
    }

    /// The number from which on a row is to be looked at; `None` once it is found.
    pub(super) const fn middle(&self) -> Option<i64> {
        if self.low < self.high { Some(self.low + (self.high - self.low) / 2) } else { None }
    }

    /// The first row that can be trusted from there on, if there is one.
    pub(super) fn seen(&mut self, middle: i64, next: Option<(i64, Time)>) {
        match next {
            Some((sequence, stored_at)) if stored_at < self.time => self.low = sequence + 1,
            Some(_) | None => self.high = middle,
        }
    }

    /// What was found: behind the last number if all was stored before.
    pub(super) const fn found(self) -> i64 {
        self.low
    }
}

/// Where a tail begins to look: behind what is no longer there, and what is further behind than the reader wants.
pub(super) fn not_too_far_behind(after: i64, first: i64, last: i64, max_lag: Option<u64>) -> i64 {
    let max_lag = max_lag.map_or(i64::MAX, |max_lag| i64::try_from(max_lag).unwrap_or(i64::MAX));
    after.max(first - 1).max(last.saturating_sub(max_lag))
}

/// What a look of a tail has found so far.
#[derive(Debug)]
pub(super) struct Found<'a> {
    entries: Vec<(StoredEntry, Cursor)>,
    bytes: usize,
    /// Everything up to here was looked at.
    pub(super) reached: i64,
    ended: bool,
    max_bytes: usize,
    deadline: Instant,
    left_out: &'a LeftOut,
}

impl<'a> Found<'a> {
    /// Nothing yet, behind `reached`.
    pub(super) fn new(reached: i64, budget: Budget, left_out: &'a LeftOut) -> Self {
        let deadline = Instant::now() + budget.time;
        Found {
            entries: Vec::new(),
            bytes: 0,
            reached,
            ended: false,
            max_bytes: budget.bytes,
            deadline,
            left_out,
        }
    }

    /// Whether there is enough, or the time is up.
    pub(super) fn is_full(&self) -> bool {
        self.ended
            || self.entries.len() >= FOLLOWED
            || self.bytes >= self.max_bytes
            || Instant::now() >= self.deadline
    }

    /// How many entries, and how many bytes of name and data, it may still take.
    pub(super) fn room(&self) -> (usize, usize) {
        (FOLLOWED - self.entries.len(), self.max_bytes.saturating_sub(self.bytes))
    }

    /// Looks at a row; `has_text` says whether its data holds what the filter looks for.
    pub(super) fn take<'row>(
        &mut self,
        sequence: i64,
        filter: &Filter,
        has_text: impl FnOnce() -> bool,
        raw: impl Fn() -> Result<Raw<'row>, Unreadable>,
    ) {
        // A time that was altered must not end the tail.
        match stored(&raw, filter) {
            Ok(Stored::TooLate) => {
                self.ended = true;
                return;
            }
            Ok(Stored::InTime) if has_text() => match raw().and_then(|raw| raw.entry()) {
                Ok(entry) => {
                    self.bytes += entry.name.len() + entry.data.len();
                    self.entries.push((entry, Cursor::after(sequence)));
                }
                Err(unreadable) => self.left_out.note(&unreadable),
            },
            Ok(Stored::InTime | Stored::TooEarly) => {}
            Err(unreadable) => self.left_out.note(&unreadable),
        }
        self.reached = sequence;
    }

    /// All of it. `last` is the number of the newest entry, and so many were missed before it began.
    pub(super) fn followed(self, missed: u64, last: i64) -> Followed {
        Followed {
            missed,
            entries: self.entries,
            reached: Cursor::after(self.reached),
            more: self.reached < last,
            ended: self.ended,
        }
    }
}

/// When an entry was stored, by the times that are asked for.
enum Stored {
    TooEarly,
    InTime,
    TooLate,
}

fn stored<'row>(
    raw: &impl Fn() -> Result<Raw<'row>, Unreadable>,
    filter: &Filter,
) -> Result<Stored, Unreadable> {
    if filter.since.is_none() && filter.until.is_none() {
        return Ok(Stored::InTime);
    }
    let stored_at = raw()?.stored_at()?;
    Ok(match (filter.since, filter.until) {
        (_, Some(until)) if stored_at >= until => Stored::TooLate,
        (Some(since), _) if stored_at < since => Stored::TooEarly,
        (_, _) => Stored::InTime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_begins_behind_what_is_deleted_and_what_is_too_far_behind() {
        for (after, first, last, max_lag, begin) in [
            (0, 1, 10, None, 0),
            (3, 1, 10, None, 3),
            (3, 6, 10, None, 5),
            (3, 1, 10, Some(4), 6),
            (3, 9, 10, Some(4), 8),
            (8, 1, 10, Some(4), 8),
            (10, 1, 10, Some(1), 10),
            (10, 11, 10, None, 10),
            (4, 11, 10, None, 10),
            (3, 1, 10, Some(u64::MAX), 3),
        ] {
            assert_eq!(not_too_far_behind(after, first, last, max_lag), begin, "{after} {first} {last}");
        }
    }

    #[test]
    fn halving_finds_the_first_of_a_time_or_what_lies_behind_all() {
        let time = |us| Time::from_microsecond(us).expect("a time");
        // Numbers 5 to 14, of which 8 and 9 are not there; three share each time.
        let rows: Vec<(i64, Time)> = [5, 6, 7, 10, 11, 12, 13, 14].map(|seq| (seq, time(seq / 3))).into();
        for (wanted, expected) in [(0, 5), (2, 6), (3, 10), (4, 12), (5, 15)] {
            let mut halving = Halving::new(time(wanted), 5, 14);
            while let Some(middle) = halving.middle() {
                halving.seen(middle, rows.iter().copied().find(|(sequence, _)| *sequence >= middle));
            }
            let first = rows.iter().find(|(sequence, _)| *sequence >= halving.found());
            let wanted_first = rows.iter().find(|(_, stored_at)| *stored_at >= time(wanted));
            assert_eq!(first, wanted_first, "{wanted}: {} instead of {expected}", halving.found());
        }
    }
}
