//! Maintenance of the store, between groups and on a full disk.

use std::{
    fs,
    time::{Duration, Instant},
};

use proto::{Code, Failure};
use rusqlite::Connection;

use super::{
    Broken, Sqlite,
    file::with_suffix,
    full,
    lost::Lost,
    open,
    prune::{self, Step},
};
use crate::store::{Answer, Batch, Retention, told::Whose};

/// How often space is freed on a full disk.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(1);

/// Small steps of deleting until others have their turn.
const SMALL_STEPS: u32 = 200;

/// What an entry takes in the log besides its data, about: a page of the table, and one of the index of ids.
const ENTRY_PAGES_BYTES: u64 = 2 * 4096;

impl Sqlite {
    /// Opens again what was closed, and deletes a little of what is not to be kept.
    pub(super) fn delete_a_little(&mut self, retention: &Retention) -> bool {
        self.keeper.keep(*retention);
        if self.damage.is_there() || self.lost.is_some() {
            return false;
        }
        let connection = match self.await_the_log().and_then(|()| self.take_connection_to_write()) {
            Ok(connection) => connection,
            Err(failure) if failure.code == Code::StorageFull => return false,
            Err(failure) => {
                tracing::warn!(error = failure.cause(), "the store cannot be reopened");
                return false;
            }
        };
        self.read_the_clock();
        match prune::keep(&mut self.keeper, &connection, &self.clock, Step::USUAL) {
            Ok(more) => {
                self.connection = Some(connection);
                more
            }
            Err(error) => {
                let was_full = open::is_full(&error);
                tracing::warn!(%error, "expired entries could not be deleted");
                self.judge(connection, Broken::BeforeCommit(error));
                if was_full {
                    self.make_room();
                }
                false
            }
        }
    }

    /// Opens again what was closed, and gives a log that could not be checkpointed when the store was opened another chance.
    pub(super) fn await_the_log(&mut self) -> Result<(), Failure> {
        if self.connection.is_none() {
            self.connection = Some(self.take_connection()?);
        }
        if self.checkpointed {
            return Ok(());
        }
        if let Some(connection) = &self.connection {
            self.reserve.release();
            let _wanted = self.names.want_the_log();
            self.checkpointed = open::checkpoint(connection).is_ok();
        }
        if self.checkpointed { Ok(()) } else { Err(full()) }
    }

    /// Frees what the store itself takes more than it needs, with what it keeps in reserve, now and then.
    pub(super) fn make_room(&mut self) {
        let lately = self.made_room_at.is_some_and(|at| at.elapsed() < MAKE_ROOM_EVERY);
        let Some(connection) = self.connection.as_ref().filter(|_| !lately) else { return };
        self.reserve.release();
        let _wanted = self.names.want_the_log();
        shorten(connection);
        for _ in 0..SMALL_STEPS {
            match prune::keep(&mut self.keeper, connection, &self.clock, Step::SMALL) {
                Ok(true) => shorten(connection),
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "expired entries could not be deleted on a full disk");
                    break;
                }
            }
        }
        shorten(connection);
        self.made_room_at = Some(Instant::now());
    }

    /// Whether the disk has space for a group in the log, and then for all of the log in the main file: what could not be
    /// checkpointed would fill the disk permanently, and the log with it. Where space is short, the log is checkpointed
    /// first.
    pub(super) fn has_room_for(&mut self, group: &[Batch]) -> bool {
        let entries: u64 = group.iter().map(|batch| batch.arrivals.len() as u64).sum();
        let payload: u64 = group.iter().map(|batch| batch.payload_bytes() as u64).sum();
        let needed = 2 * (payload + entries.max(1) * ENTRY_PAGES_BYTES);
        let kept = if self.reserve_is_for_entries() { 0 } else { self.reserve.missing_bytes() };
        let is_enough =
            |it: &Self| it.reserve.free_bytes().is_none_or(|free| free >= needed + it.log_bytes + kept);
        if !is_enough(self) {
            self.shorten_the_log();
        }
        is_enough(self)
    }

    /// Only where older ones are deleted for them; otherwise a start on the full disk would find none. What an entry finds, and
    /// what is said of it beforehand, go by this alike: else the listener waits for room that entries have.
    pub(super) fn reserve_is_for_entries(&self) -> bool {
        self.keeper.max_bytes().is_some()
    }

    /// Takes the log over where it has something.
    pub(super) fn shorten_the_log(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|_| self.log_bytes > 0) else { return };
        let wanted = self.names.want_the_log();
        shorten(connection);
        drop(wanted);
        self.measure_the_log();
    }

    fn measure_the_log(&mut self) {
        self.log_bytes = fs::metadata(self.names.log_path()).map_or(0, |log| log.len());
    }

    /// Stores a group that found no room before some was made: as a whole, or else those of it that fit.
    pub(super) fn commit_what_fits(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        match self.commit_with_room(group) {
            Err(failure) if failure.code == Code::StorageFull && group.len() > 1 => {}
            answers => return answers,
        }
        let (mut answers, mut over) = (Vec::with_capacity(group.len()), false);
        for batch in group {
            if over {
                // It was not tried.
                answers.push(Err(full()));
                continue;
            }
            match self.commit_with_room(std::slice::from_ref(batch)) {
                Ok(own) => {
                    answers.extend(own);
                    self.measure_the_log();
                }
                Err(failure) => {
                    over = true;
                    answers.push(Err(failure));
                }
            }
        }
        Ok(answers)
    }

    /// Looks whether the files are in their places, tells what changed, and saves what can be saved.
    pub(super) fn look_at_the_files(&mut self) -> Result<(), Lost> {
        let mut seen = self.names.look(self.connection.is_some());
        if seen == Err(Lost::Log) && self.save_the_log() {
            seen = self.names.look(self.connection.is_some());
        }
        match seen {
            Ok(seen) => {
                if self.lost.take().is_some() {
                    tracing::info!(path = %self.path.display(), "the store's files are back in place");
                }
                self.vitals.set_lost(false);
                self.tell_of_links(seen.links);
                self.log_bytes = seen.log_bytes;
                Ok(())
            }
            Err(lost) => {
                if self.lost.replace(lost) != Some(lost) {
                    lost.tell(&self.path);
                }
                self.vitals.set_lost(true);
                Err(lost)
            }
        }
    }

    fn tell_of_links(&self, links: u64) {
        if self.vitals.set_links(links) <= 1 && links > 1 {
            let path = self.path.display();
            tracing::error!(
                links,
                "{path} has another hard link. Entries are still stored, but no logger will start on it again, since the \
                 write-ahead log of one name is not found under another. Find them with `find / -samefile {path}` and \
                 delete all but one"
            );
        }
    }

    /// The log was deleted or replaced while SQLite has it open. What it holds is written to the main file, and a new one
    /// is begun; nobody may read meanwhile, for those who do have the old one. Returns whether all is in the main file.
    fn save_the_log(&mut self) -> bool {
        let reader = self.reader.clone();
        let _nobody_reads = reader.close_all();
        let wanted = self.names.want_the_log();
        let Some(connection) = self.connection.take() else { return false };
        let saved = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        if !matches!(saved, Ok(0)) {
            tracing::error!(?saved, "the write-ahead log was deleted, and its contents cannot be saved yet");
            self.connection = Some(connection);
            return false;
        }
        // Whatever has its name is not ours to write to, or to delete.
        let path = self.names.log_path();
        if path.exists() {
            let aside = with_suffix(path, ".foreign");
            match fs::rename(path, &aside) {
                Ok(()) => {
                    tracing::warn!(path = %aside.display(), "a file in place of the write-ahead log was moved here")
                }
                Err(error) => {
                    tracing::error!(%error, "a file in place of the write-ahead log cannot be moved away")
                }
            }
        }
        drop(connection);
        // Opening it says so for itself.
        drop(wanted);
        tracing::error!(
            path = %path.display(),
            "the write-ahead log was deleted or replaced while in use: its contents are in the main file now, nothing is lost"
        );
        match self.take_connection() {
            Ok(connection) => self.connection = Some(connection),
            Err(failure) => tracing::error!(error = failure.cause(), "the store cannot be reopened"),
        }
        true
    }

    /// Reads the clock, and tells of a leap.
    pub(super) fn read_the_clock(&mut self) {
        if let Some(leap) = self.clock.read() {
            Whose::Machine.tell(leap, &self.leaps);
        }
    }

    /// Notes what there is to say of the clock, and of the times in the store.
    pub(super) fn look_at_the_clock(&mut self) {
        self.read_the_clock();
        Whose::Machine.note(&self.clock, self.last_stored_at, &self.vitals);
    }
}

/// Checkpoints the log into the main file, and gives its room back. A reader, or a full disk, keeps it as it is.
fn shorten(connection: &Connection) {
    let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    if let Err(error) = done {
        tracing::debug!(%error, "the write-ahead log is not truncated");
    }
}
