//! Entries in a PostgreSQL database, which several loggers may share: the write end, and its error handling.
//!
//! The lock of the counter's one row is the turn to write, so what is promised of a file holds word for word: numbers
//! without gaps in the order of commits, times that never go back, a tail that misses nothing. One connection writes,
//! from a runtime of the writer's thread; it is closed and opened again whenever its state is uncertain.

mod cause;
mod commit;
mod counter;
mod follow;
mod listen;
mod open_error;
mod page;
mod prove;
mod prune;
mod read;
mod reopening;
mod row;
mod schema;
mod servers;
mod session;
mod turn;
mod upkeep;
mod url;
mod write;

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
    thread,
    time::{Duration, Instant},
};

use proto::Failure;
use rustls::ClientConfig;
use tokio::{runtime::Runtime, time::timeout};

pub use self::url::{BadUrl, PostgresUrl};
use self::{
    cause::Cause,
    listen::{Listening, News},
    open_error::Unopened,
    read::PostgresReader,
    reopening::Reopening,
    schema::Schema,
    servers::Servers,
    session::Session,
};
use super::{Answer, Batch, FRESH, OpenError, Reader, ResetTimes, Retention, Store, Vitals, keeper::Keeper};
use crate::{clock::Clock, metrics::ClockLeaps};

/// The write end of a database.
#[derive(Debug)]
pub(super) struct Postgres {
    /// Drives the connection that writes, on the thread that does. `None` once it is closed.
    runtime: Option<Runtime>,
    servers: Arc<Servers>,
    /// `None` after an error that leaves its state in doubt, until it is opened again.
    session: Option<Session>,
    reopening: Reopening,
    /// The database's, as this process sees it run.
    clock: Clock,
    leaps: ClockLeaps,
    keeper: Keeper,
    vitals: Vitals,
    /// What the tables take, and when that was last asked.
    bytes: Arc<AtomicU64>,
    measured_at: Option<Instant>,
    /// What an entry would get now, as far as is known.
    standing: Result<(), Failure>,
    /// When the last commit succeeded.
    committed_at: Option<Instant>,
    reader: PostgresReader,
    news: Arc<News>,
    _listening: Listening,
}

impl Postgres {
    /// Call it after the metrics recorder is installed. `tls` is there if the URL asks for it.
    pub(super) fn open(url: &PostgresUrl, tls: Option<Arc<ClientConfig>>) -> Result<Self, OpenError> {
        // The caller may be asynchronous, and a thread that runs tasks cannot block on a second runtime.
        thread::scope(|scope| {
            let opened = scope.spawn(|| Self::open_here(url, tls)).join();
            opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn open_here(url: &PostgresUrl, tls: Option<Arc<ClientConfig>>) -> Result<Self, OpenError> {
        let system = |error: io::Error| OpenError::Unusable(Box::new(error));
        let servers = Arc::new(Servers::new(url, tls));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
        let session = runtime.block_on(Session::open(&servers, Schema::BringUpToDate));
        let unopened = |cause| Unopened { place: url.to_string(), cause };
        let session = session.map_err(unopened)?;
        let seen = runtime.block_on(upkeep::look(&session, true)).map_err(unopened)?;
        let (news, vitals, bytes) = (Arc::new(News::new(seen.last)), Vitals::default(), Arc::default());
        let listening = listen::start(Arc::clone(&servers), Arc::clone(&news)).map_err(system)?;
        let reader = PostgresReader::new(Arc::clone(&servers), &vitals, &bytes);
        let mut postgres = Postgres {
            runtime: Some(runtime),
            servers,
            session: Some(session),
            reopening: Reopening::default(),
            clock: Clock::told(seen.now),
            leaps: ClockLeaps::new(),
            keeper: Keeper::new(),
            vitals,
            bytes,
            measured_at: None,
            standing: Ok(()),
            committed_at: None,
            reader,
            news,
            _listening: listening,
        };
        postgres.note(seen);
        Ok(postgres)
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it is there until the store is closed").block_on(work)
    }

    /// As [`Postgres::run`], for so long at most.
    fn run_within<T>(
        &self,
        most: Duration,
        work: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Cause> {
        // The timer is made where it runs.
        self.run(async { timeout(most, work).await.unwrap_or(Err(Cause::Silent("in time"))) })
    }

    /// The connection, opened again if it was closed. The caller puts it back if it is still good.
    fn take_session(&mut self) -> Result<Session, Failure> {
        if let Some(session) = self.session.take().filter(|session| !session.client.is_closed()) {
            return Ok(session);
        }
        if let Some(why) = self.reopening.too_early() {
            return Err(why);
        }
        match self.run(Session::open(&self.servers, Schema::MustBeThere)) {
            Ok(session) => {
                tracing::info!(database = %self.servers, "the database is connected again");
                self.reopening = Reopening::default();
                Ok(session)
            }
            Err(cause) => {
                let failure = cause.not_stored();
                self.reopening.failed(&failure);
                Err(failure)
            }
        }
    }

    fn committed<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let (Ok(()), Err(failure)) = (&self.standing, &result) {
            tracing::error!(error = failure.cause(), "the database does not take entries: {failure}");
        }
        self.standing = result.as_ref().map(|_| ()).map_err(Failure::clone);
        if result.is_err() {
            self.committed_at = None;
        }
        result
    }
}

/// Its calls block, as they are called on the thread that owns it.
impl Store for Postgres {
    fn reader(&self) -> Reader {
        Reader::new(Arc::new(self.reader.clone()), self.news.subscribe())
    }

    fn commit(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        let answers = self.store_what_fits(group);
        self.committed(answers)
    }

    fn tend(&mut self, retention: &Retention) -> bool {
        self.delete_a_little(retention)
    }

    fn ping(&mut self) -> Result<(), Failure> {
        let fresh = self.committed_at.is_some_and(|at| at.elapsed() < FRESH);
        let result = if fresh { Ok(()) } else { self.store(&[]).map(|_| ()) };
        self.committed(result)
    }

    fn look(&mut self) {
        if self.standing.is_err() {
            // What an entry was refused with holds until a commit succeeds.
            let _ = self.ping();
        }
        if let Err(failure) = self.look_at_the_server() {
            let _ = self.committed::<()>(Err(failure));
        }
    }

    fn standing(&self) -> Result<(), &Failure> {
        self.standing.as_ref().copied()
    }

    fn reset_times(&mut self) -> anyhow::Result<ResetTimes> {
        anyhow::bail!("this is for SQLite: the times of a database are those of its own clock")
    }

    fn close(mut self: Box<Self>) {
        self.keeper.tell();
    }
}

/// A runtime that is dropped where others run waits for its threads, which is not allowed there.
impl Drop for Postgres {
    fn drop(&mut self) {
        self.session = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use self::tests::{OwnServer, Place};
