//! Entries in a SQLite file: the write end, and what it does about errors.
//!
//! One connection writes; it is closed and opened again whenever it is not certain in which state it is.

mod checksum;
mod follow;
mod lock;
mod page;
mod prune;
mod read;
mod reserve;
mod schema;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use proto::{Code, Failure};
use rusqlite::{Connection, ErrorCode, OptionalExtension};

pub(super) use self::read::SqliteReader;
use self::{lock::Lock, reserve::Reserve, write::Broken};
use super::{Answer, Batch, OpenError, Retention};

/// For so long a commit that succeeded says that the next one will.
const FRESH: Duration = Duration::from_secs(1);

/// The write end of a SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    /// `None` after an error that leaves its state in doubt, until it is opened again.
    connection: Option<Connection>,
    /// What the entries of the last group got, so that a clock that is set back does not turn the order.
    last_stored_at_us: i64,
    damage: Damage,
    reserve: Reserve,
    /// What an entry would get now, as far as is known.
    standing: Result<(), Failure>,
    /// When the last commit succeeded.
    committed_at: Option<Instant>,
    /// Given back after the connection is closed.
    _lock: Lock,
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        // From here on the name means the same file, whatever becomes of the working directory.
        let path =
            std::path::absolute(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        schema::prepare(&path)?;
        let lock = Lock::take(&path)?;
        let connection = schema::open_or_create(&path)?;
        let last_stored_at_us = connection
            .query_row("SELECT stored_at FROM entries ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
            .optional()
            .map_err(|error| schema::open_error(&path, error))?
            .unwrap_or(i64::MIN);
        Ok(Sqlite {
            reserve: Reserve::open(&path),
            path,
            connection: Some(connection),
            last_stored_at_us,
            damage: Damage::default(),
            standing: Ok(()),
            committed_at: None,
            _lock: lock,
        })
    }

    pub(super) fn reader(&self) -> SqliteReader {
        SqliteReader::new(self.path.clone(), self.damage.clone())
    }

    pub(super) fn commit(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        let answers = self.try_commit(group);
        self.committed(answers)
    }

    /// The listener takes deliveries only while this says yes (`Intake::write_batch`), for each that comes back brings an
    /// entry nearer to the dead letters. So it proves what an entry needs: room for some at the most, and a commit.
    pub(super) fn ping(&mut self) -> Result<(), Failure> {
        let fresh = self.committed_at.is_some_and(|at| at.elapsed() < FRESH);
        let result = match self.see() {
            Ok(()) if fresh => Ok(()),
            Ok(()) => self.try_commit(&[]).map(|_| ()),
            Err(failure) => Err(failure),
        };
        self.committed(result)
    }

    /// What may change while nothing is written.
    pub(super) fn look(&mut self) {
        if self.standing.is_err() {
            // What an entry was refused with holds until a commit succeeds.
            let _ = self.ping();
        } else if let Err(failure) = self.see() {
            let _ = self.committed::<()>(Err(failure));
        }
    }

    pub(super) fn standing(&self) -> Result<(), &Failure> {
        self.standing.as_ref().copied()
    }

    fn committed<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.standing = result.as_ref().map(|_| ()).map_err(Failure::clone);
        self.committed_at = result.is_ok().then(Instant::now);
        result
    }

    /// Whether there is something in the way of an entry that can be seen without a commit.
    fn see(&mut self) -> Result<(), Failure> {
        if self.damage.is_there() {
            return Err(damaged());
        }
        if self.reserve.has_room() { Ok(()) } else { Err(full()) }
    }

    fn try_commit(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        let mut connection = self.take_connection()?;
        self.last_stored_at_us = self.last_stored_at_us.max(Timestamp::now().as_microsecond());
        match write::commit(&mut connection, group, self.last_stored_at_us) {
            Ok(answers) => {
                self.connection = Some(connection);
                Ok(answers)
            }
            Err(broken) => Err(self.judge(connection, broken)),
        }
    }

    pub(super) fn tend(&mut self, retention: &Retention) -> bool {
        if self.damage.is_there() {
            return false;
        }
        let connection = match self.take_connection() {
            Ok(connection) => connection,
            Err(failure) => {
                tracing::warn!(error = failure.cause(), "the store cannot be opened again");
                return false;
            }
        };
        match prune(&connection, retention) {
            Ok(more) => {
                self.connection = Some(connection);
                more
            }
            Err(error) => {
                tracing::warn!(%error, "old entries could not be deleted");
                self.judge(connection, Broken::BeforeCommit(error));
                false
            }
        }
    }

    pub(super) fn close(self) {
        let Some(connection) = self.connection.filter(|_| !self.damage.is_there()) else {
            return;
        };
        let checkpoint = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        // Nothing is lost if it fails: the next start reads the log.
        match checkpoint {
            Ok(0) => {}
            Ok(_busy) => tracing::warn!("the write-ahead log is still read and stays beside the store"),
            Err::<i64, _>(error) => tracing::warn!(%error, "the write-ahead log stays beside the store"),
        }
        if let Err((_, error)) = connection.close() {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }

    /// The connection, opened again if it was closed. Whoever takes it puts it back if it is still good.
    fn take_connection(&mut self) -> Result<Connection, Failure> {
        if self.damage.is_there() {
            return Err(damaged());
        }
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        // `schema::open` looks for damage before anything is written again.
        let opened = schema::open(&self.path).map_err(|error| {
            if let OpenError::Damaged { .. } = &error {
                self.damage.found(&self.path, &error);
            }
            Failure::unreachable("the store").because(error)
        })?;
        tracing::info!(path = %self.path.display(), "the store is open again");
        Ok(opened)
    }

    /// What a group is told, and whether the connection may be used again.
    fn judge(&mut self, connection: Connection, broken: Broken) -> Failure {
        let (at_commit, error) = match broken {
            Broken::BeforeCommit(error) => (false, error),
            Broken::AtCommit(error) => (true, error),
        };
        // These two are refused before the commit mark is written, so they are certain at any moment.
        let certain = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Some(full()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Some(busy()),
            Some(_) | None => None,
        };
        if schema::is_damage(&error) {
            self.damage.found(&self.path, &error);
        } else if certain.is_some() && connection.is_autocommit() {
            self.connection = Some(connection);
        } else {
            tracing::error!(%error, "the store failed; it is closed, and checked before it is used again");
        }
        let otherwise =
            || if at_commit { Failure::unknown("the store") } else { Failure::unreachable("the store") };
        certain.unwrap_or_else(otherwise).because(error)
    }
}

/// Set once the file is known to be broken. From then on it is only read.
#[derive(Debug, Clone, Default)]
struct Damage(Arc<AtomicBool>);

impl Damage {
    fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn found(&self, path: &Path, error: &dyn std::error::Error) {
        if !self.0.swap(true, Ordering::Relaxed) {
            let path = path.display();
            tracing::error!(%path, %error, "the store is damaged; it takes no more writes until a restart");
        }
    }
}

fn prune(connection: &Connection, retention: &Retention) -> rusqlite::Result<bool> {
    let Retention { max_age, max_bytes } = *retention;
    if max_age.is_none() && max_bytes.is_none() {
        return Ok(false);
    }
    prune::step(connection, max_age.map(horizon_us), max_bytes)
}

/// What was stored before this is older than `max_age`.
fn horizon_us(max_age: Duration) -> i64 {
    let age_us = i64::try_from(max_age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::now().as_microsecond().saturating_sub(age_us)
}

fn full() -> Failure {
    Failure::new(
        Code::StorageFull,
        "the logger's disk is full; nothing was stored, free some space and try again",
    )
}

fn busy() -> Failure {
    Failure::new(Code::Unavailable, "the store is locked by another process; nothing was stored, try again")
}

fn damaged() -> Failure {
    Failure::new(
        Code::Unavailable,
        "the store is damaged; nothing was stored, and nothing will be until its file is put right",
    )
}

#[cfg(test)]
mod tests;
