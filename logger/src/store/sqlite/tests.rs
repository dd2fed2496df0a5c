//! What is SQLite's own. What every store must do is in `store::suite`, which has a [`Place`] here.

mod backing_up;
mod clock;
mod failing;
mod following;
mod losing;
mod opening;
mod paging;
mod pruning;
mod restoring;
mod torn;
mod unreadable;
mod versions;
mod writing;

use std::path::PathBuf;

use proto::{Query, StoredEntry, Time};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Sqlite, file::with_suffix, open_error::OpenError, page, prune};
use crate::store::{Store, StoreUrl, fixtures::*, reading::Budget, row::LeftOut, suite};

/// A directory with a file for the suite.
pub(in crate::store) struct Place {
    directory: TempDir,
}

impl Place {
    fn path(&self) -> PathBuf {
        self.directory.path().join("logs.db")
    }
}

impl suite::Place for Place {
    type Store = Sqlite;

    fn new() -> Self {
        Place { directory: tempfile::tempdir().expect("a directory") }
    }

    /// What survives here survives in the cache of the file system: the suite loses no power, and syncing would take most
    /// of its time.
    fn open(&mut self) -> Sqlite {
        let mut store = Sqlite::open(&self.path()).expect("opened");
        connection(&mut store).pragma_update(None, "synchronous", "OFF").expect("a setting");
        store
    }

    fn forget(&mut self, store: &mut Sqlite, before: Time) {
        let mut step = || prune::step(connection(store), Some(before), None, prune::Step::USUAL);
        while step().expect("deleted").more {}
    }
}

impl suite::Durable for Place {
    /// As a process that is killed leaves them: the log is not checkpointed, and its index is rebuilt.
    fn crash(&mut self, store: Sqlite) -> Sqlite {
        let left = <Place as suite::Place>::new();
        for end in ["", "-wal"] {
            let copied = std::fs::copy(with_suffix(&self.path(), end), with_suffix(&left.path(), end));
            copied.expect("the store is open, so both are there");
        }
        drop(store);
        *self = left;
        suite::Place::open(self)
    }
}

/// An empty store in a directory that vanishes with the test.
fn new_sqlite() -> (TempDir, StoreUrl, Sqlite) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("logs.db");
    let store = Sqlite::open(&path).expect("a new store");
    (directory, StoreUrl::Sqlite(path), store)
}

fn connection(store: &mut Sqlite) -> &Connection {
    store.connection.as_ref().expect("the connection is open")
}

fn get(store: &mut Sqlite, id: Uuid) -> Option<StoredEntry> {
    page::get(connection(store), id).expect("readable").transpose().expect("a sound row")
}

/// Leaves a number out, as earlier versions did for each entry that came twice.
fn leave_gap(store: &mut Sqlite) {
    let sql = "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'entries'";
    assert_eq!(connection(store).execute(sql, []), Ok(1));
}

/// Every entry that meets the query, newest first, in pages of its limit.
fn walk(store: &mut Sqlite, mut query: Query, budget: Budget) -> Vec<StoredEntry> {
    let mut found = Vec::new();
    loop {
        let page = page::page(connection(store), &query, budget, &LeftOut::new()).expect("readable");
        assert!(page.entries.len() <= query.limit);
        found.extend(page.entries);
        match page.next {
            Some(next) => assert!(query.cursor.replace(next).is_none_or(|last| next < last), "goes on"),
            None => return found,
        }
    }
}

fn count(store: &mut Sqlite) -> usize {
    walk(store, Query { limit: 1_000, ..Query::default() }, Budget::DEFAULT).len()
}
