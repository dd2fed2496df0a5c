//! Stores of earlier versions, as SQL that is run here as it stands.

use std::path::Path;

use super::{super::schema::APPLICATION_ID, *};
use crate::store::migrations::VERSION;

/// The first version of the tables, as commit 817fc4b makes them: the statements are those of its source, and its rows have
/// no checksums. A number is missing, as that commit left one out for each entry that came twice.
const FIRST: &str = include_str!("../../../../../tests/versions/817fc4b/store.sql");

/// What the logger of 0.1.0 (commit 3ef3fee) has stored, written by `tests/versions/record.py`.
const RELEASED: &str = include_str!("../../../../../tests/versions/0.1.0/store.sql");

fn restore(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("a new file");
    connection.execute_batch(sql).expect("its statements");
    let mark =
        |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).expect("a number");
    assert_eq!(mark("application_id"), APPLICATION_ID);
    assert!(mark("user_version") <= VERSION);
}

/// What is in the table, without the help of the store: sequence, id, name, data and attempts of each row.
fn rows(path: &Path) -> Vec<(i64, Uuid, String, String, i64)> {
    let connection = Connection::open(path).expect("opened");
    let mut statement = connection
        .prepare("SELECT seq, id, name, data, attempts FROM entries ORDER BY seq")
        .expect("a statement");
    let rows =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
    rows.expect("rows").collect::<Result<_, _>>().expect("readable")
}

/// Nothing of a store of an earlier version is lost: not when it is opened, nor when it is written to, nor after the next
/// start.
fn is_taken_over(sql: &str, unchecked: bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("logs.db");
    restore(&path, sql);
    let before = rows(&path);
    assert!(before.len() >= 3, "{before:?}");
    for number in 0..2 {
        let mut store = Sqlite::open(&path).expect("a store of an earlier version");
        let found = walk(&mut store, Query { limit: 1_000, ..Query::default() }, Budget::DEFAULT);
        assert_eq!(found.len(), before.len() + number);
        for (_, id, name, data, attempts) in &before {
            let entry = get(&mut store, *id).expect("it is there");
            assert_eq!((&entry.name, &entry.data), (name, data));
            assert!(i64::from(entry.attempts) >= *attempts);
        }
        // The same id is the same entry, whichever version stored it.
        let known = found.last().expect("the oldest").clone();
        let draft = proto::EntryDraft {
            id: Some(known.id.to_string()),
            name: known.name.clone(),
            data: known.data.clone(),
            level: Some(known.level.as_str().to_owned()),
            ..proto::EntryDraft::default()
        };
        let again = crate::store::Arrival {
            entry: draft.check(jiff::Timestamp::now()).expect("valid"),
            came_by: known.transport,
        };
        assert_eq!(store_one(&mut store, again), Ok(proto::Outcome::Duplicate));
        let new = arrival(number as u128, "stored by today's");
        assert_eq!(store_one(&mut store, new), Ok(proto::Outcome::Stored));
        Box::new(store).close();
    }
    let after = rows(&path);
    assert_eq!(after.len(), before.len() + 2);
    assert!(before.iter().zip(&after).all(|(old, new)| (old.0, old.1, &old.3) == (new.0, new.1, &new.3)));
    let last = before.last().expect("a row").0;
    assert_eq!(after[before.len()..].iter().map(|row| row.0).collect::<Vec<_>>(), [last + 1, last + 2]);
    let connection = Connection::open(&path).expect("opened");
    let without = "SELECT count(*) FROM entries WHERE checksum IS NULL";
    let without: i64 = connection.query_row(without, [], |row| row.get(0)).expect("a number");
    assert_eq!(without, if unchecked { before.len() as i64 } else { 0 }, "what is new has a checksum");
}

#[test]
fn a_store_of_the_first_version_is_taken_over_as_a_whole() {
    is_taken_over(FIRST, true);
}

#[test]
fn a_store_of_the_released_version_is_taken_over_as_a_whole() {
    is_taken_over(RELEASED, false);
}
