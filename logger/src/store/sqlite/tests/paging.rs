//! Pages over many windows of the sequence: what they hold, and where they end.

use std::time::Duration;

use proto::{Filter, Level, Page, Query, StoredEntry, Time, Transport};

use super::*;

/// So small that every walk crosses many windows.
const SMALL: Budget = Budget { time: Duration::from_secs(60), window: 7, bytes: usize::MAX };

/// 100 entries in groups of 3, each group a second after the one before, of three names, all levels and
/// transports. Behind each group there is a gap in the sequence, as earlier versions left one for each duplicate.
fn filled() -> (tempfile::TempDir, Sqlite) {
    let (directory, _, mut store) = new_sqlite();
    let numbers: Vec<u128> = (0..100).collect();
    for group in numbers.chunks(3) {
        let arrivals = group.iter().map(|number| sample(*number)).collect();
        store.last_stored_at = at(group[0]).expect("a time");
        store.commit(&[each(arrivals), each(vec![sample(0)])]).expect("stored");
        leave_gap(&mut store);
    }
    (directory, store)
}

fn sample(number: u128) -> crate::store::Arrival {
    let index = usize::try_from(number).expect("small");
    let data = format!("number {number} {}", if number.is_multiple_of(5) { "100% a_b" } else { "100 aXb" });
    let name = ["alpha", "beta", "gamma"][index % 3];
    arrival_of(number, name, &data, Level::ALL[index % 2], Transport::ALL[index % 4])
}

/// In the future, so that it is this and not the clock that counts.
fn second_us(number: u128) -> i64 {
    4_000_000_000_000_000 + i64::try_from(number).expect("small") * 1_000_000
}

fn at(number: u128) -> Option<Time> {
    Some(Time::from_microsecond(second_us(number)).expect("a time"))
}

fn one_page(store: &mut Sqlite, query: &Query, budget: Budget) -> Page {
    page::page(connection(store), query, budget, &LeftOut::new()).expect("readable")
}

#[test]
fn every_filter_finds_exactly_what_it_says_whatever_the_page_size() {
    let (_directory, mut store) = filled();
    let all = walk(&mut store, Query::default(), SMALL);
    assert_eq!(all.len(), 100);
    assert!(all.is_sorted_by(|newer, older| newer.stored_at >= older.stored_at));
    type Condition = fn(&StoredEntry) -> bool;
    let cases: [(Filter, Condition); 9] = [
        (Filter { name: Some("beta".into()), ..Filter::default() }, |entry| entry.name == "beta"),
        (Filter { name: Some("bet".into()), ..Filter::default() }, |_| false),
        (Filter { level: Some(Level::Warning), ..Filter::default() }, |entry| entry.level == Level::Warning),
        (Filter { transport: Some(Transport::Grpc), ..Filter::default() }, |entry| {
            entry.transport == Transport::Grpc
        }),
        (Filter { since: at(30), ..Filter::default() }, |entry| Some(entry.stored_at) >= at(30)),
        (Filter { until: at(30), ..Filter::default() }, |entry| Some(entry.stored_at) < at(30)),
        (Filter { since: at(31), until: at(61), ..Filter::default() }, |entry| {
            Some(entry.stored_at) >= at(31) && Some(entry.stored_at) < at(61)
        }),
        (Filter { contains: Some("100% a_b".into()), ..Filter::default() }, |entry| {
            entry.data.contains("100% a_b")
        }),
        (
            Filter {
                name: Some("alpha".into()),
                level: Some(Level::Info),
                contains: Some("a_b".into()),
                since: at(10),
                ..Filter::default()
            },
            |entry| {
                entry.name == "alpha"
                    && entry.level == Level::Info
                    && entry.data.contains("a_b")
                    && Some(entry.stored_at) >= at(10)
            },
        ),
    ];
    for (filter, condition) in cases {
        let expected: Vec<StoredEntry> = all.iter().filter(|entry| condition(entry)).cloned().collect();
        for limit in [1, 2, 7, 100] {
            let query = Query { limit, ..filter.clone().into() };
            assert_eq!(walk(&mut store, query.clone(), SMALL), expected, "{query:?}");
        }
    }
}

#[test]
fn a_walk_misses_and_repeats_nothing_while_others_write() {
    let (_directory, mut store) = filled();
    let mut query = Query { limit: 9, ..Query::default() };
    let (mut ids, mut written) = (Vec::new(), 100);
    loop {
        let page = one_page(&mut store, &query, SMALL);
        ids.extend(page.entries.into_iter().map(|entry| entry.id));
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
        store.commit(&[each(vec![sample(written), sample(written + 1)])]).expect("stored");
        written += 2;
    }
    assert_eq!(ids, (0..100).rev().map(id).collect::<Vec<_>>());
}

#[test]
fn a_cursor_stays_true_after_deletions() {
    let (_directory, mut store) = filled();
    let query = Query { limit: 50, ..Query::default() };
    let cursor = one_page(&mut store, &query, SMALL).next;
    let delete = |store: &mut Sqlite, condition: &str| {
        connection(store).execute(&format!("DELETE FROM entries WHERE {condition}"), []).expect("deleted")
    };
    let deleted = delete(&mut store, "seq % 2 = 0");
    assert!(deleted > 10);
    let rest = walk(&mut store, Query { cursor, ..query.clone() }, SMALL);
    assert!(rest.len() > 10 && rest.iter().all(|entry| entry.id < id(50)));
    delete(&mut store, "true");
    assert_eq!(one_page(&mut store, &Query { cursor, ..query.clone() }, SMALL).next, None);
    store.commit(&[each(vec![sample(500)])]).expect("stored");
    let below = one_page(&mut store, &Query { cursor, ..query }, SMALL);
    assert_eq!(below, Page { entries: vec![], next: None }, "a number is never given twice");
}

#[test]
fn a_search_whose_time_is_up_goes_on_where_it_stopped() {
    let (_directory, mut store) = filled();
    let no_time = Budget { time: Duration::ZERO, ..SMALL };
    let rare = Query::from(Filter { name: Some("nowhere".into()), ..Filter::default() });
    let page = one_page(&mut store, &rare, no_time);
    assert!(page.entries.is_empty() && page.next.is_some());
    assert_eq!(walk(&mut store, rare, no_time), []);
    let text = Filter { contains: Some("number 7 ".into()), ..Filter::default() };
    let found = walk(&mut store, text.into(), no_time);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, id(7));
}

#[test]
fn a_page_is_bounded_by_bytes_and_holds_at_least_one_entry() {
    let (_directory, mut store) = filled();
    let page = one_page(&mut store, &Query::default(), Budget { bytes: 60, ..SMALL });
    assert!((2..5).contains(&page.entries.len()), "{}", page.entries.len());
    let page = one_page(&mut store, &Query::default(), Budget { bytes: 0, ..SMALL });
    assert_eq!(page.entries.len(), 1);
    assert_eq!(walk(&mut store, Query::default(), Budget { bytes: 0, ..SMALL }).len(), 100);
}
