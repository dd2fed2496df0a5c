//! What becomes of an entry, alone and among others.

use proto::{Code, EntryDraft, Level, Outcome, Time, Transport};

use super::{connection, count, get, sqlite};
use crate::store::{Arrival, Store, fixtures::*};

#[test]
fn an_entry_is_read_back_as_it_was_written() {
    let (_directory, _, mut store) = new_store();
    let arrival = arrival_of(1, "имя", "line\n'quoted' \u{1f600}", Level::Error, Transport::Rabbitmq);
    assert_eq!(store_one(&mut store, arrival.clone()), Ok(Outcome::Stored));
    let stored = get(&mut store, id(1)).expect("stored");
    assert_eq!((stored.name.as_str(), stored.data.as_str()), (arrival.entry.name(), arrival.entry.data()));
    assert_eq!((stored.level, stored.transport), (Level::Error, Transport::Rabbitmq));
    assert_eq!((stored.created_at, stored.attempts), (arrival.entry.created_at(), 1));
    assert!(stored.stored_at >= stored.created_at);
    assert_eq!(get(&mut store, id(2)), None);
}

#[test]
fn the_same_content_again_is_a_duplicate_and_counted() {
    let (_directory, _, mut store) = new_store();
    let first = arrival(1, "text");
    assert_eq!(store_one(&mut store, first.clone()), Ok(Outcome::Stored));
    let later = Arrival {
        entry: EntryDraft { created_at: Some("2001-01-01T00:00:00Z".into()), ..(&first.entry).into() }
            .check(jiff::Timestamp::now())
            .expect("valid"),
        came_by: Transport::Grpc,
    };
    assert_eq!(store_one(&mut store, later), Ok(Outcome::Duplicate));
    let stored = get(&mut store, id(1)).expect("stored");
    assert_eq!((stored.attempts, stored.transport), (2, Transport::Http));
    assert_eq!(stored.created_at, first.entry.created_at());
    assert_eq!(count(&mut store), 1);
}

#[test]
fn other_content_under_the_same_id_is_a_conflict_that_changes_nothing() {
    let (_directory, _, mut store) = new_store();
    store_one(&mut store, arrival(1, "text")).expect("stored");
    let before = get(&mut store, id(1));
    for other in [
        arrival(1, "Text"),
        arrival_of(1, "other", "text", Level::Info, Transport::Http),
        arrival_of(1, "event", "text", Level::Error, Transport::Http),
    ] {
        let failure = store_one(&mut store, other).expect_err("a conflict");
        assert_eq!(failure.code, Code::Conflict);
        assert!(failure.message().contains("new id"), "{failure}");
    }
    assert_eq!(get(&mut store, id(1)), before);
}

#[test]
fn a_batch_of_all_or_none_is_taken_back_alone() {
    let (_directory, _, mut store) = new_store();
    store_one(&mut store, arrival(1, "text")).expect("stored");
    let answers = store
        .commit(&[
            each(vec![arrival(2, "before")]),
            all_or_none(vec![arrival(1, "text"), arrival(3, "new"), arrival(1, "other"), arrival(4, "new")]),
            all_or_none(vec![arrival(3, "after"), arrival(5, "after")]),
        ])
        .expect("committed");
    let failure = answers[1].as_ref().expect_err("one of them is a conflict");
    assert_eq!((failure.code, failure.position), (Code::Conflict, Some(2)));
    assert_eq!(answers[0], Ok(vec![Ok(Outcome::Stored)]));
    assert_eq!(answers[2], Ok(vec![Ok(Outcome::Stored), Ok(Outcome::Stored)]));
    assert_eq!(get(&mut store, id(1)).expect("stored").attempts, 1, "the duplicate is taken back too");
    assert_eq!(get(&mut store, id(3)).expect("stored").data, "after");
    assert_eq!(get(&mut store, id(4)), None);
}

#[test]
fn each_entry_of_a_batch_has_its_own_result() {
    let (_directory, _, mut store) = new_store();
    store_one(&mut store, arrival(1, "text")).expect("stored");
    let batch = each(vec![arrival(2, "a"), arrival(1, "other"), arrival(1, "text"), arrival(3, "b")]);
    let results = store.commit(&[batch]).expect("committed").remove(0).expect("by entry");
    assert_eq!(results[0], Ok(Outcome::Stored));
    assert_eq!(results[1].as_ref().map_err(|failure| failure.code), Err(Code::Conflict));
    assert_eq!(results[2..], [Ok(Outcome::Duplicate), Ok(Outcome::Stored)]);
    assert_eq!(count(&mut store), 3);
}

#[test]
fn an_id_twice_in_a_batch_is_a_duplicate_or_a_conflict() {
    let (_directory, _, mut store) = new_store();
    let same = all_or_none(vec![arrival(1, "text"), arrival(1, "text")]);
    let other = all_or_none(vec![arrival(2, "text"), arrival(2, "other")]);
    let answers = store.commit(&[same, other]).expect("committed");
    assert_eq!(answers[0], Ok(vec![Ok(Outcome::Stored), Ok(Outcome::Duplicate)]));
    let failure = answers[1].as_ref().expect_err("a conflict");
    assert_eq!((failure.code, failure.position), (Code::Conflict, Some(1)));
    assert_eq!(get(&mut store, id(2)), None);
}

#[test]
fn a_row_that_sqlite_refuses_does_not_harm_its_neighbours() {
    let (_directory, _, mut store) = new_store();
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
fn a_store_that_is_opened_again_has_everything() {
    let (_directory, url, mut store) = new_store();
    for number in 0..10 {
        store_one(&mut store, arrival(number, "text")).expect("stored");
    }
    // Dropped as in a crash, with no checkpoint asked for, and then closed in order.
    drop(store);
    let mut store = Store::open(&url).expect("opened again");
    assert_eq!(count(&mut store), 10);
    store.close();
    let mut store = Store::open(&url).expect("opened again");
    assert_eq!(count(&mut store), 10);
    assert_eq!(store_one(&mut store, arrival(3, "text")), Ok(Outcome::Duplicate));
}

#[test]
fn stored_at_never_goes_backwards_not_even_after_a_restart() {
    let (_directory, url, mut store) = new_store();
    let tomorrow_us = Time::now().as_microsecond() + 86_400_000_000;
    sqlite(&mut store).last_stored_at = Time::from_microsecond(tomorrow_us).expect("a time");
    store_one(&mut store, arrival(1, "by a clock that is ahead")).expect("stored");
    drop(store);
    let mut store = Store::open(&url).expect("opened again");
    store_one(&mut store, arrival(2, "by a clock that was set right")).expect("stored");
    let stored = get(&mut store, id(2)).expect("stored");
    assert_eq!(stored.stored_at.as_microsecond(), tomorrow_us);
}
