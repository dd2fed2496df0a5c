//! Which logger gets a call: of two that are drawn, the one with fewer calls in flight.
//!
//! The fewest of all would be the same one for many brokers at a time.

use super::standing::Standing;
use crate::address::MOST_ADDRESSES;

/// Some of the loggers, by their positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Positions(u32);

const _: () = assert!(MOST_ADDRESSES <= u32::BITS as usize, "each has a bit");

impl Positions {
    fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The one that has so many before it.
    fn nth(self, before: usize) -> usize {
        let left = (0..before).fold(self.0, |left, _| left & left.wrapping_sub(1));
        left.trailing_zeros() as usize
    }
}

/// Which of `count` loggers gets a call, each of which stands so: one that takes calls, or where none does the one that
/// has answered last. After a refusal by `refused` it is another that takes calls, if there is one.
pub(super) fn choose<'a>(
    count: usize,
    standing: impl Fn(usize) -> &'a Standing,
    refused: Option<usize>,
) -> Option<usize> {
    let others = (0..count).filter(|at| Some(*at) != refused);
    let takes_calls = others.filter(|at| standing(*at).takes_calls());
    let open = Positions(takes_calls.fold(0, |open, at| open | 1 << at));
    if open.count() == 0 {
        // On a machine that stalls all may be silent: the one that is down is the one that was silent before. Of several
        // that have answered at the same time, or never, it is any.
        let first = fastrand::usize(..count);
        let all = (0..count).map(|at| (first + at) % count);
        return all.max_by_key(|at| standing(*at).answered()).filter(|_| refused.is_none());
    }
    let one = fastrand::usize(..open.count());
    let one_more = if open.count() > 1 { 1 + fastrand::usize(..open.count() - 1) } else { 0 };
    let [one, other] = [one, (one + one_more) % open.count()].map(|before| open.nth(before));
    let is_less = standing(other).in_flight() < standing(one).in_flight();
    Some(if is_less { other } else { one })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{Code, Direct};

    use super::{super::standing::Said, *};

    fn standings(count: usize) -> Vec<Standing> {
        (0..count).map(|at| Standing::new(format!("logger-{at}:8082").into(), Direct::Http)).collect()
    }

    fn refuse(standing: &Standing) {
        standing.begin().ended(Said::Refusal(Code::Draining));
    }

    /// How often each is chosen.
    fn tally(all: &[Standing], refused: Option<usize>) -> Vec<usize> {
        let mut chosen = vec![0; all.len()];
        for _ in 0..6_000 {
            if let Some(at) = choose(all.len(), |at| &all[at], refused) {
                chosen[at] += 1;
            }
        }
        chosen
    }

    #[tokio::test(start_paused = true)]
    async fn those_with_as_many_calls_in_flight_get_as_many_calls() {
        let chosen = tally(&standings(3), None);
        assert!(chosen.iter().all(|times| (1_700..2_300).contains(times)), "{chosen:?}");
        assert_eq!(tally(&standings(1), None), [6_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_with_most_calls_in_flight_gets_none_and_the_one_with_fewest_wins_whenever_it_is_drawn() {
        let all = standings(3);
        let _calls = [all[0].begin(), all[0].begin(), all[1].begin()];
        let chosen = tally(&all, None);
        assert_eq!(chosen[0], 0, "of any two, the other has fewer");
        // Drawn in two of three pairs.
        assert!((3_700..4_300).contains(&chosen[2]), "{chosen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_out_gets_no_calls_unless_all_are() {
        let all = standings(3);
        refuse(&all[1]);
        let chosen = tally(&all, None);
        assert!(chosen[0] > 2_500 && chosen[1] == 0 && chosen[2] > 2_500, "{chosen:?}");
        all.iter().for_each(refuse);
        assert!(tally(&all, None).iter().all(|times| *times > 1_500), "somebody must say no");
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_out_the_one_that_has_answered_last_gets_the_calls() {
        let all = standings(3);
        for at in [0, 2, 1] {
            tokio::time::advance(Duration::from_millis(1)).await;
            all[at].begin().ended(Said::Answer);
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        all.iter().for_each(refuse);
        // That it was called since says nothing.
        tokio::time::advance(Duration::from_millis(1)).await;
        let _call = all[0].begin();
        assert_eq!(tally(&all, None), [0, 6_000, 0]);
        assert_eq!(tally(&all, Some(1)), [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_another_gets_the_call_and_nobody_where_all_others_are_out() {
        let all = standings(3);
        let chosen = tally(&all, Some(0));
        assert!(chosen[0] == 0 && chosen[1] > 2_500 && chosen[2] > 2_500, "{chosen:?}");
        refuse(&all[1]);
        assert_eq!(tally(&all, Some(0)), [0, 0, 6_000]);
        refuse(&all[2]);
        assert_eq!(tally(&all, Some(0)), [0, 0, 0]);
        assert_eq!(tally(&standings(1), Some(0)), [0]);
    }

    #[test]
    fn positions_are_found_in_their_order() {
        let some = Positions(0b1001_0100);
        assert_eq!((some.count(), [0, 1, 2].map(|before| some.nth(before))), (3, [2, 4, 7]));
    }
}
