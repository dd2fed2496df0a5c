//! Notices when this process was not run for a while: stopped, starved or suspended. What a check finds then may be the
//! machine's fault.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often it looks.
const TICK: Duration = Duration::from_millis(10);

/// From this delay on it counts as a stall.
pub const STALL: Duration = Duration::from_millis(250);

/// A thread that looks at the clock. It ends when the last of its handles is dropped.
#[derive(Debug, Clone)]
pub struct Watchdog {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Seen {
    last: Instant,
    /// When a stall ended, and how long it was.
    stalls: Vec<(Instant, Duration)>,
}

impl Watchdog {
    /// Starts looking.
    pub fn start() -> Self {
        let seen = Arc::new(Mutex::new(Seen { last: Instant::now(), stalls: Vec::new() }));
        let weak = Arc::downgrade(&seen);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(TICK);
                let Some(seen) = weak.upgrade() else { return };
                seen.lock().unwrap_or_else(PoisonError::into_inner).look(Instant::now());
            }
        });
        Watchdog { seen }
    }

    /// The longest stall that ended since then. Waits for a look of its own first, since a stall is noticed only at the
    /// next one.
    pub async fn longest_since(&self, then: Instant) -> Option<Duration> {
        let asked = Instant::now();
        loop {
            {
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                if seen.last > asked {
                    return seen.longest_since(then);
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

impl Seen {
    fn look(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.last).saturating_sub(TICK);
        if late >= STALL {
            self.stalls.push((now, late));
        }
        self.last = now;
    }

    fn longest_since(&self, then: Instant) -> Option<Duration> {
        self.stalls.iter().filter(|(ended, _)| *ended >= then).map(|(_, late)| *late).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_look_is_a_stall_and_an_old_one_does_not_count() {
        let begun = Instant::now();
        let mut seen = Seen { last: begun, stalls: Vec::new() };
        let after = |ms| begun + Duration::from_millis(ms);
        seen.look(after(12));
        assert_eq!(seen.longest_since(begun), None);
        seen.look(after(812));
        seen.look(after(822));
        assert_eq!(seen.longest_since(begun), Some(Duration::from_millis(790)));
        assert_eq!(seen.longest_since(after(815)), None);
    }

    #[tokio::test]
    async fn a_process_that_runs_has_no_stall() {
        let watchdog = Watchdog::start();
        let begun = Instant::now();
        assert!(watchdog.longest_since(begun).await.is_none_or(|stall| stall >= STALL));
    }
}
