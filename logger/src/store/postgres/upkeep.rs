//! Maintenance between groups: whether the server is as it was, its clock, what is not to be kept, and a group of which
//! some rows are refused.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use proto::{BatchMode, Code, Failure, Time};
use tokio::time::timeout;

use super::{Postgres, cause::Cause, counter, prove, prune, session::Session};
use crate::store::{Answer, Arrival, Batch, Retention, told::Whose};

/// How long a look, or a step of deleting, may take.
const ANSWER: Duration = Duration::from_secs(3);

/// How often the tables are measured, which takes a look at each of their files.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// What may change while nothing is written.
const LOOK: &str = "
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, last_stored_at, current_setting('fsync'),
        current_setting('synchronous_commit'), last, (SELECT max(seq) FROM entries)
    FROM counter";

const MEASURE: &str = "SELECT pg_total_relation_size('entries') + pg_total_relation_size('counter')";

/// What a look has seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// What the database's clock says.
    pub(super) now: Time,
    /// When the newest entry was stored.
    pub(super) last_stored_at: Time,
    /// Its number.
    pub(super) last: i64,
    /// What the tables take, if they were measured.
    pub(super) bytes: Option<u64>,
}

/// Looks at the server of a session.
///
/// # Errors
/// If it does not respond, or does not keep our promise any more.
pub(super) async fn look(session: &Session, measure: bool) -> Result<Seen, Cause> {
    let looked = async {
        let row = counter::only(session.client.query(LOOK, &[]).await?)?;
        let last: i64 = row.try_get(4)?;
        counter::fits(last, row.try_get(5)?)?;
        let settings = [(2, "fsync"), (3, "synchronous_commit")];
        // What was taken back on purpose must not be found out here.
        #[cfg(feature = "faults")]
        let settings =
            if crate::faults::Fault::SynchronousOff.is_on() { &settings[..1] } else { &settings[..] };
        for (column, setting) in settings.iter().copied() {
            prove::check(setting, row.try_get(column)?)?;
        }
        let bytes = if measure {
            Some(session.client.query_one(MEASURE, &[]).await?.try_get::<_, i64>(0)?)
        } else {
            None
        };
        let time = |us| Time::from_microsecond(us).unwrap_or(Time::MAX);
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let (now, last_stored_at) = (time(row.try_get(0)?), time(row.try_get(1)?));
        Ok(Seen { now, last_stored_at, last, bytes })
    };
    timeout(ANSWER, looked).await.map_err(|_| Cause::Silent("to a look"))?
}

impl Postgres {
    /// Whether the server is there and as it was.
    ///
    /// # Errors
    /// What an entry would get.
    pub(super) fn look_at_the_server(&mut self) -> Result<(), Failure> {
        let session = self.take_session()?;
        let measure = self.measured_at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY);
        // Without it what follows is refused, until one is opened to a server that keeps our promise.
        let seen = self.run(look(&session, measure)).map_err(Cause::not_stored)?;
        self.session = Some(session);
        self.note(seen);
        Ok(())
    }

    pub(super) fn note(&mut self, seen: Seen) {
        if let Some(bytes) = seen.bytes {
            self.bytes.store(bytes, Ordering::Relaxed);
            self.measured_at = Some(Instant::now());
        }
        if let Some(leap) = self.clock.tell(seen.now) {
            Whose::Database.tell(leap, &self.leaps);
        }
        Whose::Database.note(&self.clock, seen.last_stored_at, &self.vitals);
    }

    /// Deletes a little of what is not to be kept. Returns whether there is more to delete at once.
    pub(super) fn delete_a_little(&mut self, retention: &Retention) -> bool {
        self.keeper.keep(*retention);
        if *retention == Retention::default() {
            return false;
        }
        let Ok(session) = self.take_session() else { return false };
        match self.prune(&session) {
            Ok(more) => {
                self.session = Some(session);
                more
            }
            Err(cause) => {
                tracing::warn!(error = %cause, "expired entries could not be deleted");
                false
            }
        }
    }

    fn prune(&mut self, session: &Session) -> Result<bool, Cause> {
        let oldest = self.run_within(ANSWER, prune::oldest(session))?;
        let oldest_stored_at = oldest.map(|(_, stored_at)| stored_at);
        let Ok(horizon) =
            self.keeper.horizon(&self.clock, || Ok::<_, std::convert::Infallible>(oldest_stored_at));
        let max_bytes = self.keeper.max_bytes().map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let expired = horizon.zip(oldest_stored_at).is_some_and(|(horizon, oldest)| oldest < horizon);
        if !expired && max_bytes.is_none() {
            return Ok(false);
        }
        let oldest = oldest.map(|(sequence, _)| sequence);
        let step = prune::step(session, horizon, max_bytes, oldest);
        let done = self.run_within(ANSWER, step)?;
        self.keeper.note(done.deleted);
        Ok(done.more)
    }

    /// Stores a group; one of which the server refuses some rows, entry by entry. No valid entry is refused today; if
    /// one ever is, its neighbours must not suffer.
    pub(super) fn store_what_fits(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        match self.store(group) {
            Err(failure) if failure.code == Code::InvalidEntry => {}
            answers => return answers,
        }
        let answers = group.iter().map(|batch| match batch.mode {
            BatchMode::AllOrNone => self.store_alone(batch.clone()),
            BatchMode::Each => {
                let alone = |arrival: &Arrival| {
                    let batch = Batch { arrivals: vec![arrival.clone()], mode: BatchMode::Each };
                    self.store_alone(batch).and_then(|mut results| results.remove(0))
                };
                Ok(batch.arrivals.iter().map(alone).collect())
            }
        });
        Ok(answers.collect())
    }

    fn store_alone(&mut self, batch: Batch) -> Answer {
        self.store(&[batch]).and_then(|mut answers| answers.remove(0))
    }
}
