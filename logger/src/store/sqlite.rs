//! Entries in a SQLite file: the write end, and its error handling.
//!
//! One connection writes; it is closed and reopened whenever its state is uncertain.

mod access;
mod backup;
mod bytes;
mod connection;
mod create;
mod file;
mod follow;
mod judge;
mod lock;
mod lost;
mod names;
mod open;
mod open_error;
mod page;
mod prune;
mod read;
mod reserve;
mod reset;
mod row;
mod schema;
mod upkeep;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use proto::{Code, Failure, Outcome, Time};
use rusqlite::Connection;
use tokio::sync::watch;

pub(super) use self::backup::backup;
use self::{
    judge::{Damage, damaged, full},
    lost::Lost,
    names::Names,
    open::Opened,
    open_error::OpenError,
    read::SqliteReader,
    reserve::Reserve,
    write::Broken,
};
use super::{Answer, Batch, FRESH, Reader, ResetTimes, Retention, Store, Vitals, keeper::Keeper};
use crate::{clock::Clock, metrics::ClockLeaps};

/// The write end of a SQLite file.
#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    /// `None` after an error that leaves its state in doubt, until it is opened again.
    connection: Option<Connection>,
    /// Whether what was found in the log is in the main file: before that nothing is written.
    checkpointed: bool,
    clock: Clock,
    leaps: ClockLeaps,
    /// What the last entry that was stored got, so that a clock that is set back does not turn the order.
    last_stored_at: Time,
    keeper: Keeper,
    reserve: Reserve,
    /// The bytes of the write-ahead log, when it was last looked at.
    log_bytes: u64,
    /// When room was last made on a full disk.
    made_room_at: Option<Instant>,
    damage: Damage,
    vitals: Vitals,
    /// What has happened to the files, when they were last looked at.
    lost: Option<Lost>,
    /// What an entry would get now, as far as is known.
    standing: Result<(), Failure>,
    /// When the last commit succeeded.
    committed_at: Option<Instant>,
    reader: SqliteReader,
    /// Changes after each commit, for those who follow.
    commits: watch::Sender<()>,
    /// Its locks are given back after the connection is closed.
    names: Names,
}

impl Sqlite {
    /// Call it after the metrics recorder is installed.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        // From here on the name means the same file, whatever happens to the working directory.
        let path =
            std::path::absolute(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        access::check(&path)?;
        create::prepare(&path)?;
        let mut names = Names::take(&path)?;
        let reserve = Reserve::open(names.real_path());
        let wanted = names.want_the_log();
        let Opened { connection, checkpointed } = connection::open_with(&reserve, &path)?;
        drop(wanted);
        names.note_log();
        names.look(true).map_err(|lost| OpenError::NotDurable {
            path: path.clone(),
            detail: format!("while opening, {}", lost.what()),
        })?;
        let last_stored_at =
            row::last_stored_at(&connection).map_err(|error| open::open_error(&path, error))?;
        let (damage, vitals) = (Damage::default(), Vitals::default());
        let reader = SqliteReader::new(&path, &names, &damage, &vitals);
        let mut sqlite = Sqlite {
            path,
            connection: Some(connection),
            checkpointed,
            clock: Clock::system(),
            leaps: ClockLeaps::new(),
            last_stored_at: last_stored_at.unwrap_or(Time::MIN),
            keeper: Keeper::new(),
            reserve,
            log_bytes: 0,
            made_room_at: None,
            damage,
            vitals,
            lost: None,
            standing: Ok(()),
            committed_at: None,
            reader,
            commits: watch::Sender::new(()),
            names,
        };
        if !checkpointed {
            tracing::error!("the disk is full: entries can be read, but not stored until space is freed");
            sqlite.standing = Err(full());
        }
        sqlite.look_at_the_clock();
        Ok(sqlite)
    }

    fn committed<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.standing = result.as_ref().map(|_| ()).map_err(Failure::clone);
        if result.is_err() {
            self.committed_at = None;
        }
        result
    }

    /// Whether there is something in the way of an entry that can be seen without a commit.
    fn see(&mut self, in_earnest: bool) -> Result<(), Failure> {
        if self.damage.is_there() {
            return Err(damaged());
        }
        self.look_at_the_files().map_err(Lost::failure)?;
        let has_room = |it: &Self| it.reserve.has_room(it.log_bytes, in_earnest, it.reserve_is_for_entries());
        if has_room(self) {
            return Ok(());
        }
        self.shorten_the_log();
        if has_room(self) { Ok(()) } else { Err(full()) }
    }

    /// Stores a group in files that are in their places, before and after it.
    fn store(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        if self.lost.is_some() {
            self.look_at_the_files().map_err(Lost::failure)?;
        }
        self.await_the_log()?;
        let answers = match self.commit_with_room(group) {
            Err(failure) if failure.code == Code::StorageFull => {
                self.make_room();
                self.commit_what_fits(group)
            }
            answers => answers,
        }?;
        if let Err(lost) = self.look_at_the_files() {
            lost.after_the_commit()?;
        }
        Ok(answers)
    }

    fn commit_with_room(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        if self.has_room_for(group) { self.try_commit(group) } else { Err(full()) }
    }

    fn try_commit(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        let mut connection = self.take_connection_to_write()?;
        self.read_the_clock();
        let stored_at = self.last_stored_at.max(self.clock.now());
        match write::commit(&mut connection, group, stored_at, self.keeper.max_bytes()) {
            Ok((answers, deleted)) => {
                self.connection = Some(connection);
                self.committed_at = Some(Instant::now());
                // A question stores nothing: the listener asks every two seconds, and one of them may meet a clock that is
                // wrong for a moment.
                let mut results = answers.iter().flatten().flatten();
                if results.any(|result| *result == Ok(Outcome::Stored)) {
                    self.last_stored_at = stored_at;
                }
                self.keeper.note(deleted);
                Ok(answers)
            }
            Err(broken) => Err(self.judge(connection, broken)),
        }
    }
}

/// Its calls block, as they are called on the thread that owns it.
impl Store for Sqlite {
    fn reader(&self) -> Reader {
        Reader::new(Arc::new(self.reader.clone()), self.commits.subscribe())
    }

    fn commit(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        let answers = self.store(group);
        let mut over = answers.iter().flatten().filter_map(|answer| answer.as_ref().err());
        let over = over.find(|failure| failure.code == Code::StorageFull).cloned();
        let answers = self.committed(answers);
        if let Some(over) = over {
            // A part of it found no room.
            let _ = self.committed::<()>(Err(over));
        }
        // After a commit that failed they find nothing new, or what it has stored anyway.
        self.commits.send_replace(());
        answers
    }

    fn tend(&mut self, retention: &Retention) -> bool {
        self.delete_a_little(retention)
    }

    /// The listener takes deliveries only while this says yes (`Intake::write_batch`), for each that comes back brings an
    /// entry nearer to the dead letters. So it proves what an entry needs: files in their places, room for some at the
    /// most, and a commit.
    fn ping(&mut self) -> Result<(), Failure> {
        let fresh = self.committed_at.is_some_and(|at| at.elapsed() < FRESH);
        let result = match self.see(true) {
            Ok(()) if fresh => Ok(()),
            Ok(()) => self.store(&[]).map(|_| ()),
            Err(failure) => Err(failure),
        };
        self.committed(result)
    }

    /// What may change while nothing is written.
    fn look(&mut self) {
        self.look_at_the_clock();
        if self.standing.is_err() {
            // What an entry was refused with holds until a commit succeeds.
            let _ = self.ping();
        } else if let Err(failure) = self.see(false) {
            let _ = self.committed::<()>(Err(failure));
        }
    }

    fn standing(&self) -> Result<(), &Failure> {
        self.standing.as_ref().copied()
    }

    fn reset_times(&mut self) -> anyhow::Result<ResetTimes> {
        self.reset()
    }

    /// Checkpoints the log into the main file.
    fn close(mut self: Box<Self>) {
        self.keeper.tell();
        let Some(connection) = self.connection.take().filter(|_| !self.damage.is_there()) else {
            return;
        };
        let _wanted = self.names.want_the_log();
        let checkpoint = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        // Nothing is lost if it fails: the next start reads the log.
        match checkpoint {
            Ok(0) => {}
            Ok(_busy) => {
                tracing::warn!("the write-ahead log is still being read and remains next to the store")
            }
            Err::<i64, _>(error) => tracing::warn!(%error, "the write-ahead log remains next to the store"),
        }
        if let Err((_, error)) = connection.close() {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use self::tests::Place;
