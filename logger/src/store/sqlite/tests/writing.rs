//! What becomes of an entry by SQLite's own ways; the rest is in `store::suite`.

use proto::{Code, Outcome, Time};

use super::*;

#[test]
fn a_row_that_sqlite_refuses_does_not_harm_its_neighbours() {
    let (_directory, _, mut store) = new_sqlite();
    connection(&mut store)
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON entries WHEN NEW.data = 'bad'
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .expect("a trigger");
    let answers = store
        .commit(&[
            each(vec![arrival(1, "good"), arrival(2, "bad"), arrival(3, "good")]),
            all_or_none(vec![arrival(4, "good"), arrival(5, "bad")]),
            all_or_none(vec![arrival(6, "good")]),
        ])
        .expect("committed");
    let codes: Vec<_> = answers[0]
        .as_ref()
        .expect("by entry")
        .iter()
        .map(|result| result.as_ref().map_err(|failure| failure.code).copied())
        .collect();
    assert_eq!(codes, [Ok(Outcome::Stored), Err(Code::InvalidEntry), Ok(Outcome::Stored)]);
    let failure = answers[1].as_ref().expect_err("one of them is bad");
    assert_eq!((failure.code, failure.position), (Code::InvalidEntry, Some(1)));
    assert_eq!(answers[2], Ok(vec![Ok(Outcome::Stored)]));
    assert_eq!(count(&mut store), 3);
}

#[test]
fn stored_at_never_goes_backwards_not_even_after_a_restart() {
    let (_directory, url, mut store) = new_sqlite();
    let tomorrow_us = Time::now().as_microsecond() + 86_400_000_000;
    store.last_stored_at = Time::from_microsecond(tomorrow_us).expect("a time");
    store_one(&mut store, arrival(1, "by a clock that is ahead")).expect("stored");
    drop(store);
    let mut store = Sqlite::open(file(&url)).expect("opened again");
    store_one(&mut store, arrival(2, "by a clock that was set right")).expect("stored");
    let stored = get(&mut store, id(2)).expect("stored");
    assert_eq!(stored.stored_at.as_microsecond(), tomorrow_us);
}
