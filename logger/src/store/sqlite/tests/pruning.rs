//! Retention.

use std::time::Duration;

use proto::{Outcome, Time};

use super::{clock::steady, *};
use crate::store::Retention;

fn tend_until_done(store: &mut Sqlite, retention: &Retention) -> usize {
    let mut steps = 1;
    while store.tend(retention) {
        steps += 1;
        assert!(steps < 1_000, "it comes to an end");
    }
    steps
}

fn fill(store: &mut Sqlite, numbers: std::ops::Range<u128>, data: &str) {
    let arrivals = numbers.map(|number| arrival(number, data)).collect();
    store.commit(&[each(arrivals)]).expect("stored");
}

fn pages(store: &mut Sqlite, pragma: &str) -> u64 {
    connection(store).pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).expect("a number") as u64
}

#[test]
fn without_a_limit_everything_is_kept() {
    let (_directory, _, mut store) = new_sqlite();
    fill(&mut store, 0..100, "text");
    assert!(!store.tend(&Retention::default()));
    assert_eq!(count(&mut store), 100);
}

#[test]
fn what_is_too_old_is_deleted_in_small_steps_and_the_rest_is_kept() {
    let (_directory, _, mut store) = new_sqlite();
    let day = Duration::from_secs(86_400);
    fill(&mut store, 0..2_500, "text");
    connection(&mut store)
        .execute("UPDATE entries SET stored_at = stored_at - 2 * 86400000000, checksum = NULL", [])
        .expect("two days ago");
    fill(&mut store, 2_500..2_600, "text");
    // Long enough for its clock to be believed.
    steady(&mut store);
    let keep_a_day = Retention { max_age: Some(day), max_bytes: None };
    assert!(store.tend(&keep_a_day), "one step is not enough");
    assert_eq!(count(&mut store), 1_600);
    tend_until_done(&mut store, &keep_a_day);
    assert_eq!(count(&mut store), 100);
    assert_eq!(get(&mut store, id(0)), None);
    assert_eq!(store_one(&mut store, arrival(0, "other")), Ok(Outcome::Stored), "its id is forgotten");
}

#[test]
fn an_age_beyond_all_time_deletes_nothing() {
    let (_directory, _, mut store) = new_sqlite();
    fill(&mut store, 0..10, "text");
    assert!(!store.tend(&Retention { max_age: Some(Duration::MAX), max_bytes: None }));
    assert_eq!(count(&mut store), 10);
}

#[test]
fn beyond_its_size_the_oldest_are_deleted_and_the_file_shrinks() {
    let (_directory, url, mut store) = new_sqlite();
    let path = file(&url);
    fill(&mut store, 0..4_000, &"x".repeat(1_000));
    let max_bytes = 1_000_000;
    tend_until_done(&mut store, &Retention { max_age: None, max_bytes: Some(max_bytes) });
    let page_bytes = pages(&mut store, "page_size");
    let used = (pages(&mut store, "page_count") - pages(&mut store, "freelist_count")) * page_bytes;
    assert!((max_bytes * 8 / 10..=max_bytes + 64 * 1024).contains(&used), "{used} bytes");
    let kept = count(&mut store);
    assert!((600..1_000).contains(&kept), "{kept} entries");
    assert!(get(&mut store, id(3_999)).is_some() && get(&mut store, id(0)).is_none());
    Box::new(store).close();
    let file_bytes = std::fs::metadata(path).expect("a file").len();
    assert!(file_bytes <= max_bytes * 12 / 10, "{file_bytes} bytes");
}

#[test]
fn large_entries_are_not_deleted_beyond_the_need() {
    let (_directory, _, mut store) = new_sqlite();
    fill(&mut store, 0..40, &"x".repeat(256 * 1024));
    tend_until_done(&mut store, &Retention { max_age: None, max_bytes: Some(8 * 1024 * 1024) });
    let kept = count(&mut store);
    assert!((29..=32).contains(&kept), "{kept} entries of 256 KiB in 8 MiB");
}

#[test]
fn a_size_that_nothing_fits_into_empties_the_store_and_ends() {
    let (_directory, _, mut store) = new_sqlite();
    fill(&mut store, 0..10, "text");
    tend_until_done(&mut store, &Retention { max_age: None, max_bytes: Some(1) });
    assert_eq!(count(&mut store), 0);
    store.last_stored_at = Time::now();
    fill(&mut store, 0..10, "text");
    assert_eq!(count(&mut store), 10);
}

#[test]
fn what_exceeds_the_bound_makes_room_in_its_own_commit() {
    let (_directory, url, mut store) = new_sqlite();
    let max_bytes = 1_000_000;
    store.tend(&Retention { max_age: None, max_bytes: Some(max_bytes) });
    let data = "x".repeat(50_000);
    for number in 0..100 {
        fill(&mut store, number * 4..number * 4 + 4, &data);
        let page_bytes = pages(&mut store, "page_size");
        let used = (pages(&mut store, "page_count") - pages(&mut store, "freelist_count")) * page_bytes;
        assert!(used <= max_bytes + 32 * 1024, "{used} bytes after {number}, with nobody tending it");
    }
    let kept = count(&mut store);
    assert!((15..=19).contains(&kept), "{kept} entries of 50,000 bytes in 1 MB");
    Box::new(store).close();
    assert!(std::fs::metadata(file(&url)).expect("a file").len() <= max_bytes * 12 / 10);
}

#[test]
fn a_duplicate_is_found_though_room_is_made_for_it() {
    let (_directory, _, mut store) = new_sqlite();
    store.tend(&Retention { max_age: None, max_bytes: Some(1_000_000) });
    let data = "x".repeat(50_000);
    fill(&mut store, 0..15, &data);
    for _ in 0..20 {
        assert_eq!(store_one(&mut store, arrival(14, &data)), Ok(Outcome::Duplicate));
    }
}
