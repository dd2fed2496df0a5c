//! What an SQLite error means for a group, and for the connection that met it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use proto::{Code, Failure};
use rusqlite::{Connection, ErrorCode};

use super::{open, write::Broken};

/// What a group is told, and the connection if it may be used again.
pub(super) fn judge(
    connection: Connection,
    broken: Broken,
    path: &Path,
    damage: &Damage,
) -> (Failure, Option<Connection>) {
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
    let mut kept = None;
    if open::is_damage(&error) {
        damage.found(path, &error);
    } else if certain.is_some() && connection.is_autocommit() {
        kept = Some(connection);
    } else {
        tracing::error!(%error, "the store failed; it will be checked and reopened");
    }
    let otherwise =
        || if at_commit { Failure::unknown("the store") } else { Failure::unreachable("the store") };
    (certain.unwrap_or_else(otherwise).because(error), kept)
}

/// Set once the file is known to be broken. From then on it is only read.
#[derive(Debug, Clone, Default)]
pub(super) struct Damage(Arc<AtomicBool>);

impl Damage {
    pub(super) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn found(&self, path: &Path, error: &dyn std::error::Error) {
        if !self.0.swap(true, Ordering::Relaxed) {
            let path = path.display();
            tracing::error!(%path, %error, "the store is damaged; it accepts no more writes until a restart");
        }
    }
}

pub(super) fn full() -> Failure {
    Failure::new(Code::StorageFull, "the logger's disk is full; nothing was stored: free space, then retry")
}

fn busy() -> Failure {
    Failure::new(Code::Unavailable, "the store is locked by another process; nothing was stored: retry")
}

pub(super) fn damaged() -> Failure {
    Failure::new(
        Code::Unavailable,
        "the store is damaged; nothing was stored, nor will be until its file is fixed",
    )
}
