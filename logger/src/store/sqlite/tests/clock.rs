//! A wall clock that is wrong: what it does to the times of storing, and to what is deleted.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::{Outcome, Query, Time};

use super::*;
use crate::{
    clock::{Clock, Reading},
    store::{Retention, keeper::STEADY},
};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A clock that is set by hand, and has been running since the store was opened.
struct Hand(Arc<Mutex<Reading>>);

impl Hand {
    fn of(store: &mut Sqlite) -> Self {
        let running = Duration::from_secs(100);
        let reading = Arc::new(Mutex::new(Reading { wall_us: Time::now().as_microsecond(), running }));
        store.clock = Clock::by_hand(Arc::clone(&reading));
        Hand(reading)
    }

    /// Both run.
    fn pass(&self, seconds: i64) {
        self.leap(seconds);
        let mut reading = self.0.lock().expect("nobody panics");
        reading.running += Duration::from_secs(seconds.unsigned_abs());
    }

    /// The wall clock is set.
    fn leap(&self, seconds: i64) {
        self.0.lock().expect("nobody panics").wall_us += seconds * 1_000_000;
    }

    fn now(&self) -> Time {
        Time::from_microsecond(self.0.lock().expect("nobody panics").wall_us).expect("a time")
    }
}

/// Gives a store a clock that has run for long enough to be believed.
pub(super) fn steady(store: &mut Sqlite) {
    let hand = Hand::of(store);
    // It has begun so much earlier, and says the same.
    hand.leap(-HOUR);
    store.clock = Clock::by_hand(Arc::clone(&hand.0));
    hand.pass(HOUR);
    store.read_the_clock();
    assert!(store.clock.steady_for() >= STEADY);
}

fn keep(days: i64) -> Retention {
    Retention { max_age: Some(Duration::from_secs((days * DAY).unsigned_abs())), max_bytes: None }
}

fn tend(store: &mut Sqlite, retention: &Retention) -> usize {
    while store.tend(retention) {}
    count(store)
}

fn store_some(store: &mut Sqlite, numbers: std::ops::Range<u128>) {
    for number in numbers {
        store_one(store, arrival(number, "text")).expect("stored");
    }
}

#[test]
fn a_clock_that_was_a_year_ahead_for_a_moment_deletes_nothing() {
    let (_directory, url, mut store) = new_sqlite();
    let hand = Hand::of(&mut store);
    store_some(&mut store, 0..9);
    assert_eq!(tend(&mut store, &keep(7)), 9);
    hand.leap(YEAR);
    assert_eq!(tend(&mut store, &keep(7)), 9);
    store_some(&mut store, 9..10);
    hand.pass(2);
    assert_eq!(tend(&mut store, &keep(7)), 10);
    // A restart does not make a wrong clock right.
    Box::new(store).close();
    let mut store = Sqlite::open(file(&url)).expect("opened again");
    store.clock = Clock::by_hand(Arc::clone(&hand.0));
    assert_eq!(tend(&mut store, &keep(7)), 10);
    hand.leap(-YEAR);
    for _ in 0..3 {
        assert_eq!(tend(&mut store, &keep(7)), 10);
        hand.pass(HOUR);
    }
    let vitals = store.reader().vitals();
    store.look();
    assert!(vitals.ahead_seconds() > 300 * 86_400, "what was stored by the wrong clock is told");
    let trouble = vitals.clock_trouble().expect("the clock is in trouble");
    assert!(trouble.contains("ahead of the clock"), "{trouble}");
}

#[test]
fn a_clock_that_is_set_is_believed_when_it_has_run_for_an_hour() {
    let (_directory, _, mut store) = new_sqlite();
    let hand = Hand::of(&mut store);
    store_some(&mut store, 0..9);
    hand.leap(8 * DAY);
    assert_eq!(tend(&mut store, &keep(7)), 9);
    let vitals = store.reader().vitals();
    store.look();
    assert!(vitals.clock_trouble().is_some_and(|trouble| trouble.contains("jumped forward by 8 days")));
    hand.pass(HOUR - 1);
    assert_eq!(tend(&mut store, &keep(7)), 9);
    hand.pass(1);
    assert_eq!(tend(&mut store, &keep(7)), 0);
    store.look();
    assert_eq!(vitals.clock_trouble(), None);
}

#[test]
fn what_becomes_too_old_while_the_clock_runs_is_deleted_also_soon_after_a_start() {
    let (_directory, _, mut store) = new_sqlite();
    let hand = Hand::of(&mut store);
    store_some(&mut store, 0..9);
    let hour = Retention { max_age: Some(Duration::from_secs(3_600)), max_bytes: None };
    hand.pass(HOUR - 10);
    // As a logger that was started just now, on a machine that was not.
    store.clock = Clock::by_hand(Arc::clone(&hand.0));
    assert_eq!(tend(&mut store, &hour), 9);
    hand.pass(11);
    assert_eq!(tend(&mut store, &hour), 0);
}

#[test]
fn after_a_long_stop_it_waits_until_the_clock_is_believed() {
    let (_directory, _, mut store) = new_sqlite();
    let hand = Hand::of(&mut store);
    store_some(&mut store, 0..9);
    hand.pass(30 * DAY);
    store.clock = Clock::by_hand(Arc::clone(&hand.0));
    assert_eq!(tend(&mut store, &keep(7)), 9);
    hand.pass(HOUR);
    assert_eq!(tend(&mut store, &keep(7)), 0);
}

#[test]
fn a_clock_that_goes_back_keeps_the_order_and_deletes_nothing() {
    let (_directory, _, mut store) = new_sqlite();
    let hand = Hand::of(&mut store);
    store_some(&mut store, 0..3);
    hand.leap(-30 * DAY);
    store_some(&mut store, 3..6);
    assert_eq!(tend(&mut store, &keep(7)), 6);
    let entries = super::walk(&mut store, Query { limit: 100, ..Query::default() }, super::Budget::DEFAULT);
    assert!(entries.is_sorted_by(|newer, older| newer.stored_at >= older.stored_at));
}

#[tokio::test]
async fn what_stores_nothing_while_the_clock_is_ahead_does_not_set_the_time_of_those_to_come() {
    let (_directory, url, mut store) = new_sqlite();
    let hand = Hand::of(&mut store);
    store_some(&mut store, 0..1);
    hand.leap(YEAR);
    // The last commit is too long ago to be believed: it commits.
    store.committed_at = None;
    assert_eq!(store.ping(), Ok(()));
    assert!(store.committed_at.is_some(), "it was committed");
    assert_eq!(store_one(&mut store, arrival(0, "text")), Ok(Outcome::Duplicate));
    store_one(&mut store, arrival(0, "other")).expect_err("the id has other content");
    let other = rusqlite::Connection::open(file(&url)).expect("opened by another");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    store_one(&mut store, arrival(7, "text")).expect_err("locked");
    other.execute_batch("ROLLBACK").expect("unlocked");
    hand.leap(-YEAR);
    hand.pass(1);
    store_some(&mut store, 1..2);
    let stored = store.reader().get(id(1)).await.expect("readable").expect("there");
    assert_eq!(stored.stored_at, hand.now());
}

#[tokio::test]
async fn times_ahead_of_the_clock_are_reset_in_their_order_and_the_others_stay() {
    let (_directory, url, mut store) = new_sqlite();
    let hand = Hand::of(&mut store);
    store_some(&mut store, 0..3);
    let honest = store.reader().get(id(2)).await.expect("readable").expect("there").stored_at;
    hand.leap(10 * YEAR);
    store_some(&mut store, 3..2_503);
    hand.leap(-10 * YEAR);
    hand.pass(60);
    store_some(&mut store, 2_503..2_506);
    let spoil = "UPDATE entries SET data = 'other' WHERE seq = 100";
    assert_eq!(connection(&mut store).execute(spoil, []), Ok(1));
    store.look();
    assert!(store.reader().vitals().ahead_seconds() > 0);
    drop(store);
    let mut store = Sqlite::open(file(&url)).expect("opened again");
    assert!(store.reader().vitals().ahead_seconds() > 0, "also at the start");
    store.clock = Clock::by_hand(Arc::clone(&hand.0));
    let reset = store.reset_times().expect("reset");
    assert_eq!((reset.entries, reset.unreadable, reset.now), (2_502, 1, Some(hand.now())));
    let (first, last) = reset.before.expect("some were ahead");
    assert!(first <= last && first > hand.now());
    assert_eq!(store.reset_times().expect("again").entries, 0);
    let entries = super::walk(&mut store, Query { limit: 1_000, ..Query::default() }, super::Budget::DEFAULT);
    assert_eq!(entries.len(), 2_505, "all have their checksum, but for the one that had it not before");
    assert!(entries.iter().all(|entry| entry.stored_at <= hand.now()));
    assert!(entries.is_sorted_by(|newer, older| newer.id > older.id), "in their order");
    assert_eq!(entries.last().map(|entry| entry.stored_at), entries.get(2_504).map(|entry| entry.stored_at));
    assert_eq!(store.reader().get(id(2)).await.expect("readable").expect("there").stored_at, honest);
    hand.pass(1);
    store_some(&mut store, 9_000..9_001);
    let stored = store.reader().get(id(9_000)).await.expect("readable").expect("there");
    assert_eq!(stored.stored_at, hand.now());
    store.look();
    assert_eq!(store.reader().vitals().ahead_seconds(), 0);
}
