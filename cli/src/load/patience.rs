//! How long a load goes on trying without any progress.

use std::time::{Duration, Instant};

use transport::Waits;

use crate::text::counted;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait, before jitter of up to as much again.
const LONGEST: Duration = Duration::from_secs(1);

/// It lasts from the first failure to the next progress.
#[derive(Debug)]
pub(super) struct Patience {
    lasts: Duration,
    waits: Waits,
    since: Option<Instant>,
}

impl Patience {
    pub(super) fn new(seconds: u64) -> Self {
        Patience { lasts: Duration::from_secs(seconds), waits: waits(), since: None }
    }

    /// How long it lasts.
    pub(super) fn in_words(&self) -> String {
        counted(self.lasts.as_secs(), "second", "seconds")
    }

    /// There was progress. Returns whether something had failed before.
    pub(super) fn regain(&mut self) -> bool {
        self.waits = waits();
        self.since.take().is_some()
    }

    /// Something has failed: how long to wait before the next attempt; `None` if the patience is at its end.
    pub(super) fn next_wait(&mut self) -> Option<Duration> {
        let spent = self.since.get_or_insert_with(Instant::now).elapsed();
        let left = self.lasts.checked_sub(spent).filter(|left| !left.is_zero())?;
        Some(self.waits.next_wait().min(left))
    }
}

fn waits() -> Waits {
    Waits::new(FIRST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_and_is_regained_by_progress() {
        let mut patience = Patience::new(60);
        assert!(!patience.regain());
        assert!(patience.next_wait().is_some_and(|wait| wait >= FIRST));
        patience.since = Instant::now().checked_sub(Duration::from_secs(59));
        assert!(patience.next_wait().is_some_and(|wait| wait <= Duration::from_secs(1)));
        patience.since = Instant::now().checked_sub(Duration::from_secs(60));
        assert_eq!(patience.next_wait(), None);
        assert!(patience.regain() && !patience.regain());
        assert_eq!(Patience::new(0).next_wait(), None, "no patience at all");
    }
}
