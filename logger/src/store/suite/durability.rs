//! What a restart and a crash leave of what was answered.

use proto::{Filter, Outcome, TailQuery};

use super::{Durable, Trial, model, promises};
use crate::store::fixtures::*;

pub(super) fn a_store_that_is_opened_again_has_everything<P: Durable>(mut it: Trial<P>) {
    for number in 0..10 {
        it.store_one(arrival(number, "text")).expect("stored");
    }
    for _ in 0..2 {
        it = it.reopen();
        assert_eq!(it.all().len(), 10);
    }
    assert_eq!(it.store_one(arrival(3, "text")), Ok(Outcome::Duplicate));
}

pub(super) fn what_was_answered_is_there_after_a_crash<P: Durable>(mut it: Trial<P>) {
    for number in 0..10 {
        it.store_one(arrival(number, "text")).expect("stored");
        let before = it.all();
        it = it.crash();
        assert_eq!(it.all(), before);
    }
    assert_eq!(it.store_one(arrival(3, "text")), Ok(Outcome::Duplicate));
}

pub(super) fn the_store_does_what_its_model_does_over_restarts_and_crashes<P: Durable>(it: Trial<P>) {
    drop(it);
    model::compare::<P>(P::CASES, model::all_steps(), |it, end| match end {
        model::End::Reopen => it.reopen(),
        model::End::Crash => it.crash(),
    });
}

pub(super) fn what_came_twice_is_not_missed_over_restarts<P: Durable>(mut it: Trial<P>) {
    it.store_one(arrival(1, "text")).expect("stored");
    for _ in 0..2 {
        promises::send_again(&mut it, 1);
        it = it.reopen();
        promises::send_again(&mut it, 1);
        it = it.crash();
    }
    it.commit(&[each(vec![arrival(1, "text"), arrival(2, "text"), arrival(3, "text")])]);
    promises::send_again(&mut it, 3);
    promises::nothing_is_missed_after_the_first_of_three(&mut it);
    it = it.reopen();
    let all = TailQuery { filter: Filter::default(), after: None, max_lag: None };
    assert_eq!(it.follow(all, 0).entries.len(), 3, "a cursor of before leads to what comes after it");
}

pub(super) fn stored_at_never_goes_backwards_over_restarts<P: Durable>(mut it: Trial<P>) {
    for number in 0..10 {
        it.store_one(arrival(number, "text")).expect("stored");
        it = if number % 2 == 0 { it.reopen() } else { it.crash() };
    }
    assert!(it.all().is_sorted_by(|newer, older| newer.stored_at >= older.stored_at));
}
