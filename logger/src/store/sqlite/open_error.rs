//! Why a SQLite file cannot be opened, and what to do about it.

use std::{io, path::PathBuf};

use crate::store;

/// Why a file could not be opened. Nothing that was found is changed, let alone deleted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory of the file is missing and cannot be made.
    #[error("cannot create the directory {}: create it by hand, or use another path", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} already exists and is not a store of this logger: use another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open for writing.
    #[error("another logger uses {}: stop it first, or use another file", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file has more than one name: a process that opens another does not find the write-ahead log of this one.
    #[error(
        "{0} has {names} hard links, and entries stored under one are lost under another: find them with \
         `find / -samefile {0}`, and delete all but one",
        path.display()
    )]
    Linked {
        /// The file.
        path: PathBuf,
        /// How many it has.
        names: u64,
    },
    /// The file, or what must be written beside it, may not be written.
    #[error("{} is not writable: {detail}. To fix it: {fix}", path.display())]
    NotWritable {
        /// The file or the directory.
        path: PathBuf,
        /// Why not.
        detail: String,
        /// The command that helps.
        fix: String,
    },
    /// There is no room to begin with.
    #[error(
        "the disk of {} is full: free 16 MiB, or move the store with its -wal file to a larger disk",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file that keeps two loggers from using one store cannot be had.
    #[error("cannot open {}", path.display())]
    Lock {
        /// That file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file was written by a later version.
    #[error(
        "{} has schema version {found}, and this logger supports up to {known}: use a newer logger",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// The newest version that is understood.
        known: i32,
    },
    /// The file is a store, and broken.
    #[error(
        "{0} is damaged ({detail}). If it was restored from a backup, move away {0}-wal and {0}-shm, which belong to the \
         previous file, and restart. Otherwise move away all three, and restore a backup or start with an empty store",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file cannot give the promise that a stored entry is synced.
    #[error("{} cannot be used safely ({detail}): move it to a local disk", path.display())]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// What is missing.
        detail: String,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Anything else that SQLite says.
    #[error("cannot open {}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
}

impl From<OpenError> for store::OpenError {
    fn from(error: OpenError) -> Self {
        use store::OpenError as Error;
        match error {
            OpenError::Damaged { .. } => Error::Damaged(Box::new(error)),
            OpenError::InUse { .. } => Error::InUse(Box::new(error)),
            OpenError::Newer { .. } => Error::Newer(Box::new(error)),
            OpenError::NotDurable { .. } => Error::NotDurable(Box::new(error)),
            OpenError::Directory { .. }
            | OpenError::Foreign { .. }
            | OpenError::Linked { .. }
            | OpenError::NotWritable { .. }
            | OpenError::Full { .. }
            | OpenError::Lock { .. }
            | OpenError::Io { .. }
            | OpenError::Sqlite { .. } => Error::Unusable(Box::new(error)),
        }
    }
}
