mod clock;
mod failing;
mod following;
mod losing;
mod model;
mod opening;
mod paging;
mod pruning;
mod restoring;
mod torn;
mod unreadable;
mod writing;

use proto::{Query, StoredEntry};
use rusqlite::Connection;
use uuid::Uuid;

use super::{LeftOut, Sqlite, page};
use crate::store::Store;

fn sqlite(store: &mut Store) -> &mut Sqlite {
    match store {
        Store::Sqlite(store) => store,
        Store::Nothing => panic!("it has no file"),
    }
}

fn connection(store: &mut Store) -> &Connection {
    sqlite(store).connection.as_ref().expect("the connection is open")
}

fn get(store: &mut Store, id: Uuid) -> Option<StoredEntry> {
    page::get(connection(store), id).expect("readable").transpose().expect("a sound row")
}

/// Leaves a number out, as earlier versions did for each entry that came twice.
fn leave_gap(store: &mut Store) {
    let sql = "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'entries'";
    assert_eq!(connection(store).execute(sql, []), Ok(1));
}

/// Every entry that meets the query, newest first, in pages of its limit.
fn walk(store: &mut Store, mut query: Query, budget: page::Budget) -> Vec<StoredEntry> {
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

fn count(store: &mut Store) -> usize {
    walk(store, Query { limit: 1_000, ..Query::default() }, page::Budget::DEFAULT).len()
}
