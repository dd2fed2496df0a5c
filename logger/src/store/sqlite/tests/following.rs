//! Tails: how far one look goes.

use std::time::Duration;

use proto::{Cursor, Query, TailQuery, limits::DATA_BYTES};

use super::{
    super::{follow, page::Budget},
    connection,
};
use crate::store::fixtures::*;

#[test]
fn a_search_for_a_text_looks_at_the_clock_between_two_entries() {
    const ENTRIES: u128 = 100;
    /// Less than reading 25 MiB takes.
    const TIME: Duration = Duration::from_millis(1);
    let (_directory, _, mut store) = new_store();
    let data = "d".repeat(DATA_BYTES);
    store.commit(&[each((0..ENTRIES).map(|number| arrival(number, &data)).collect())]).expect("stored");
    let filter = Query { contains: Some("what is nowhere".into()), ..Query::default() };
    let query = TailQuery { filter, after: Some(Cursor::after(0)), max_lag: None };
    let budget = Budget { time: TIME, ..Budget::FOLLOW };
    let (mut cursor, mut looks) = (Cursor::after(0), 0);
    loop {
        let followed = follow::follow(connection(&mut store), &query, cursor, budget).expect("readable");
        assert_eq!((followed.missed, followed.entries.len(), followed.ended), (0, 0, false));
        assert!(followed.reached >= cursor, "it goes on where it was");
        (cursor, looks) = (followed.reached, looks + 1);
        if !followed.more {
            break;
        }
    }
    assert!(looks > 1, "all of it in one look");
    assert_eq!(cursor, Cursor::after(i64::try_from(ENTRIES).expect("small")));
}
