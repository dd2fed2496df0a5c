//! What happened to the files of an open store, and what clients are told.

use std::{io, path::Path};

use proto::{Code, Failure};

/// What happened to a file that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The main file has no name any more, and nothing has its own.
    Deleted,
    /// The main file has no name any more, and another file has its own.
    Replaced,
    /// The main file has another name.
    Moved,
    /// The main file has another name, and another file has its own.
    MovedAndReplaced,
    /// The log has no name any more, and what it held could not be saved.
    Log,
    /// Another logger has made itself a lock.
    InUse,
    /// The system denies access: its error number.
    Unseen(i32),
}

impl Lost {
    /// What a group is told that was committed before it was noticed: whether it is in the file that will be opened next.
    pub(super) fn after_the_commit(self) -> Result<(), Failure> {
        match self {
            // The file may come back to its name, and the log has kept its own: if the logger is killed, the next start
            // applies it to whatever is the main file by then, such as a copy of this one.
            Lost::Deleted
            | Lost::Replaced
            | Lost::Moved
            | Lost::MovedAndReplaced
            | Lost::Log
            | Lost::Unseen(_) => Err(Failure::unknown("the store").because(self.what())),
            Lost::InUse => Ok(()),
        }
    }

    /// The failure of every request after it was noticed.
    pub(super) fn failure(self) -> Failure {
        let message = format!(
            "{}; nothing was stored, nor will be until that is fixed: see the logger's log",
            self.what()
        );
        Failure::new(Code::Unavailable, message)
    }

    /// What has happened.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Lost::Deleted => "the store's file was deleted while it was in use",
            Lost::Replaced | Lost::MovedAndReplaced => "the store's file was replaced while it was in use",
            Lost::Moved => "the store's file was moved while it was in use",
            Lost::Log => "the store's write-ahead log was deleted while it was in use",
            Lost::InUse => "another logger uses the store",
            Lost::Unseen(_) => "the store's files cannot be accessed",
        }
    }

    /// Tells the log what happened and what to do.
    pub(super) fn tell(self, path: &Path) {
        let (what, path) = (self.what(), path.display());
        let start = format!(
            "stop this logger, delete {path}-wal and {path}-shm, which belong to the previous file, restore a backup or \
             go on with an empty store, and restart it"
        );
        let todo = match self {
            Lost::Deleted => format!("its entries can be read from this logger until it stops; then {start}"),
            Lost::Replaced => {
                format!(
                    "its entries can be read from this logger until it stops; to use the new file, {start}"
                )
            }
            Lost::Moved => format!("move it back to {path}, and writing resumes; or {start}"),
            Lost::MovedAndReplaced => {
                format!(
                    "move the new file away and the old one back to {path}, and writing resumes; or {start}"
                )
            }
            Lost::Log => "its contents are not yet in the main file; retrying every second".to_owned(),
            Lost::InUse => format!("stop one of the two that use {path}"),
            Lost::Unseen(error) => {
                format!(
                    "restore this logger's permissions on {path} ({})",
                    io::Error::from_raw_os_error(error)
                )
            }
        };
        tracing::error!(%path, "{what}: no more entries are stored. What to do: {todo}");
    }
}
