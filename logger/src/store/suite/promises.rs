//! What becomes of an entry, and how it is found: promises that do not ask whether the store outlives its logger.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::FutureExt;
use proto::{
    Code, Cursor, EntryDraft, Filter, Level, Outcome, Page, Query, StoredEntry, TailQuery, Time, Transport,
};

use super::{Place, Trial, model};
use crate::store::{Arrival, Retention, Store, fixtures::*};

pub(super) fn an_entry_is_read_back_as_it_was_written<P: Place>(mut it: Trial<P>) {
    let arrival = arrival_of(1, "имя", "line\n'quoted' \u{1f600}", Level::Error, Transport::Rabbitmq);
    assert_eq!(it.store_one(arrival.clone()), Ok(Outcome::Stored));
    let stored = it.get(id(1)).expect("stored");
    assert_eq!((stored.name.as_str(), stored.data.as_str()), (arrival.entry.name(), arrival.entry.data()));
    assert_eq!((stored.level, stored.transport), (Level::Error, Transport::Rabbitmq));
    assert_eq!((stored.created_at, stored.attempts), (arrival.entry.created_at(), 1));
    assert!(stored.stored_at >= stored.created_at);
    assert_eq!(it.get(id(2)), None);
}

pub(super) fn the_same_content_again_is_a_duplicate_and_counted<P: Place>(mut it: Trial<P>) {
    let first = arrival(1, "text");
    assert_eq!(it.store_one(first.clone()), Ok(Outcome::Stored));
    let later = Arrival {
        entry: EntryDraft { created_at: Some("2001-01-01T00:00:00Z".into()), ..(&first.entry).into() }
            .check(jiff::Timestamp::now())
            .expect("valid"),
        came_by: Transport::Grpc,
    };
    assert_eq!(it.store_one(later), Ok(Outcome::Duplicate));
    let stored = it.get(id(1)).expect("stored");
    assert_eq!((stored.attempts, stored.transport), (2, Transport::Http));
    assert_eq!(stored.created_at, first.entry.created_at());
    assert_eq!(it.all().len(), 1);
}

pub(super) fn other_content_under_the_same_id_is_a_conflict_that_changes_nothing<P: Place>(mut it: Trial<P>) {
    it.store_one(arrival(1, "text")).expect("stored");
    let before = it.get(id(1));
    for other in [
        arrival(1, "Text"),
        arrival_of(1, "other", "text", Level::Info, Transport::Http),
        arrival_of(1, "event", "text", Level::Error, Transport::Http),
    ] {
        let failure = it.store_one(other).expect_err("a conflict");
        assert_eq!(failure.code, Code::Conflict);
        assert!(failure.message().contains("new id"), "{failure}");
    }
    assert_eq!(it.get(id(1)), before);
}

pub(super) fn a_batch_of_all_or_none_is_taken_back_alone<P: Place>(mut it: Trial<P>) {
    it.store_one(arrival(1, "text")).expect("stored");
    let answers = it.commit(&[
        each(vec![arrival(2, "before")]),
        all_or_none(vec![arrival(1, "text"), arrival(3, "new"), arrival(1, "other"), arrival(4, "new")]),
        all_or_none(vec![arrival(3, "after"), arrival(5, "after")]),
    ]);
    let failure = answers[1].as_ref().expect_err("one of them is a conflict");
    assert_eq!((failure.code, failure.position), (Code::Conflict, Some(2)));
    assert_eq!(answers[0], Ok(vec![Ok(Outcome::Stored)]));
    assert_eq!(answers[2], Ok(vec![Ok(Outcome::Stored), Ok(Outcome::Stored)]));
    assert_eq!(it.get(id(1)).expect("stored").attempts, 1, "the duplicate is taken back too");
    assert_eq!(it.get(id(3)).expect("stored").data, "after");
    assert_eq!(it.get(id(4)), None);
}

pub(super) fn each_entry_of_a_batch_has_its_own_result<P: Place>(mut it: Trial<P>) {
    it.store_one(arrival(1, "text")).expect("stored");
    let batch = each(vec![arrival(2, "a"), arrival(1, "other"), arrival(1, "text"), arrival(3, "b")]);
    let results = it.commit(&[batch]).remove(0).expect("by entry");
    assert_eq!(results[0], Ok(Outcome::Stored));
    assert_eq!(results[1].as_ref().map_err(|failure| failure.code), Err(Code::Conflict));
    assert_eq!(results[2..], [Ok(Outcome::Duplicate), Ok(Outcome::Stored)]);
    assert_eq!(it.all().len(), 3);
}

pub(super) fn an_id_twice_in_a_batch_is_a_duplicate_or_a_conflict<P: Place>(mut it: Trial<P>) {
    let same = all_or_none(vec![arrival(1, "text"), arrival(1, "text")]);
    let other = all_or_none(vec![arrival(2, "text"), arrival(2, "other")]);
    let answers = it.commit(&[same, other]);
    assert_eq!(answers[0], Ok(vec![Ok(Outcome::Stored), Ok(Outcome::Duplicate)]));
    let failure = answers[1].as_ref().expect_err("a conflict");
    assert_eq!((failure.code, failure.position), (Code::Conflict, Some(1)));
    assert_eq!(it.get(id(2)), None);
}

pub(super) fn a_batch_without_entries_is_passed_over<P: Place>(mut it: Trial<P>) {
    let answers = it.commit(&[each(Vec::new()), each(vec![arrival(1, "text")]), all_or_none(Vec::new())]);
    assert_eq!(answers, [Ok(Vec::new()), Ok(vec![Ok(Outcome::Stored)]), Ok(Vec::new())]);
    assert_eq!(it.all().len(), 1);
}

pub(super) fn the_store_does_what_its_model_does<P: Place>(it: Trial<P>) {
    drop(it);
    model::compare::<P>(model::FEW_CASES, model::commits_and_deletions(), |_, _| {
        unreachable!("nothing ends it")
    });
}

pub(super) fn an_empty_store_has_an_empty_page_and_no_next<P: Place>(it: Trial<P>) {
    let page = it.page(&Filter { since: Some(Time::UNIX_EPOCH), ..Filter::default() }.into());
    assert_eq!(page, Page { entries: vec![], next: None });
}

/// 60 entries in groups of 3, of three names, all levels and transports, some of which come twice.
fn filled<P: Place>(it: &mut Trial<P>) {
    let numbers: Vec<u128> = (0..60).collect();
    for group in numbers.chunks(3) {
        let arrivals = group.iter().map(|number| sample(*number)).collect();
        it.commit(&[each(arrivals), each(vec![sample(0)])]);
    }
}

fn sample(number: u128) -> Arrival {
    let index = usize::try_from(number).expect("small");
    let data = format!("number {number} {}", if number.is_multiple_of(5) { "100% a_b" } else { "100 aXb" });
    let name = ["alpha", "beta", "gamma"][index % 3];
    arrival_of(number, name, &data, Level::ALL[index % 2], Transport::ALL[index % 4])
}

pub(super) fn the_newest_come_first_and_the_last_page_has_no_next<P: Place>(mut it: Trial<P>) {
    filled(&mut it);
    let mut query = Query { limit: 30, ..Query::default() };
    let first = it.page(&query);
    assert_eq!((first.entries.len(), first.entries[0].id), (30, id(59)));
    query.cursor = first.next;
    let second = it.page(&query);
    assert_eq!((second.entries.len(), second.entries[29].id, second.next), (30, id(0), None));
}

pub(super) fn every_filter_finds_exactly_what_it_says_whatever_the_page_size<P: Place>(mut it: Trial<P>) {
    filled(&mut it);
    let all = it.all();
    assert_eq!(all.len(), 60);
    assert!(all.is_sorted_by(|newer, older| newer.stored_at >= older.stored_at));
    let (early, late) = (all[40].stored_at, all[15].stored_at);
    assert!(early < late, "each group has a time of its own");
    type Condition = Box<dyn Fn(&StoredEntry) -> bool>;
    let cases: [(Filter, Condition); 9] = [
        (Filter { name: Some("beta".into()), ..Filter::default() }, Box::new(|entry| entry.name == "beta")),
        (Filter { name: Some("bet".into()), ..Filter::default() }, Box::new(|_| false)),
        (
            Filter { level: Some(Level::Warning), ..Filter::default() },
            Box::new(|entry| entry.level == Level::Warning),
        ),
        (
            Filter { transport: Some(Transport::Grpc), ..Filter::default() },
            Box::new(|entry| entry.transport == Transport::Grpc),
        ),
        (Filter { since: Some(early), ..Filter::default() }, Box::new(move |entry| entry.stored_at >= early)),
        (Filter { until: Some(early), ..Filter::default() }, Box::new(move |entry| entry.stored_at < early)),
        (
            Filter { since: Some(early), until: Some(late), ..Filter::default() },
            Box::new(move |entry| entry.stored_at >= early && entry.stored_at < late),
        ),
        (
            Filter { contains: Some("100% a_b".into()), ..Filter::default() },
            Box::new(|entry| entry.data.contains("100% a_b")),
        ),
        (
            Filter {
                name: Some("alpha".into()),
                level: Some(Level::Info),
                contains: Some("a_b".into()),
                since: Some(early),
                ..Filter::default()
            },
            Box::new(move |entry| {
                entry.name == "alpha"
                    && entry.level == Level::Info
                    && entry.data.contains("a_b")
                    && entry.stored_at >= early
            }),
        ),
    ];
    for (filter, condition) in cases {
        let expected: Vec<StoredEntry> = all.iter().filter(|entry| condition(entry)).cloned().collect();
        for limit in [1, 7, 100] {
            let query = Query { limit, ..filter.clone().into() };
            assert_eq!(it.walk(query.clone()), expected, "{query:?}");
        }
    }
}

pub(super) fn since_and_until_outside_of_what_is_stored_are_all_or_nothing<P: Place>(mut it: Trial<P>) {
    filled(&mut it);
    let all = it.all();
    let (early, late) = (Some(all[40].stored_at), Some(all[15].stored_at));
    for (filter, found) in [
        (Filter { since: Some(Time::MIN), until: Some(Time::MAX), ..Filter::default() }, 60),
        (Filter { since: Some(Time::MAX), ..Filter::default() }, 0),
        (Filter { until: Some(Time::MIN), ..Filter::default() }, 0),
        (Filter { since: late, until: early, ..Filter::default() }, 0),
    ] {
        assert_eq!(it.walk(filter.clone().into()).len(), found, "{filter:?}");
    }
}

pub(super) fn a_walk_misses_and_repeats_nothing_while_others_write<P: Place>(mut it: Trial<P>) {
    filled(&mut it);
    let mut query = Query { limit: 9, ..Query::default() };
    let (mut ids, mut written) = (Vec::new(), 60);
    loop {
        let page = it.page(&query);
        ids.extend(page.entries.into_iter().map(|entry| entry.id));
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
        it.commit(&[each(vec![sample(written), sample(written + 1)])]);
        written += 2;
    }
    assert_eq!(ids, (0..60).rev().map(id).collect::<Vec<_>>());
}

pub(super) fn a_cursor_beyond_the_newest_entry_is_the_newest_page<P: Place>(mut it: Trial<P>) {
    filled(&mut it);
    let query = Query { cursor: Some(Cursor::after(i64::MAX)), limit: 1, ..Query::default() };
    assert_eq!(it.page(&query).entries[0].id, id(59));
}

pub(super) fn many_readers_at_once_are_all_answered<P: Place>(mut it: Trial<P>) {
    filled(&mut it);
    let newest = it.get(id(59));
    it.runtime.block_on(async {
        let reads = (0..50).map(|_| {
            let reader = it.reader.clone();
            tokio::spawn(async move { reader.get(id(59)).await })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.expect("no panic"), Ok(newest.clone()));
        }
    });
}

fn tail(filter: Filter, max_lag: Option<u64>) -> TailQuery {
    TailQuery { filter, after: None, max_lag }
}

pub(super) fn a_tail_follows_in_the_order_of_storing_and_by_its_filters<P: Place>(mut it: Trial<P>) {
    filled(&mut it);
    for (filter, step) in
        [(Filter::default(), 1), (Filter { name: Some("gamma".into()), ..Filter::default() }, 3)]
    {
        let followed = it.follow(tail(filter, None), 0);
        let expected: Vec<_> = (0..60).skip(step - 1).step_by(step).map(id).collect();
        let found: Vec<_> = followed.entries.iter().map(|(entry, _)| entry.id).collect();
        assert_eq!(found, expected);
        let places: BTreeSet<_> = followed.entries.iter().map(|(_, cursor)| *cursor).collect();
        assert!(followed.entries.iter().map(|(_, cursor)| cursor).eq(&places), "each further than the last");
        assert_eq!((followed.missed, followed.reached), (0, Cursor::after(60)), "the numbers have no gaps");
        assert!(!followed.more && !followed.ended);
    }
    let rest = it.follow(tail(Filter::default(), None), 57);
    assert_eq!(rest.entries.iter().map(|(entry, _)| entry.id).collect::<Vec<_>>(), [57, 58, 59].map(id));
}

pub(super) fn a_tail_that_ends_is_told_all_before_its_end<P: Place>(mut it: Trial<P>) {
    filled(&mut it);
    let until = it.all()[29].stored_at;
    let followed = it.follow(tail(Filter { until: Some(until), ..Filter::default() }, None), 0);
    assert!(followed.ended && followed.entries.iter().all(|(entry, _)| entry.stored_at < until));
    assert_eq!(followed.entries.len(), 30);
}

/// Sends what is stored again: as a duplicate, as a conflict, and as part of a batch that is refused.
pub(super) fn send_again<P: Place>(it: &mut Trial<P>, number: u128) {
    assert_eq!(it.store_one(arrival(number, "text")), Ok(Outcome::Duplicate));
    let conflict = it.store_one(arrival(number, "other")).expect_err("other content");
    assert_eq!(conflict.code, Code::Conflict);
    let refused = all_or_none(vec![arrival(1_000, "new"), arrival(number, "text"), arrival(number, "other")]);
    assert_eq!(it.commit(&[refused])[0].as_ref().expect_err("a conflict").code, Code::Conflict);
}

/// After three entries, the second of which came in a group with what was there already.
pub(super) fn nothing_is_missed_after_the_first_of_three<P: Place>(it: &mut Trial<P>) {
    for (max_lag, missed, entries) in [(None, 0, 2), (Some(2), 0, 2), (Some(1), 1, 1)] {
        let followed = it.follow(tail(Filter::default(), max_lag), 1);
        assert_eq!((followed.missed, followed.entries.len()), (missed, entries), "{max_lag:?}");
        assert_eq!((followed.reached, followed.more), (Cursor::after(3), false), "{max_lag:?}");
    }
}

pub(super) fn what_came_twice_is_not_missed<P: Place>(mut it: Trial<P>) {
    it.store_one(arrival(1, "text")).expect("stored");
    send_again(&mut it, 1);
    // In one group with what is new.
    it.commit(&[each(vec![arrival(1, "text"), arrival(2, "text"), arrival(2, "text"), arrival(3, "text")])]);
    send_again(&mut it, 3);
    nothing_is_missed_after_the_first_of_three(&mut it);
}

pub(super) fn what_is_deleted_is_missed_and_its_id_is_forgotten<P: Place>(mut it: Trial<P>) {
    for number in 1..=3 {
        it.store_one(arrival(number, "text")).expect("stored");
        send_again(&mut it, number);
    }
    it.place.forget(&mut it.store, Time::MAX);
    let followed = it.follow(tail(Filter::default(), None), 1);
    assert_eq!((followed.missed, followed.entries.len(), followed.reached), (2, 0, Cursor::after(3)));
    // A deleted entry that comes again is new, and its number is.
    assert_eq!(it.store_one(arrival(3, "other")), Ok(Outcome::Stored));
    let followed = it.follow(tail(Filter::default(), Some(1)), 3);
    assert_eq!((followed.missed, followed.entries.len(), followed.reached), (0, 1, Cursor::after(4)));
    assert_eq!(it.all().len(), 1);
}

pub(super) fn a_cursor_of_another_store_is_refused<P: Place>(mut it: Trial<P>) {
    it.store_one(arrival(1, "text")).expect("stored");
    let begin = |after| {
        let query = TailQuery { filter: Filter::default(), after, max_lag: None };
        it.runtime.block_on(it.reader.begin(&query)).map_err(|failure| failure.code)
    };
    assert_eq!(begin(None), Ok(Cursor::after(1)), "from now on");
    assert_eq!(begin(Some(Cursor::after(0))), Ok(Cursor::after(0)));
    assert_eq!(begin(Some(Cursor::after(2))), Err(Code::BadQuery));
}

pub(super) fn a_reader_is_told_of_each_commit_once<P: Place>(mut it: Trial<P>) {
    let query = Arc::new(tail(Filter::default(), None));
    for number in 0..3 {
        it.runtime.block_on(it.reader.follow(&query, Cursor::after(0))).expect("readable");
        let _context = it.runtime.enter();
        assert!(it.reader.changed().now_or_never().is_none(), "nothing was stored since");
        commit_one(&mut it.store, number);
        let told = it.runtime.block_on(async {
            tokio::time::timeout(std::time::Duration::from_secs(10), it.reader.changed()).await
        });
        assert_eq!(told.expect("in time"), Ok(()));
    }
}

fn commit_one(store: &mut dyn Store, number: u128) {
    store_one(store, arrival(number, "text")).expect("stored");
}

pub(super) fn a_reader_is_told_that_the_store_is_closed<P: Place>(it: Trial<P>) {
    let Trial { runtime, store, mut reader, place: _place } = it;
    Box::new(store).close();
    let told = runtime
        .block_on(async { tokio::time::timeout(std::time::Duration::from_secs(10), reader.changed()).await });
    assert_eq!(told.expect("in time").map_err(|failure| failure.code), Err(Code::Draining));
}

pub(super) fn stored_at_never_goes_backwards<P: Place>(mut it: Trial<P>) {
    for number in 0..100 {
        it.store_one(arrival(number, "text")).expect("stored");
    }
    assert!(it.all().is_sorted_by(|newer, older| newer.stored_at >= older.stored_at));
}

pub(super) fn beyond_its_size_the_oldest_are_deleted<P: Place>(mut it: Trial<P>) {
    const ENTRIES: u128 = 60;
    let data = "x".repeat(100_000);
    let retention = Retention { max_age: None, max_bytes: Some(2_000_000) };
    for number in 0..ENTRIES {
        it.store_one(arrival(number, &data)).expect("stored");
    }
    let mut steps = 0;
    while it.store.tend(&retention) {
        steps += 1;
        assert!(steps < 1_000, "it comes to an end");
    }
    let kept = it.all();
    assert!((15..=20).contains(&kept.len()), "{} entries of 100,000 bytes in 2 MB", kept.len());
    let newest = (0..ENTRIES).rev().map(id).take(kept.len());
    assert!(kept.iter().map(|entry| entry.id).eq(newest));
}

pub(super) fn a_store_that_is_well_says_so<P: Place>(mut it: Trial<P>) {
    assert_eq!(it.store.ping(), Ok(()));
    it.store_one(arrival(1, "text")).expect("stored");
    it.store.look();
    assert_eq!((it.store.ping(), it.store.standing()), (Ok(()), Ok(())));
    assert_eq!(it.all().len(), 1, "a question stores nothing");
    assert!(!it.reader.vitals().is_lost());
}
