//! The prefetch: small until it is known what arrives.

/// Maximum memory that unacked deliveries may take, in bytes: a prefetch of 512 with 128 KiB each. RabbitMQ knows no such
/// limit, so the prefetch follows the size of what comes, and where more is unacked nothing is taken.
pub(crate) const UNACKED_BYTES: usize = 64 * 1024 * 1024;

/// How much larger the next prefetch is. From 1 to 512 in three steps.
const GROWTH: usize = 8;

/// The prefetch of the next subscription.
///
/// A listener that dies loses a delivery of all that it holds, and after 20 losses RabbitMQ takes a message for what kills
/// the listener. So it begins with one at a time, and takes more only while none has been lost before more than once: what
/// kills it then dies alone.
#[derive(Debug)]
pub(crate) struct Pace {
    most: usize,
    prefetch: usize,
    /// How many have been settled with this prefetch.
    settled: usize,
    /// About the largest lately, in bytes.
    largest: usize,
}

impl Pace {
    pub(crate) fn new(most: u16) -> Self {
        Pace { most: usize::from(most), prefetch: 1, settled: 0, largest: 1 }
    }

    pub(crate) fn prefetch(&self) -> u16 {
        u16::try_from(self.prefetch).unwrap_or(u16::MAX)
    }

    /// Begins again with one at a time.
    pub(crate) fn begin(&mut self) {
        (self.prefetch, self.settled) = (1, 0);
    }

    /// A batch is settled: so many deliveries, the largest of so many bytes, and none that has been lost too often. Says
    /// whether another prefetch is better now.
    pub(crate) fn learn(&mut self, deliveries: usize, largest: usize) -> bool {
        self.settled += deliveries;
        // What was large once is forgotten gradually.
        self.largest = largest.max(self.largest / 2).max(1);
        let bound = (UNACKED_BYTES / self.largest).clamp(1, self.most);
        // Not for little: each change takes a moment in which nothing is taken.
        let next = if self.prefetch >= 2 * bound {
            bound
        } else if self.settled >= self.prefetch && bound >= self.most.min(2 * self.prefetch) {
            bound.min(GROWTH * self.prefetch)
        } else {
            self.prefetch
        };
        let changed = next != self.prefetch;
        if changed {
            (self.prefetch, self.settled) = (next, 0);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_one_and_grows_with_what_was_settled() {
        let mut pace = Pace::new(512);
        assert_eq!(pace.prefetch(), 1);
        for (settled, prefetch) in [(1, 8), (7, 8), (1, 64), (64, 512), (5_000, 512)] {
            pace.learn(settled, 100);
            assert_eq!(pace.prefetch(), prefetch);
        }
        pace.begin();
        assert_eq!(pace.prefetch(), 1);
    }

    #[test]
    fn what_is_large_makes_it_small_and_is_forgotten() {
        let mut pace = Pace::new(512);
        for _ in 0..3 {
            pace.learn(512, 100);
        }
        assert!(pace.learn(1, UNACKED_BYTES / 4));
        assert_eq!(pace.prefetch(), 4);
        assert!(pace.learn(1, 2 * UNACKED_BYTES));
        assert_eq!(pace.prefetch(), 1);
        let batches = (0..100)
            .take_while(|_| pace.prefetch() < 512 && !(pace.learn(256, 100) && pace.prefetch() == 512));
        assert!(batches.count() < 30);
    }

    #[test]
    fn sizes_that_vary_a_little_change_nothing() {
        let mut pace = Pace::new(512);
        for _ in 0..20 {
            pace.learn(512, UNACKED_BYTES / 100);
        }
        assert_eq!(pace.prefetch(), 64, "twice that would be too much");
        for size in [90, 110, 120, 95, 60, 33] {
            assert!(!pace.learn(100, UNACKED_BYTES / size), "{size}");
        }
    }

    #[test]
    fn it_is_never_more_than_the_setting() {
        let mut pace = Pace::new(2);
        for _ in 0..10 {
            pace.learn(10, 1);
            assert!(pace.prefetch() <= 2);
        }
        assert_eq!(pace.prefetch(), 2);
    }
}
