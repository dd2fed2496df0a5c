//! What a burst has measured over one transport.

use std::time::Duration;

use proto::{Certainty, Failure, Outcome, Transport, json::WireBytes};
use serde::Serialize;

/// The picture has so many columns for each power of ten, from so many microseconds on, and so many in all: up to 10 s.
const COLUMNS_PER_DECADE: u32 = 10;
const FROM_US: u32 = 10;
const COLUMNS: usize = 60;

/// Counts, and keeps how long each accepted entry took.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sent: u32,
    rejected: u32,
    not_stored: u32,
    unknown: u32,
    /// In microseconds.
    took: Vec<u64>,
}

/// How far it is.
#[derive(Debug, Serialize)]
pub(crate) struct Progress {
    transport: Transport,
    sent: u32,
    accepted: usize,
    refused: u32,
    per_second: f64,
}

/// What it came to.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    transport: Transport,
    sent: u32,
    accepted: usize,
    rejected: u32,
    not_stored: u32,
    unknown: u32,
    /// Accepted entries per second, while they were sent.
    per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_us: Option<Spread>,
    /// From created to stored, by the clocks of broker and logger, where the answer does not wait for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_us: Option<Spread>,
    /// How many of the accepted ones are stored.
    stored: usize,
    /// On the wire for each accepted entry, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire_bytes: Option<WireBytes>,
    histogram: Histogram,
}

/// Percentiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Spread {
    median: u64,
    p95: u64,
    p99: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct Histogram {
    from_us: u32,
    columns_per_decade: u32,
    counts: Vec<u32>,
}

impl Tally {
    /// One is on its way.
    pub(crate) fn send(&mut self) {
        self.sent += 1;
    }

    /// One was answered after so long.
    pub(crate) fn answer(&mut self, answer: Result<Outcome, &Failure>, took: Duration) {
        match answer.map_err(Failure::certainty) {
            Ok(_) => self.took.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            Err(Certainty::Rejected) => self.rejected += 1,
            Err(Certainty::NotStored) => self.not_stored += 1,
            Err(Certainty::Unknown) => self.unknown += 1,
        }
    }

    pub(crate) fn accepted(&self) -> usize {
        self.took.len()
    }

    pub(crate) fn progress(&self, transport: Transport, begun: Duration) -> Progress {
        Progress {
            transport,
            sent: self.sent,
            accepted: self.accepted(),
            refused: self.rejected + self.not_stored + self.unknown,
            per_second: per_second(self.accepted(), begun),
        }
    }

    /// `stored`: how long each took that is known to be stored, unless the answer says so.
    pub(crate) fn measured(
        self,
        transport: Transport,
        begun: Duration,
        bytes: WireBytes,
        stored: Option<Vec<u64>>,
    ) -> Measured {
        let accepted = self.accepted();
        let mut counts = vec![0; COLUMNS];
        for us in &self.took {
            counts[column(*us)] += 1;
        }
        let each = |bytes: u64| bytes / accepted.max(1) as u64;
        Measured {
            transport,
            sent: self.sent,
            accepted,
            rejected: self.rejected,
            not_stored: self.not_stored,
            unknown: self.unknown,
            per_second: per_second(accepted, begun),
            answered_us: Spread::of(self.took),
            stored: stored.as_ref().map_or(accepted, Vec::len),
            stored_us: stored.and_then(Spread::of),
            wire_bytes: (accepted > 0)
                .then(|| WireBytes { sent: each(bytes.sent), received: each(bytes.received) }),
            histogram: Histogram { from_us: FROM_US, columns_per_decade: COLUMNS_PER_DECADE, counts },
        }
    }
}

impl Spread {
    /// `None` of nothing.
    fn of(mut us: Vec<u64>) -> Option<Self> {
        us.sort_unstable();
        let max = *us.last()?;
        let within = |percent: usize| us[(percent * us.len()).div_ceil(100) - 1];
        Some(Spread { median: within(50), p95: within(95), p99: within(99), max })
    }
}

fn column(us: u64) -> usize {
    let place = (us.max(1) as f64 / f64::from(FROM_US)).log10() * f64::from(COLUMNS_PER_DECADE);
    // What is shorter than the first or longer than the last belongs to it: `as` saturates.
    (place.floor() as usize).min(COLUMNS - 1)
}

fn per_second(count: usize, begun: Duration) -> f64 {
    let seconds = begun.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured_and_of_nothing_there_are_none() {
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(Spread::of(vec![7]), Some(Spread { median: 7, p95: 7, p99: 7, max: 7 }));
        let spread = Spread::of((1..=100).rev().collect()).expect("some");
        assert_eq!(spread, Spread { median: 50, p95: 95, p99: 99, max: 100 });
    }

    #[test]
    fn each_answer_counts_as_what_it_was_and_in_its_column() {
        let mut tally = Tally::default();
        for (answer, us) in [(Ok(Outcome::Stored), 10), (Ok(Outcome::Queued), 105), (Ok(Outcome::Stored), 1)]
        {
            tally.send();
            tally.answer(answer, Duration::from_micros(us));
        }
        for failure in [Failure::unreachable("it"), Failure::unknown("it")] {
            tally.send();
            tally.answer(Err(&failure), Duration::from_secs(1));
        }
        let bytes = WireBytes { sent: 900, received: 30 };
        let second = Duration::from_secs(1);
        let measured = tally.measured(Transport::Rabbitmq, second, bytes, Some(vec![3]));
        let Measured { sent, accepted, rejected, not_stored, unknown, stored, .. } = measured;
        assert_eq!((sent, accepted, rejected, not_stored, unknown, stored), (5, 3, 0, 1, 1, 1));
        assert_eq!(measured.wire_bytes, Some(WireBytes { sent: 300, received: 10 }));
        assert_eq!(measured.per_second, 3.0);
        let counts = measured.histogram.counts;
        assert_eq!((counts[0], counts[10], counts.iter().sum::<u32>()), (2, 1, 3));
        assert_eq!([column(0), column(9_999_999), column(u64::MAX)], [0, 59, 59]);
    }
}
