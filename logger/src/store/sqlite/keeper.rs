//! What retention may delete, and when that is logged.
//!
//! Retention by age depends on the wall clock, which may be wrong, and a deletion is final. What has just expired
//! is deleted at once; more than that only after the clock has run for an hour without a jump, as seen by this
//! process. So a clock that is wrong for a while deletes nothing, even across a restart. Retention by bytes needs
//! no clock.

use std::time::{Duration, Instant};

use proto::Time;
use rusqlite::Connection;

use super::{
    prune::{self, Deleted, Step},
    row,
};
use crate::{clock::Clock, metrics::DeletedEntries, store::Retention};

/// How long the clock must have run without a jump.
pub(super) const STEADY: Duration = Duration::from_secs(3_600);

/// Entries that expired within this time are deleted at once: so a logger that was stopped for no longer resumes as before.
const JUST_NOW: Duration = Duration::from_secs(3_600);

/// How often deletions are logged.
const TELL_EVERY: Duration = Duration::from_secs(60);

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

    /// The bytes that entries may take.
    pub(super) fn max_bytes(&self) -> Option<u64> {
        self.retention.max_bytes
    }

    /// Deletes a little of what is not to be kept. Returns whether there is more to delete at once.
    pub(super) fn step(
        &mut self,
        connection: &Connection,
        clock: &Clock,
        step: Step,
    ) -> rusqlite::Result<bool> {
        let Retention { max_age, max_bytes } = self.retention;
        if max_age.is_none() && max_bytes.is_none() {
            return Ok(false);
        }
        let horizon = match max_age {
            Some(max_age) => self.horizon(connection, clock, max_age)?,
            None => None,
        };
        let done = prune::step(connection, horizon, max_bytes, step)?;
        self.note(done.deleted);
        Ok(done.more)
    }

    /// Before this entries are too old; `None` while the clock does not say so with certainty.
    fn horizon(
        &mut self,
        connection: &Connection,
        clock: &Clock,
        max_age: Duration,
    ) -> rusqlite::Result<Option<Time>> {
        let now_us = clock.now().as_microsecond();
        let horizon_us = now_us.saturating_sub(i64::try_from(max_age.as_micros()).unwrap_or(i64::MAX));
        let Some(horizon) = Time::from_microsecond(horizon_us) else { return Ok(None) };
        if clock.steady_for() < STEADY {
            let overdue = row::oldest_stored_at(connection)?.map_or(0, |oldest| {
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
