//! Servers that refuse, and what is certain then.

use std::time::Duration;

use proto::{Code, Outcome};

use super::*;
use crate::store::fixtures::*;

#[test]
fn a_database_that_turns_read_only_stores_nothing_and_takes_entries_again_when_it_may() {
    let place = Place::made("");
    let mut store = place.open();
    store_one(&mut store, arrival(1, "text")).expect("stored");
    let session = store.take_session().expect("connected");
    // As an administrator does before a switch-over: sessions that are there keep their own setting.
    place.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", place.name));
    drop(session);
    let failure = store_one(&mut store, arrival(2, "text")).expect_err("refused");
    assert_eq!(failure.code, Code::Unavailable);
    assert_eq!(store.standing().map_err(|failure| failure.code), Err(Code::Unavailable));
    let database = &place.name;
    sql(&server(), &format!("ALTER DATABASE {database} RESET default_transaction_read_only"));
    eventually(&mut store, |store| store_one(store, arrival(2, "text")) == Ok(Outcome::Stored));
    store.look();
    assert_eq!(store.standing(), Ok(()));
}

#[test]
fn a_server_that_is_gone_stores_nothing_and_is_found_again() {
    let mut place = <OwnServer as suite::Place>::new();
    let mut store = suite::Place::open(&mut place);
    store_one(&mut store, arrival(1, "text")).expect("stored");
    place.runtime.block_on(place.database.stop()).expect("it obeys");
    let failure = store_one(&mut store, arrival(2, "text")).expect_err("nobody is there");
    assert_eq!(failure.code, Code::Unavailable);
    let start = async {
        place.database.launch("").await?;
        place.database.serves().await
    };
    place.runtime.block_on(start).expect("it obeys");
    eventually(&mut store, |store| store_one(store, arrival(2, "text")) == Ok(Outcome::Stored));
    let runtime = runtime();
    let reader = store.reader();
    for number in [1, 2] {
        assert!(runtime.block_on(reader.get(id(number))).expect("readable").is_some());
    }
}

#[test]
fn a_connection_that_was_closed_while_nothing_was_written_costs_no_entry() {
    let place = Place::made("");
    let mut store = place.open();
    for number in 0..3 {
        store_one(&mut store, arrival(number, "text")).expect("stored");
        let database = &place.name;
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity";
        sql(&server(), &format!("{others} WHERE datname = '{database}'"));
    }
    assert_eq!(store_one(&mut store, arrival(2, "text")), Ok(Outcome::Duplicate));
}

#[test]
fn a_full_disk_is_called_so() {
    let place = Place::made("");
    let mut store = place.open();
    place.sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
         CREATE TRIGGER full_disk BEFORE INSERT ON entries EXECUTE FUNCTION full_disk()",
    );
    let failure = store_one(&mut store, arrival(1, "text")).expect_err("no room");
    assert_eq!(failure.code, Code::StorageFull);
    assert_eq!(store.standing().map_err(|failure| failure.code), Err(Code::StorageFull));
    place.sql("DROP TRIGGER full_disk ON entries");
    assert_eq!(store_one(&mut store, arrival(1, "text")), Ok(Outcome::Stored));
    assert_eq!(store.standing(), Ok(()));
}

#[test]
fn a_counter_that_does_not_fit_the_entries_any_more_is_told_until_it_is_counted_again() {
    let unfit = opening::UNFIT.into_iter();
    for ((restored, words), idle) in unfit.flat_map(|restored| [(restored, false), (restored, true)]) {
        let place = Place::made("");
        let mut store = place.open();
        for number in 1..=3 {
            store_one(&mut store, arrival(number, "text")).expect("stored");
        }
        place.sql(restored);
        // Whichever comes first says why.
        let first = if idle {
            store.look();
            store.standing().expect_err("seen without an entry").clone()
        } else {
            store_one(&mut store, arrival(4, "text")).expect_err("no number for it")
        };
        assert_eq!(first.code, Code::Unavailable);
        assert!(first.message().contains("see the logger's log"), "{first}");
        assert!(first.cause().contains(words), "{}", first.cause());
        for _ in 0..3 {
            store.look();
            assert!(store.standing().is_err(), "not ready while nothing can be stored");
            assert!(store.ping().is_err());
            let failure = store_one(&mut store, arrival(4, "text")).expect_err("no number for it");
            assert!(failure.cause().contains(words), "{}", failure.cause());
        }
        place.sql(opening::remedy(&first.cause()));
        eventually(&mut store, |store| store_one(store, arrival(4, "text")) == Ok(Outcome::Stored));
        store.look();
        assert_eq!(store.standing(), Ok(()));
    }
}

#[test]
fn a_row_that_the_server_refuses_does_not_harm_its_neighbours() {
    let place = Place::made("");
    let mut store = place.open();
    place.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON entries FOR EACH ROW WHEN (NEW.data = 'bad') EXECUTE FUNCTION refuse()",
    );
    let answers = store.commit(&[
        each(vec![arrival(1, "good"), arrival(2, "bad"), arrival(3, "good")]),
        all_or_none(vec![arrival(4, "good"), arrival(5, "bad")]),
        all_or_none(vec![arrival(6, "good")]),
    ]);
    let answers = answers.expect("committed");
    let codes = |results: &[Result<Outcome, proto::Failure>]| -> Vec<Result<Outcome, Code>> {
        results.iter().map(|result| result.as_ref().map_err(|failure| failure.code).copied()).collect()
    };
    let first = answers[0].as_ref().expect("by entry");
    assert_eq!(codes(first), [Ok(Outcome::Stored), Err(Code::InvalidEntry), Ok(Outcome::Stored)]);
    assert_eq!(answers[1].as_ref().expect_err("one is bad").code, Code::InvalidEntry);
    assert_eq!(answers[2], Ok(vec![Ok(Outcome::Stored)]));
}

#[test]
fn a_turn_that_others_do_not_give_on_is_waited_for_and_then_nothing_is_stored() {
    let place = Place::made("");
    let [mut store, other] = [place.open(), place.open()];
    let held = other.session.as_ref().expect("connected");
    // With a SELECT each time, so that it is not idle.
    let hold = "BEGIN; SELECT FROM counter FOR UPDATE";
    other.run(held.client.batch_execute(hold)).expect("held");
    let failure = store_one(&mut store, arrival(1, "text")).expect_err("no turn");
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message().contains("turn"), "{failure}");
    // A session that takes the turn and then is idle is ended by the server.
    eventually(&mut store, |store| store_one(store, arrival(1, "text")) == Ok(Outcome::Stored));
}

/// Tries until it holds.
fn eventually(store: &mut Postgres, mut holds: impl FnMut(&mut Postgres) -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !holds(store) {
        assert!(std::time::Instant::now() < deadline, "it did not come to pass in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}
