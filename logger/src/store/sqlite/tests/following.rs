//! Tails: how far one look goes.

use std::time::Duration;

use proto::{Code, Cursor, Filter, Outcome, TailQuery, Time, limits::DATA_BYTES};

use super::{
    super::{
        follow,
        prune::{self, Step},
    },
    *,
};
use crate::store::Followed;

/// What a tail without a filter finds after an entry.
fn after(store: &mut Sqlite, cursor: i64, max_lag: Option<u64>) -> Followed {
    let query = TailQuery { filter: Filter::default(), after: None, max_lag };
    follow::follow(connection(store), &query, Cursor::after(cursor), Budget::FOLLOW, &LeftOut::new())
        .expect("readable")
}

/// Sends what is stored again: as a duplicate, as a conflict, and as part of a batch that is refused.
fn send_again(store: &mut Sqlite, number: u128) {
    assert_eq!(store_one(store, arrival(number, "text")), Ok(Outcome::Duplicate));
    let conflict = store_one(store, arrival(number, "other")).expect_err("other content");
    assert_eq!(conflict.code, Code::Conflict);
    let refused = all_or_none(vec![arrival(1_000, "new"), arrival(number, "text"), arrival(number, "other")]);
    let answers = store.commit(&[refused]).expect("committed");
    assert_eq!(answers[0].as_ref().expect_err("a conflict").code, Code::Conflict);
}

#[test]
fn a_store_of_an_earlier_version_is_followed_and_its_gaps_count_as_missed() {
    let (_directory, _, mut store) = new_sqlite();
    for number in 1..=3 {
        store_one(&mut store, arrival(number, "text")).expect("stored");
        leave_gap(&mut store);
    }
    for (max_lag, missed, entries) in [(None, 0, 2), (Some(2), 2, 1), (Some(1), 3, 0)] {
        let followed = after(&mut store, 2, max_lag);
        assert_eq!((followed.missed, followed.entries.len()), (missed, entries), "{max_lag:?}");
        assert_eq!((followed.reached, followed.more), (Cursor::after(6), false), "{max_lag:?}");
    }
    store_one(&mut store, arrival(4, "text")).expect("stored");
    let followed = after(&mut store, 6, Some(1));
    assert_eq!((followed.missed, followed.entries.len(), followed.reached), (0, 1, Cursor::after(7)));
}

#[test]
fn what_is_deleted_is_missed_and_what_came_twice_is_not() {
    let (_directory, _, mut store) = new_sqlite();
    for number in 1..=3 {
        store_one(&mut store, arrival(number, "text")).expect("stored");
        send_again(&mut store, number);
    }
    let delete_all = |store: &mut Sqlite| {
        prune::step(connection(store), Some(Time::MAX), None, Step::USUAL).expect("deleted")
    };
    delete_all(&mut store);
    let followed = after(&mut store, 1, None);
    assert_eq!((followed.missed, followed.entries.len(), followed.reached), (2, 0, Cursor::after(3)));

    // A deleted entry that comes again is new, and its number is.
    assert_eq!(store_one(&mut store, arrival(3, "text")), Ok(Outcome::Stored));
    send_again(&mut store, 3);
    let followed = after(&mut store, 3, Some(1));
    assert_eq!((followed.missed, followed.entries.len(), followed.reached), (0, 1, Cursor::after(4)));
    delete_all(&mut store);
    store_one(&mut store, arrival(4, "text")).expect("stored");
    let followed = after(&mut store, 1, None);
    assert_eq!((followed.missed, followed.entries.len(), followed.reached), (3, 1, Cursor::after(5)));
}

#[test]
fn a_search_for_a_text_looks_at_the_clock_between_two_entries() {
    const ENTRIES: u128 = 100;
    /// Less than reading 25 MiB takes.
    const TIME: Duration = Duration::from_millis(1);
    let (_directory, _, mut store) = new_sqlite();
    let data = "d".repeat(DATA_BYTES);
    store.commit(&[each((0..ENTRIES).map(|number| arrival(number, &data)).collect())]).expect("stored");
    let filter = Filter { contains: Some("what is nowhere".into()), ..Filter::default() };
    let query = TailQuery { filter, after: Some(Cursor::after(0)), max_lag: None };
    let budget = Budget { time: TIME, ..Budget::FOLLOW };
    let (mut cursor, mut looks) = (Cursor::after(0), 0);
    loop {
        let followed = follow::follow(connection(&mut store), &query, cursor, budget, &LeftOut::new())
            .expect("readable");
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
