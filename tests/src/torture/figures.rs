//! How measured times are summed up.

use std::{fmt, time::Duration};

/// Some durations.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread(Vec<Duration>);

impl Spread {
    /// Takes one more.
    pub(super) fn add(&mut self, duration: Duration) {
        let position = self.0.partition_point(|other| *other < duration);
        self.0.insert(position, duration);
    }

    /// The one that so many of a hundred do not exceed; zero if there is none.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The longest; zero if there is none.
    pub(super) fn longest(&self) -> Duration {
        self.percentile(100)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, all] = [50, 99, 100].map(|percent| self.percentile(percent).as_secs_f64() * 1e3);
        write!(f, "{half:.1} ms (p50), {most:.1} ms (p99), {all:.1} ms (most) of {}", self.0.len())
    }
}
