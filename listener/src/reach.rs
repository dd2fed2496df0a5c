//! How much one call to the logger may have: as much as gets there in time.

use std::time::Duration;

use proto::{
    LogEntry,
    limits::{BODY_BYTES, ENTRY_BYTES},
};

use crate::config::DEADLINE;

/// Of what took longer than this, twice as much might take longer than the deadline, or than the three seconds after which
/// `rpc` takes a connection for dead that does not answer.
const SHORT: Duration = DEADLINE.checked_div(4).expect("not by zero");

/// So many calls that took longer are stored before twice as much is tried nevertheless: it may not have been for the size.
const LONG_CALLS: u32 = 16;

/// Over a slow link a large batch would not be stored within the deadline however often it is sent. So what is unknown is
/// halved, and that is kept for the next batches. It grows again by doubling: a logger that was frozen leaves nothing
/// behind but a dozen calls.
#[derive(Debug)]
pub(crate) struct Reach {
    bytes: usize,
    /// How many calls in a row took long.
    long_calls: u32,
}

impl Reach {
    pub(crate) const fn new() -> Self {
        Reach { bytes: BODY_BYTES, long_calls: 0 }
    }

    /// How many of the entries go by one call, and how large they are; at least one.
    pub(crate) fn of<'a>(&self, entries: impl Iterator<Item = &'a LogEntry>) -> (usize, usize) {
        let (mut len, mut sum) = (0, 0);
        for entry in entries {
            let bytes = entry.payload_bytes() + ENTRY_BYTES;
            if len > 0 && sum + bytes > self.bytes {
                break;
            }
            (len, sum) = (len + 1, sum + bytes);
        }
        (len, sum)
    }

    /// Of so many bytes it is not known whether they are stored.
    pub(crate) fn unknown(&mut self, bytes: usize) {
        *self = Reach { bytes: (bytes / 2).max(1), long_calls: 0 };
    }

    /// So many were stored.
    pub(crate) fn stored(&mut self, bytes: usize, took: Duration) {
        if bytes < self.bytes / 2 {
            // That says nothing of what more would take.
            return;
        }
        self.long_calls += 1;
        if took <= SHORT || self.long_calls > LONG_CALLS {
            *self = Reach { bytes: (2 * self.bytes).min(BODY_BYTES), long_calls: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::EntryDraft;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Entries of so many bytes, as a call counts them.
    fn entries(count: usize, bytes: usize) -> Vec<LogEntry> {
        let data = "x".repeat(bytes - ENTRY_BYTES - 1);
        let draft = EntryDraft { name: "n".into(), data, ..EntryDraft::default() };
        let entry = draft.check("2026-01-31T12:00:00Z".parse().expect("a time")).expect("valid");
        vec![entry; count]
    }

    /// Hands over as the listener does, by a link of so many bytes in a second: what a batch of so many bytes became of.
    fn hand_over(reach: &mut Reach, bytes_per_second: usize, mut bytes: usize) -> (usize, usize) {
        let (mut stored, mut unknown) = (0, 0);
        while bytes > 0 {
            let sent = bytes.min(reach.bytes);
            let took = Duration::from_secs_f64(sent as f64 / bytes_per_second as f64);
            if took > DEADLINE {
                reach.unknown(sent);
                unknown += 1;
            } else {
                reach.stored(sent, took);
                bytes -= sent;
                stored += 1;
            }
        }
        (stored, unknown)
    }

    #[test]
    fn a_call_has_what_fits_and_at_least_one_entry() {
        let mut reach = Reach::new();
        assert_eq!(reach.of(entries(100, 1_000).iter()), (100, 100_000));
        reach.unknown(100_000);
        assert_eq!(reach.of(entries(100, 1_000).iter()), (50, 50_000));
        assert_eq!(reach.of(entries(9, 100_000).iter()), (1, 100_000));
        assert_eq!(reach.of([].iter()), (0, 0));
    }

    #[test]
    fn over_a_slow_link_a_batch_is_halved_until_it_gets_through_and_the_next_ones_begin_so() {
        let mut reach = Reach::new();
        assert_eq!(hand_over(&mut reach, MIB / 2, 8 * MIB), (4, 2), "2 MiB get through, 8 and 4 do not");
        assert_eq!(hand_over(&mut reach, MIB / 2, 8 * MIB), (4, 0));
        let (stored, unknown) = hand_over(&mut reach, MIB / 2, 200 * MIB);
        assert!(stored < 120 && unknown < 8, "{stored} {unknown}: now and then more is tried");
    }

    #[test]
    fn what_small_batches_take_says_nothing_of_large_ones() {
        let mut reach = Reach::new();
        hand_over(&mut reach, MIB / 2, 8 * MIB);
        for _ in 0..100 {
            reach.stored(1_000, Duration::from_millis(1));
        }
        assert_eq!(reach.bytes, 2 * MIB);
    }

    #[test]
    fn after_a_logger_was_frozen_for_long_it_is_as_large_as_before_after_some_calls() {
        let mut reach = Reach::new();
        let all = entries(256, 500);
        for _ in 0..120 {
            let (_, bytes) = reach.of(all.iter());
            reach.unknown(bytes);
        }
        let (mut left, mut calls) = (&all[..], 0);
        while !left.is_empty() {
            let (len, bytes) = reach.of(left.iter());
            reach.stored(bytes, Duration::from_millis(2));
            (left, calls) = (&left[len..], calls + 1);
        }
        assert!(calls < 20, "{calls}");
        assert_eq!(reach.of(all.iter()).0, all.len());
    }

    #[test]
    fn a_logger_that_is_slow_whatever_the_size_is_asked_for_more_after_some_calls() {
        let mut reach = Reach::new();
        reach.unknown(2_000);
        for _ in 0..=LONG_CALLS {
            reach.stored(1_000, DEADLINE - SHORT);
        }
        assert_eq!(reach.bytes, 2_000);
    }
}
