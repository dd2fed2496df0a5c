//! The one connection that writes: taken for each use, and reopened after an error that left its state in doubt.

use std::path::Path;

use proto::Failure;
use rusqlite::Connection;

use super::{
    OpenError, Sqlite, create,
    judge::{self, damaged, full},
    open::{self, Opened},
    reserve::Reserve,
    row,
    write::Broken,
};

impl Sqlite {
    /// As [`Sqlite::take_connection`], where what was found in the log is in the main file.
    pub(super) fn take_connection_to_write(&mut self) -> Result<Connection, Failure> {
        let connection = self.take_connection()?;
        if self.checkpointed {
            return Ok(connection);
        }
        self.connection = Some(connection);
        Err(full())
    }

    /// The connection, opened again if it was closed. The caller puts it back if it is still good.
    pub(super) fn take_connection(&mut self) -> Result<Connection, Failure> {
        if self.damage.is_there() {
            return Err(damaged());
        }
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let _wanted = self.names.want_the_log();
        // It looks for damage before anything is written again.
        let opened = open::open(&self.path).map_err(|error| {
            if let OpenError::Damaged { .. } = &error {
                self.damage.found(&self.path, &error);
            }
            if let OpenError::Full { .. } = &error {
                self.reserve.release();
                return full().because(error);
            }
            Failure::unreachable("the store").because(error)
        })?;
        self.names.note_log();
        self.checkpointed = opened.checkpointed;
        // A commit of which nothing is certain may have stored some.
        if let Ok(Some(found)) = row::last_stored_at(&opened.connection) {
            self.last_stored_at = self.last_stored_at.max(found);
        }
        tracing::info!(path = %self.path.display(), "the store is reopened");
        Ok(opened.connection)
    }

    pub(super) fn judge(&mut self, connection: Connection, broken: Broken) -> Failure {
        let (failure, kept) = judge::judge(connection, broken, &self.path, &self.damage);
        self.connection = kept;
        failure
    }
}

/// Opens the file; on a full disk the reserve is given up for it.
pub(super) fn open_with(reserve: &Reserve, path: &Path) -> Result<Opened, OpenError> {
    match create::open_or_create(path) {
        Ok(opened) if opened.checkpointed => Ok(opened),
        Ok(opened) => {
            reserve.release();
            let checkpointed = open::checkpoint(&opened.connection).is_ok();
            Ok(Opened { checkpointed, ..opened })
        }
        Err(OpenError::Full { .. }) => {
            reserve.release();
            create::open_or_create(path)
        }
        Err(error) => Err(error),
    }
}
