//! Numbers by chance, for choices that only have to differ.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// The step of splitmix64, which visits every number once.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Draws, for all callers at a time and without a lock.
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    /// Draws otherwise than those of other processes.
    pub(crate) fn new() -> Self {
        Dice(AtomicU64::new(RandomState::new().build_hasher().finish()))
    }

    /// A number below `count`, which is not 0.
    pub(crate) fn below(&self, count: usize) -> usize {
        let mut number = self.0.fetch_add(STEP, Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^= number >> 31;
        // Below a count that is a usize itself.
        usize::try_from(number % count as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_as_often_as_another() {
        let dice = Dice::new();
        let mut drawn = [0; 5];
        (0..10_000).for_each(|_| drawn[dice.below(5)] += 1);
        assert!(drawn.iter().all(|times| (1_800..2_200).contains(times)), "{drawn:?}");
        assert_eq!(dice.below(1), 0);
    }
}
