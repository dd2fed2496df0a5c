//! Rows that cannot be read: the others can, on every path.

use std::sync::Arc;

use proto::{Code, Cursor, Filter, Query, TailQuery, Time};

use super::*;
use crate::store::{Reader, Retention};

/// What may happen to a row, in SQL. Without a checksum it is the conversion that finds it; a word may also be one that a
/// newer version knows.
const SPOILT: [&str; 10] = [
    "data = 'other'",
    "level = 'infp'",
    "level = 'infp', checksum = NULL",
    "transport = 'rpd', checksum = NULL",
    "created_at = 9223372036854775807, checksum = NULL",
    "created_at = -9223372036854775808, checksum = NULL",
    "stored_at = 9223372036854775807, checksum = NULL",
    "stored_at = -9223372036854775808",
    "id = x'0001', checksum = NULL",
    "checksum = -1",
];

const ROWS: u128 = 6;

/// A store of six rows, of which one was changed.
fn spoilt(row: u128, change: &str) -> (tempfile::TempDir, Sqlite) {
    let (directory, _, mut store) = new_sqlite();
    for number in 1..=ROWS {
        store_one(&mut store, arrival(number, "a text")).expect("stored");
    }
    let sql = format!("UPDATE entries SET {change} WHERE seq = {row}");
    assert_eq!(connection(&mut store).execute(&sql, []), Ok(1), "{change}");
    (directory, store)
}

fn others(row: u128) -> Vec<uuid::Uuid> {
    (1..=ROWS).filter(|number| *number != row).map(id).collect()
}

async fn follow(mut reader: Reader, filter: Filter) -> (Vec<uuid::Uuid>, bool) {
    let query = Arc::new(TailQuery { filter, after: None, max_lag: None });
    let followed = reader.follow(&query, Cursor::after(0)).await.expect("readable");
    assert!(followed.ended || followed.reached == Cursor::after(6), "{:?}", followed.reached);
    (followed.entries.into_iter().map(|(entry, _)| entry.id).collect(), followed.ended)
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_left_out_and_the_others_are_read() {
    for change in SPOILT {
        for row in [1, 3, ROWS] {
            let what = format!("row {row}: {change}");
            let (_directory, store) = spoilt(row, change);
            let reader = store.reader();
            let expected = others(row);
            let hour =
                |hours: i64| Time::from_microsecond(Time::now().as_microsecond() + hours * 3_600_000_000);
            for filter in [
                Filter::default(),
                Filter { contains: Some("text".into()), ..Filter::default() },
                Filter { since: hour(-1), until: hour(1), ..Filter::default() },
            ] {
                let page = reader.page(filter.clone().into()).await.expect("readable");
                let mut found: Vec<_> = page.entries.into_iter().map(|entry| entry.id).collect();
                found.reverse();
                assert_eq!(found, expected, "{what}, {filter:?}");
                assert_eq!(follow(reader.clone(), filter).await, (expected.clone(), false), "{what}");
            }
            let over = Filter { until: hour(-1), ..Filter::default() };
            assert_eq!(follow(reader.clone(), over).await, (vec![], true), "{what}");
            for number in (1..=ROWS).filter(|number| *number != row) {
                assert!(reader.get(id(number)).await.expect("readable").is_some(), "{what}");
            }
            match reader.get(id(row)).await {
                Ok(None) => assert!(change.starts_with("id"), "{what}"),
                Ok(Some(_)) => panic!("{what}: it was read"),
                Err(failure) => assert_eq!(failure.code, Code::Unavailable, "{what}"),
            }
        }
    }
}

#[tokio::test]
async fn a_last_row_that_was_altered_does_not_set_the_time_of_those_to_come() {
    for change in SPOILT {
        let (directory, store) = spoilt(ROWS, change);
        let before = Time::now();
        Box::new(store).close();
        let mut store = Sqlite::open(&directory.path().join("logs.db")).expect("it opens all the same");
        store_one(&mut store, arrival(100, "later")).expect("stored");
        let stored = store.reader().get(id(100)).await.expect("readable").expect("there");
        assert!(
            stored.stored_at <= Time::now() && stored.stored_at >= before,
            "{change}: {}",
            stored.stored_at
        );
    }
}

#[tokio::test]
async fn a_first_row_that_was_altered_does_not_keep_the_others_from_being_deleted() {
    for change in SPOILT {
        let (_directory, mut store) = spoilt(1, "attempts = 1");
        let old = "stored_at = stored_at - 7200000000, checksum = NULL";
        for (change, rows) in [(old, "seq <= 3"), (change, "seq = 1")] {
            let sql = format!("UPDATE entries SET {change} WHERE {rows}");
            connection(&mut store).execute(&sql, []).expect("changed");
        }
        super::clock::steady(&mut store);
        let hour = std::time::Duration::from_secs(3_600);
        store.tend(&Retention { max_age: Some(hour), max_bytes: None });
        let page = store.reader().page(Query::default()).await.expect("readable");
        let found: Vec<_> = page.entries.into_iter().map(|entry| entry.id).collect();
        assert_eq!(found, [6, 5, 4].map(id), "{change}");
    }
}
