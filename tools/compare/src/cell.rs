//! One thing that is measured: what is asked, how much of it, over what.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use rig::Verdict;
use serde::{Deserialize, Serialize};

use crate::workload::{Ending, Shape, Subject};

/// From 1 µs to a minute, with three digits.
const LOWEST_US: u64 = 1;
const HIGHEST_US: u64 = 60_000_000;
const DIGITS: u8 = 3;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The transport, or the baseline.
    pub subject: Subject,
    /// What the logger does with entries.
    pub store: Keeping,
    /// Whether entries share the broker's calls.
    #[serde(default)]
    pub calls: Calls,
    /// Bytes of `data` of each entry.
    pub payload_bytes: usize,
    /// Entries of each request.
    pub batch: usize,
    /// How requests come.
    pub shape: Shape,
    /// What it is measured for.
    pub part: Part,
}

/// What the logger does with entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeping {
    /// It stores and syncs them.
    Synced,
    /// It forgets them, `LOGGER_STORE=nothing`.
    Nothing,
}

/// Whether entries that are in flight together share the broker's calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Calls {
    /// They do, as the broker is shipped.
    #[default]
    Shared,
    /// Each has one of its own, `BROKER_COALESCE=off`.
    Own,
}

/// The part of the report that a cell is measured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Payload by callers, closed loop.
    Grid,
    /// A cell of the grid once more: by how much does the same differ from itself?
    Again,
    /// A call for each entry, closed loop.
    Calls,
    /// Batches, closed loop.
    Batches,
    /// The store that keeps nothing, closed loop.
    Durability,
    /// The search for the highest rate that is carried, open loop.
    Knee,
    /// The same absolute rates for all, open loop.
    Rates,
    /// Parts of each one's own knee, open loop.
    Own,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject.as_str(), bytes(self.payload_bytes))?;
        if self.batch > 1 {
            write!(f, " x {}", self.batch)?;
        }
        match self.shape {
            Shape::Closed { callers: 1 } => write!(f, ", 1 client")?,
            Shape::Closed { callers } => write!(f, ", {callers} clients")?,
            Shape::Open { rate } => write!(f, ", {rate:.0}/s")?,
        }
        if self.store == Keeping::Nothing {
            write!(f, ", nothing kept")?;
        }
        if self.calls == Calls::Own {
            write!(f, ", a call for each")?;
        }
        Ok(())
    }
}

/// A size as it is read: `64 B`, `16 KiB`.
pub fn bytes(bytes: usize) -> String {
    if bytes >= 1024 && bytes.is_multiple_of(1024) {
        format!("{} KiB", bytes / 1024)
    } else {
        format!("{bytes} B")
    }
}

/// What one repetition of a cell has shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// For how long requests were due.
    pub duration: Duration,
    /// From the first request due to the last answer.
    pub answering: Duration,
    /// From the first request due to the last entry stored, where entries are stored.
    pub storing: Option<Duration>,
    /// Requests by how they ended.
    pub endings: BTreeMap<Ending, u64>,
    /// Entries in the requests that were accepted.
    pub accepted: u64,
    /// What the store says of them.
    pub kept: Verdict,
    /// From due to answered, of every request that was due; what was never sent counts as what was waited for it.
    pub answered: Latencies,
    /// From due to stored, by the logger's stamp.
    pub stored: Latencies,
    /// By how much the generator itself was late.
    pub late: Latencies,
    /// CPU time by process.
    #[serde(alias = "processor")]
    pub cpu_time: BTreeMap<String, Duration>,
    /// Peak memory by process, in KiB.
    pub peak_memory_kib: BTreeMap<String, u64>,
}

impl Measured {
    /// Accepted entries per second until the last answer.
    pub fn accepted_per_second(&self) -> f64 {
        self.accepted as f64 / self.answering.as_secs_f64()
    }

    /// Entries per second until the last was stored; until the last answer where nothing is stored.
    pub fn stored_per_second(&self) -> f64 {
        self.accepted as f64 / self.storing.unwrap_or(self.answering).as_secs_f64()
    }

    /// Requests in all.
    pub fn requests(&self) -> u64 {
        self.endings.values().sum()
    }

    /// The part of the requests that was not accepted.
    pub fn errors(&self) -> f64 {
        let accepted = self.endings.get(&Ending::Accepted).copied().unwrap_or_default();
        1.0 - accepted as f64 / self.requests().max(1) as f64
    }
}

/// Durations, as an HDR histogram: from 1 µs to 60 s, with three digits. Kept as what was counted, so that they can
/// be merged and drawn again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, DIGITS);
        Latencies(histogram.expect("the bounds are sound"))
    }
}

impl From<Vec<(u64, u64)>> for Latencies {
    fn from(counted: Vec<(u64, u64)>) -> Self {
        let mut latencies = Latencies::default();
        for (value, count) in counted {
            latencies.0.saturating_record_n(value, count);
        }
        latencies
    }
}

impl From<Latencies> for Vec<(u64, u64)> {
    fn from(latencies: Latencies) -> Self {
        let recorded = latencies.0.iter_recorded();
        recorded.map(|value| (value.value_iterated_to(), value.count_at_value())).collect()
    }
}

impl Latencies {
    /// Takes one more; what is beyond a minute counts as a minute.
    pub fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(HIGHEST_US));
    }

    /// Takes all of another.
    pub fn merge(&mut self, other: &Latencies) {
        self.0 += &other.0;
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency that a part (0.99) does not exceed, in microseconds. `None` if fewer than ten are beyond it, which
    /// would be an accident and not a percentile.
    pub fn percentile(&self, part: f64) -> Option<u64> {
        let beyond = self.0.len() as f64 * (1.0 - part);
        (beyond >= 9.999).then(|| self.0.value_at_quantile(part))
    }

    /// The longest, in microseconds; `None` if there is none.
    pub fn longest(&self) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.max())
    }

    /// The whole distribution: part and microseconds, so many steps for each halving of what is left.
    pub fn curve(&self) -> Vec<(f64, u64)> {
        const STEPS: u32 = 5;
        let points = self.0.iter_quantiles(STEPS);
        points.map(|point| (point.quantile_iterated_to(), point.value_iterated_to())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_ten_beyond_it() {
        let mut latencies = Latencies::default();
        for millis in 1..=1_000 {
            latencies.add(Duration::from_millis(millis));
        }
        let near = |part: f64, millis: f64| {
            let value = latencies.percentile(part).expect("enough") as f64 / 1e3;
            assert!((value / millis - 1.0).abs() < 0.002, "{part}: {value}");
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        assert_eq!(latencies.percentile(0.999), None);
    }

    #[test]
    fn what_was_counted_survives_being_written_down() {
        let mut latencies = Latencies::default();
        for micros in [0, 1, 17, 999, 123_456, 100_000_000] {
            latencies.add(Duration::from_micros(micros));
        }
        let text = serde_json::to_string(&latencies).expect("JSON");
        let read: Latencies = serde_json::from_str(&text).expect("as it was written");
        assert_eq!(read.0, latencies.0);
    }
}
