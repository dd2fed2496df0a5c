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

    /// As [`percentile`]; zero if there is none.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.0, percent).unwrap_or_default()
    }

    /// The longest; zero if there is none.
    pub(super) fn longest(&self) -> Duration {
        self.percentile(100)
    }
}

/// Of durations in order, the first that so many of a hundred do not exceed (the nearest rank); `None` if
/// there is none.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, all] = [50, 99, 100].map(|percent| self.percentile(percent).as_secs_f64() * 1e3);
        write!(f, "{half:.1} ms (p50), {most:.1} ms (p99), {all:.1} ms (most) of {}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let hundred: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        let of = |sorted: &[Duration], percent| percentile(sorted, percent).map(|of| of.as_millis());
        assert_eq!([1, 50, 99, 100].map(|percent| of(&hundred, percent)), [1, 50, 99, 100].map(Some));
        assert_eq!([of(&hundred[..1], 50), of(&hundred[..99], 99)], [Some(1), Some(99)]);
        assert_eq!(of(&[], 99), None);
    }
}
