//! What repetitions allow to say: medians, intervals by the bootstrap, and whether there is a winner.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// How often the repetitions are drawn anew.
const RESAMPLES: usize = 2_000;

/// The part of the resamples that an interval holds.
const CONFIDENCE: f64 = 0.95;

/// The middle of some values; 0 if there is none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// An estimate, and the interval of 95 % around it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The median.
    pub middle: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The ratio of two things that were measured in the same repetitions: the median of the ratios, and an interval for
/// it by the percentile bootstrap over the repetitions. `None` without repetitions, or where one measured nothing.
pub fn paired_ratio(of: &[f64], to: &[f64], seed: u64) -> Option<Estimate> {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    if ratios.is_empty() || ratios.iter().any(|ratio| !ratio.is_finite() || *ratio <= 0.0) {
        return None;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut draw = || {
        let drawn = ratios.iter().map(|_| ratios[random.random_range(0..ratios.len())]);
        median(&drawn.collect::<Vec<_>>())
    };
    let mut medians: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    medians.sort_by(f64::total_cmp);
    let at = |part: f64| medians[((RESAMPLES - 1) as f64 * part).round() as usize];
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some(Estimate { middle: median(&ratios), low: at(tail), high: at(1.0 - tail) })
}

/// Who is ahead of all others, if anybody is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verdict<K> {
    /// This one, by that ratio to the second.
    Winner {
        /// The winner.
        of: K,
        /// The second.
        second: K,
        /// The winner's value over the second's, pair by pair.
        by: Estimate,
    },
    /// The interval of the ratio holds 1, or what two runs of the same differ by.
    Indistinguishable {
        /// The one with the highest median.
        of: K,
        /// The second.
        second: K,
    },
    /// Fewer than two were measured.
    Alone,
}

/// The one whose values are the highest. `noise` is the ratio by which two measurements of the same thing differ: an
/// advantage within it is none.
pub fn verdict<K: Copy>(candidates: &[(K, Vec<f64>)], noise: f64, seed: u64) -> Verdict<K> {
    let mut ranked: Vec<&(K, Vec<f64>)> =
        candidates.iter().filter(|(_, values)| !values.is_empty()).collect();
    ranked.sort_by(|a, b| median(&b.1).total_cmp(&median(&a.1)));
    let [(of, best), (second, next), ..] = ranked.as_slice() else { return Verdict::Alone };
    match paired_ratio(best, next, seed) {
        Some(by) if by.low > noise.max(1.0) => Verdict::Winner { of: *of, second: *second, by },
        Some(_) | None => Verdict::Indistinguishable { of: *of, second: *second },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_ratio_that_is_always_the_same_is_certain() {
        let ratio = paired_ratio(&[2.0, 4.0, 8.0], &[1.0, 2.0, 4.0], 1).expect("a ratio");
        assert_eq!(ratio, Estimate { middle: 2.0, low: 2.0, high: 2.0 });
        assert_eq!(paired_ratio(&[], &[], 1), None);
        assert_eq!(paired_ratio(&[1.0], &[0.0], 1), None);
    }

    #[test]
    fn the_pairs_count_not_the_values() {
        // The machine becomes three times slower half way; the ratio stays.
        let fast = vec![300.0, 290.0, 310.0, 100.0, 97.0];
        let slow: Vec<f64> = fast.iter().map(|value| value / 1.2).collect();
        let verdict = verdict(&[("slow", slow), ("fast", fast)], 1.05, 1);
        assert!(matches!(verdict, Verdict::Winner { of: "fast", second: "slow", .. }), "{verdict:?}");
    }

    #[test]
    fn what_lies_within_the_noise_has_no_winner() {
        let one = vec![100.0, 104.0, 98.0, 101.0, 99.0];
        let other = vec![99.0, 105.0, 100.0, 98.0, 101.0];
        let same = verdict(&[(1, one.clone()), (2, other)], 1.0, 1);
        assert!(matches!(same, Verdict::Indistinguishable { .. }), "{same:?}");
        let little: Vec<f64> = one.iter().map(|value| value * 1.03).collect();
        let little = verdict(&[(1, one.clone()), (2, little)], 1.05, 1);
        assert!(matches!(little, Verdict::Indistinguishable { .. }), "{little:?}");
        assert_eq!(verdict(&[(1, one)], 1.0, 1), Verdict::Alone);
    }
}
