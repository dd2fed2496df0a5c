//! Rows that cannot be read: the others can, on every path.

use std::sync::Arc;

use proto::{Code, Cursor, Filter, Query, TailQuery, Time};

use super::*;
use crate::store::{Retention, fixtures::*};

/// What may happen to a row, in SQL. Without a checksum it is the conversion that finds it; a word may also be one
/// that a newer version knows.
const SPOILT: [&str; 8] = [
    "data = 'other'",
    "level = 'infp'",
    "level = 'infp', checksum = NULL",
    "transport = 'rpd', checksum = NULL",
    "created_at = 9223372036854775807, checksum = NULL",
    "stored_at = 9223372036854775807, checksum = NULL",
    "stored_at = -9223372036854775808",
    "checksum = -1",
];

const ROWS: u128 = 6;

#[test]
fn a_row_that_cannot_be_read_is_left_out_and_the_others_are_read() {
    let place = Place::made("");
    let mut store = place.open();
    for number in 1..=ROWS {
        store_one(&mut store, arrival(number, "a text")).expect("stored");
    }
    let runtime = runtime();
    let hour = |hours: i64| Time::from_microsecond(Time::now().as_microsecond() + hours * 3_600_000_000);
    place.sql("CREATE TABLE sound AS SELECT * FROM entries");
    for change in SPOILT {
        for row in [1, 3, ROWS] {
            let what = format!("row {row}: {change}");
            place.sql(&format!(
                "TRUNCATE entries; INSERT INTO entries SELECT * FROM sound;
                 UPDATE entries SET {change} WHERE seq = {row}"
            ));
            let others: Vec<_> = (1..=ROWS).filter(|number| *number != row).map(id).collect();
            let mut reader = store.reader();
            for filter in [
                Filter::default(),
                Filter { contains: Some("text".into()), ..Filter::default() },
                Filter { since: hour(-1), until: hour(1), ..Filter::default() },
            ] {
                let page = runtime.block_on(reader.page(filter.clone().into())).expect("readable");
                let mut found: Vec<_> = page.entries.into_iter().map(|entry| entry.id).collect();
                found.reverse();
                assert_eq!(found, others, "{what}, {filter:?}");
                let query = Arc::new(TailQuery { filter, after: None, max_lag: None });
                let followed = runtime.block_on(reader.follow(&query, Cursor::after(0))).expect("readable");
                let found: Vec<_> = followed.entries.into_iter().map(|(entry, _)| entry.id).collect();
                assert_eq!((found, followed.ended), (others.clone(), false), "{what}");
            }
            let failure = runtime.block_on(reader.get(id(row))).expect_err("unreadable");
            assert_eq!(failure.code, Code::Unavailable, "{what}");
        }
    }
}

#[test]
fn a_first_row_that_was_altered_does_not_keep_the_others_from_being_deleted() {
    for change in SPOILT {
        let place = Place::made("");
        let mut store = place.open();
        for number in 1..=ROWS {
            store_one(&mut store, arrival(number, "a text")).expect("stored");
        }
        place.sql("UPDATE entries SET stored_at = stored_at - 5400000000, checksum = NULL WHERE seq <= 3");
        place.sql(&format!("UPDATE entries SET {change} WHERE seq = 1"));
        let hour = std::time::Duration::from_secs(3_600);
        store.tend(&Retention { max_age: Some(hour), max_bytes: None });
        let page = runtime().block_on(store.reader().page(Query::default())).expect("readable");
        let found: Vec<_> = page.entries.into_iter().map(|entry| entry.id).collect();
        assert_eq!(found, [6, 5, 4].map(id), "{change}");
    }
}
