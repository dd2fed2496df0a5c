//! Several loggers of one database.

use std::sync::Arc;

use proto::{Cursor, Filter, Outcome, Query, TailQuery};
use uuid::Uuid;

use super::*;
use crate::store::{Reader, fixtures::*};

/// Follows from the start until so many entries are there: their ids, in the order in which they came.
async fn tail(mut reader: Reader, entries: usize) -> Vec<Uuid> {
    let query = Arc::new(TailQuery { filter: Filter::default(), after: None, max_lag: None });
    let (mut seen, mut cursor) = (Vec::new(), Cursor::after(0));
    while seen.len() < entries {
        let followed = reader.follow(&query, cursor).await.expect("readable");
        assert_eq!(followed.missed, 0);
        seen.extend(followed.entries.into_iter().map(|(entry, _)| entry.id));
        cursor = followed.reached;
        if !followed.more && seen.len() < entries {
            let told = tokio::time::timeout(std::time::Duration::from_secs(20), reader.changed()).await;
            told.expect("in time").expect("open");
        }
    }
    seen
}

#[test]
fn tails_of_two_loggers_see_what_both_commit_once_and_in_one_order() {
    const GROUPS: u128 = 60;
    const IN_GROUP: u128 = 5;
    let place = Place::made("");
    let mut stores = [place.open(), place.open()];
    let readers: Vec<Reader> = stores.iter().map(Store::reader).collect();
    let all = (2 * GROUPS * IN_GROUP) as usize;
    let tails = std::thread::spawn(move || {
        runtime().block_on(async {
            let tails = readers.into_iter().map(|reader| tokio::spawn(tail(reader, all)));
            let mut seen = Vec::new();
            for tail in tails.collect::<Vec<_>>() {
                seen.push(tail.await.expect("no panic"));
            }
            seen
        })
    });
    std::thread::scope(|scope| {
        for (logger, store) in (0..).zip(&mut stores) {
            scope.spawn(move || {
                for group in 0..GROUPS {
                    let first = (logger * GROUPS + group) * IN_GROUP;
                    let arrivals = (first..first + IN_GROUP).map(|number| arrival(number, "text"));
                    // One that both write, so that the two meet at an id too.
                    let shared = arrival(1_000_000 + group, "text");
                    let answers =
                        store.commit(&[each(arrivals.collect()), each(vec![shared])]).expect("committed");
                    assert!(answers[0].iter().flatten().all(|result| *result == Ok(Outcome::Stored)));
                }
            });
        }
    });
    let page = runtime().block_on(stores[0].reader().page(Query { limit: 1_000, ..Query::default() }));
    let mut stored: Vec<_> = page.expect("readable").entries.into_iter().map(|entry| entry.id).collect();
    stored.reverse();
    assert_eq!(stored.len(), all + GROUPS as usize, "what both sent is stored once");
    for seen in tails.join().expect("no panic") {
        assert_eq!(seen, stored[..seen.len()], "each sees the order of storing");
    }
}

#[test]
fn one_logger_at_a_time_deletes() {
    let place = Place::made("");
    let mut stores = [place.open(), place.open()];
    for number in 0..10 {
        store_one(&mut stores[0], arrival(number, "text")).expect("stored");
    }
    let [first, second] = &mut stores;
    let session = first.take_session().expect("connected");
    let hold = format!("BEGIN; SELECT pg_try_advisory_xact_lock({})", prune::LOCK);
    first.run(session.client.batch_execute(&hold)).expect("held");
    forget(second, Time::MAX);
    assert_eq!(entries(second), 10, "the other one deletes");
    first.run(session.client.batch_execute("ROLLBACK")).expect("given back");
    forget(second, Time::MAX);
    assert_eq!(entries(second), 0);
}

fn entries(store: &Postgres) -> usize {
    let page = runtime().block_on(store.reader().page(Query { limit: 1_000, ..Query::default() }));
    page.expect("readable").entries.len()
}
