//! What repetitions allow to say: medians, their intervals, and whether there is a winner.

use serde::{Deserialize, Serialize};

/// The least part of all cases in which an interval must hold the true median.
const CONFIDENCE: f64 = 0.95;

/// A difference of this much is named; less is not, however certain: it changes with the next commit.
pub(crate) const LEAST_NOISE: f64 = 1.03;

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

/// An estimate, and the interval around it: of 95 % where there are six repetitions or more, of all that was seen where
/// there are fewer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The median.
    pub middle: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The ratio of two things that were measured in the same repetitions: the median of the ratios, and the interval that
/// holds the true median in 95 % of all cases or more, however the ratios are distributed: its ends are two of the
/// ratios themselves (order statistics). A bootstrap of so few would promise more than it keeps. `None` without
/// repetitions, or where one measured nothing.
pub fn paired_ratio(of: &[f64], to: &[f64]) -> Option<Estimate> {
    let mut ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    if ratios.is_empty() || ratios.iter().any(|ratio| !ratio.is_finite() || *ratio <= 0.0) {
        return None;
    }
    ratios.sort_by(f64::total_cmp);
    let end = end_of_interval(ratios.len()).unwrap_or(0);
    Some(Estimate { middle: median(&ratios), low: ratios[end], high: ratios[ratios.len() - 1 - end] })
}

/// What the ends of an interval of so many repetitions are, in words.
pub fn interval(repetitions: usize) -> &'static str {
    match end_of_interval(repetitions) {
        Some(_) => "an interval of 95 %",
        None => "the lowest and the highest (too few for an interval)",
    }
}

/// Whether so many repetitions are enough for an interval of 95 %.
pub(crate) fn has_interval(repetitions: usize) -> bool {
    end_of_interval(repetitions).is_some()
}

/// How many of the lowest, and of the highest, of so many values lie outside of the interval of the median; `None` if
/// there are too few for one.
fn end_of_interval(len: usize) -> Option<usize> {
    // The true median lies below the lowest of n values with a chance of 1 in 2^n, and so on: a binomial distribution.
    let (mut outside, mut term) = (0.0, 0.5_f64.powi(i32::try_from(len).ok()?));
    let mut end = None;
    for below in 0..len.div_ceil(2) {
        outside += term;
        if 1.0 - 2.0 * outside < CONFIDENCE {
            break;
        }
        end = Some(below);
        term *= (len - below) as f64 / (below + 1) as f64;
    }
    end
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
    /// There are too few repetitions for an interval.
    TooFew,
}

/// The one whose values are the highest. `noise` is the ratio by which two measurements of the same thing differ: an
/// advantage within it is none.
pub fn verdict<K: Copy>(candidates: &[(K, Vec<f64>)], noise: f64) -> Verdict<K> {
    let mut ranked: Vec<&(K, Vec<f64>)> =
        candidates.iter().filter(|(_, values)| !values.is_empty()).collect();
    ranked.sort_by(|a, b| median(&b.1).total_cmp(&median(&a.1)));
    let [(of, best), (second, next), ..] = ranked.as_slice() else { return Verdict::Alone };
    if ranked.iter().any(|(_, values)| !has_interval(values.len())) {
        return Verdict::TooFew;
    }
    let is_ahead = |of: &Estimate| of.low > noise.max(1.0);
    let of_all =
        ranked[1..].iter().all(|(_, other)| paired_ratio(best, other).as_ref().is_some_and(is_ahead));
    match paired_ratio(best, next) {
        Some(by) if of_all => Verdict::Winner { of: *of, second: *second, by },
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
        let ratio = paired_ratio(&[2.0, 4.0, 8.0], &[1.0, 2.0, 4.0]).expect("a ratio");
        assert_eq!(ratio, Estimate { middle: 2.0, low: 2.0, high: 2.0 });
        assert_eq!(paired_ratio(&[], &[]), None);
        assert_eq!(paired_ratio(&[1.0], &[0.0]), None);
    }

    #[test]
    fn an_interval_holds_what_it_promises() {
        // The chance that the median lies outside of the lowest and the highest of n is 2 / 2^n.
        assert_eq!(
            [5, 6, 8, 9, 11, 12].map(end_of_interval),
            [None, Some(0), Some(0), Some(1), Some(1), Some(2)]
        );
        let ratios: Vec<f64> = (1..=9).map(f64::from).collect();
        let ratio = paired_ratio(&ratios, &[1.0; 9]).expect("a ratio");
        assert_eq!(ratio, Estimate { middle: 5.0, low: 2.0, high: 8.0 });
    }

    #[test]
    fn a_winner_is_ahead_of_all_others_and_not_only_of_the_second() {
        let best = vec![120.0; 7];
        let second = vec![110.0; 7];
        // Behind in the middle, and sometimes ahead.
        let third = vec![60.0, 60.0, 60.0, 60.0, 130.0, 60.0, 60.0];
        let without = verdict(&[("best", best.clone()), ("second", second.clone())], 1.03);
        assert!(matches!(without, Verdict::Winner { of: "best", .. }), "{without:?}");
        let with = verdict(&[("best", best), ("second", second), ("third", third)], 1.03);
        assert!(matches!(with, Verdict::Indistinguishable { .. }), "{with:?}");
    }

    #[test]
    fn too_few_repetitions_have_no_winner() {
        let verdict = verdict(&[(1, vec![200.0; 5]), (2, vec![100.0; 5])], 1.03);
        assert_eq!(verdict, Verdict::TooFew);
    }

    #[test]
    fn the_pairs_count_not_the_values() {
        // The machine becomes three times slower half way; the ratio stays.
        let fast = vec![300.0, 290.0, 310.0, 100.0, 97.0, 99.0];
        let slow: Vec<f64> = fast.iter().map(|value| value / 1.2).collect();
        let verdict = verdict(&[("slow", slow), ("fast", fast)], 1.05);
        assert!(matches!(verdict, Verdict::Winner { of: "fast", second: "slow", .. }), "{verdict:?}");
    }

    #[test]
    fn what_lies_within_the_noise_has_no_winner() {
        let one = vec![100.0, 104.0, 98.0, 101.0, 99.0, 100.0];
        let other = vec![99.0, 105.0, 100.0, 98.0, 101.0, 100.0];
        let same = verdict(&[(1, one.clone()), (2, other)], 1.0);
        assert!(matches!(same, Verdict::Indistinguishable { .. }), "{same:?}");
        let little: Vec<f64> = one.iter().map(|value| value * 1.03).collect();
        let little = verdict(&[(1, one.clone()), (2, little)], 1.05);
        assert!(matches!(little, Verdict::Indistinguishable { .. }), "{little:?}");
        assert_eq!(verdict(&[(1, one)], 1.0), Verdict::Alone);
    }
}
