//! What retention may delete, and when that is logged.
//!
//! Retention by age depends on the wall clock, which may be wrong, and a deletion is final. What has just expired
//! is deleted at once; more than that only after the clock has run for an hour without a jump, as seen by this
//! process. So a clock that is wrong for a while deletes nothing, even across a restart. Retention by bytes needs
//! no clock.

use std::time::{Duration, Instant};

use proto::Time;

use super::Retention;
use crate::{clock::Clock, metrics::DeletedEntries};

/// How long the clock must have run without a jump.
pub(super) const STEADY: Duration = Duration::from_secs(3_600);

/// Entries that expired within this time are deleted at once: so a logger that was stopped for no longer resumes as before.
const JUST_NOW: Duration = Duration::from_secs(3_600);

/// How often deletions are logged.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What a step of deleting has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Whether there is more to do at once.
    pub(super) more: bool,
    pub(super) deleted: Option<Deleted>,
}

/// Entries that were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deleted {
    pub(super) entries: u64,
    /// When the oldest of them was stored, and the newest, in microseconds.
    pub(super) from_us: i64,
    pub(super) to_us: i64,
}

impl Deleted {
    /// Both together; `later` are the newer ones.
    pub(super) fn and(self, later: Deleted) -> Self {
        Deleted { entries: self.entries + later.entries, from_us: self.from_us, to_us: later.to_us }
    }
}

/// What is kept, by the setting and by the clock.
#[derive(Debug)]
pub(super) struct Keeper {
    retention: Retention,
    waits: bool,
    untold: Option<Deleted>,
    told_at: Option<Instant>,
    counted: DeletedEntries,
}

impl Keeper {
    /// Call it after the metrics recorder is installed. It keeps all, until it is told otherwise.
    pub(super) fn new() -> Self {
        let counted = DeletedEntries::new();
        Keeper { retention: Retention::default(), waits: false, untold: None, told_at: None, counted }
    }

    /// Keeps so much from now on.
    pub(super) fn keep(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// What is kept.
    pub(super) fn retention(&self) -> Retention {
        self.retention
    }

    /// The bytes that entries may take.
    pub(super) fn max_bytes(&self) -> Option<u64> {
        self.retention.max_bytes
    }

    /// Before this entries are too old; `None` if they never are, or the clock does not say so with certainty. `oldest` is
    /// when the oldest entry that can be trusted was stored, if there is one.
    pub(super) fn horizon<E>(
        &mut self,
        clock: &Clock,
        oldest: impl FnOnce() -> Result<Option<Time>, E>,
    ) -> Result<Option<Time>, E> {
        let Some(max_age) = self.retention.max_age else { return Ok(None) };
        let now_us = clock.now().as_microsecond();
        let horizon_us = now_us.saturating_sub(i64::try_from(max_age.as_micros()).unwrap_or(i64::MAX));
        let Some(horizon) = Time::from_microsecond(horizon_us) else { return Ok(None) };
        if clock.steady_for() < STEADY {
            let overdue = oldest()?.map_or(0, |oldest| {
                u128::try_from(i128::from(horizon_us) - i128::from(oldest.as_microsecond())).unwrap_or(0)
            });
            let waits = overdue > 0 && (clock.last_leap().is_some() || overdue > JUST_NOW.as_micros());
            if waits && !self.waits {
                tracing::warn!(
                    older_than = %horizon,
                    "expired entries are not deleted yet: the clock must run for an hour without a jump first"
                );
            }
            self.waits = waits;
            if waits {
                return Ok(None);
            }
        }
        self.waits = false;
        Ok(Some(horizon))
    }

    /// Counts what was deleted, and tells it now and then.
    pub(super) fn note(&mut self, deleted: Option<Deleted>) {
        if let Some(deleted) = deleted {
            self.counted.add(deleted.entries);
            self.untold = Some(self.untold.map_or(deleted, |before| before.and(deleted)));
        }
        if self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.tell();
        }
    }

    /// Tells what was not told yet.
    pub(super) fn tell(&mut self) {
        let Some(Deleted { entries, from_us, to_us }) = self.untold.take() else { return };
        let time = |us| Time::from_microsecond(us).map(|time| time.to_string());
        let (from, to) = (time(from_us), time(to_us));
        tracing::info!(entries, stored_from = from, stored_to = to, "deleted expired entries");
        self.told_at = Some(Instant::now());
    }
}
