//! Files that a crash or a disk has spoiled: the store opens with the first of its commits, or is refused.

use std::{fs, path::Path};

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use proto::{Query, StoredEntry};

use super::*;

/// Entries of the store, each a commit of its own: those in the main file first, then those in its log.
const IN_FILE: u128 = 60;
const IN_LOG: u128 = 60;

const FLIPS: u32 = 500;

fn data(number: u128) -> String {
    format!("{number:08}").repeat(1 + (number as usize * 37) % 200)
}

/// The bytes of the main file and of the log.
fn files() -> (Vec<u8>, Vec<u8>) {
    let (directory, url, mut store) = new_sqlite();
    for number in 0..IN_FILE {
        store_one(&mut store, arrival(number, &data(number))).expect("stored");
    }
    Box::new(store).close();
    let mut store = Sqlite::open(file(&url)).expect("opened again");
    for number in IN_FILE..IN_FILE + IN_LOG {
        store_one(&mut store, arrival(number, &data(number))).expect("stored");
    }
    let read = |name: &str| fs::read(directory.path().join(name)).expect("readable");
    (read("logs.db"), read("logs.db-wal"))
}

/// Opens a store of these bytes: how many of the first commits it has, or its refusal.
///
/// # Panics
/// If it has anything else than the first commits as they were stored.
fn commits(directory: &Path, file: &[u8], log: &[u8], what: &str) -> Result<u128, OpenError> {
    for name in ["logs.db-wal", "logs.db-shm"] {
        let _ = fs::remove_file(directory.join(name));
    }
    fs::write(directory.join("logs.db"), file).expect("writable");
    fs::write(directory.join("logs.db-wal"), log).expect("writable");
    let mut store = Sqlite::open(&directory.join("logs.db"))?;
    let entries = walk(&mut store, Query { limit: 1_000, ..Query::default() }, Budget::DEFAULT);
    let kept = entries.len() as u128;
    for (entry, number) in entries.iter().rev().zip(0..) {
        assert_eq!(entry.id, id(number), "{what}: not the first commits");
        assert_eq!(entry.data, data(number), "{what}: altered");
        assert_eq!(entry.name, "event", "{what}: altered");
    }
    // Closing would take over the log, and take its time.
    drop(store.connection.take());
    Ok(kept)
}

#[test]
fn a_log_that_is_cut_anywhere_leaves_the_first_commits() {
    const LAST_BYTES: usize = 64 * 1024;
    let (file, log) = files();
    let directory = tempfile::tempdir().expect("a directory");
    let mut last = 0;
    for cut in (log.len().saturating_sub(LAST_BYTES)..=log.len()).step_by(512).chain([log.len()]) {
        let what = format!("cut at {cut}");
        let kept = commits(directory.path(), &file, &log[..cut], &what).expect("a cut log is no damage");
        assert!(kept >= last, "{what}: {kept} commits, and {last} with less of the log");
        last = kept;
    }
    assert_eq!(last, IN_FILE + IN_LOG);
}

#[test]
fn a_bit_that_flips_in_the_log_leaves_the_first_commits() {
    let (file, log) = files();
    let directory = tempfile::tempdir().expect("a directory");
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut noticed = 0;
    for _ in 0..FLIPS {
        let at = (random.next_u64() % (log.len() as u64 * 8)) as usize;
        let mut spoilt = log.clone();
        spoilt[at / 8] ^= 1 << (at % 8);
        let what = format!("bit {at} of the log flipped");
        let kept =
            commits(directory.path(), &file, &spoilt, &what).expect("a flipped bit in the log is no damage");
        assert!((IN_FILE..=IN_FILE + IN_LOG).contains(&kept), "{what}: {kept}");
        noticed += u32::from(kept < IN_FILE + IN_LOG);
    }
    assert!(noticed > FLIPS / 2, "{noticed} of {FLIPS} flips cost a commit: the log was read");
}

/// All that a store of this main file has, newest first, or none if it is refused, when it is opened or when it is read.
fn found(directory: &Path, file: &[u8]) -> Option<Vec<StoredEntry>> {
    for name in ["logs.db-wal", "logs.db-shm"] {
        let _ = fs::remove_file(directory.join(name));
    }
    fs::write(directory.join("logs.db"), file).expect("writable");
    let mut store = Sqlite::open(&directory.join("logs.db")).ok()?;
    let mut query = Query { limit: 1_000, ..Query::default() };
    let mut entries = Vec::new();
    loop {
        let page = page::page(connection(&mut store), &query, Budget::DEFAULT, &LeftOut::new()).ok()?;
        entries.extend(page.entries);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Some(entries),
        }
    }
}

#[test]
fn a_bit_that_flips_in_the_main_file_alters_no_entry_that_is_read() {
    let (file, _) = files();
    let directory = tempfile::tempdir().expect("a directory");
    let whole = found(directory.path(), &file).expect("readable");
    assert_eq!(whole.len() as u128, IN_FILE);
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let (mut refused, mut left_out) = (0, 0);
    for _ in 0..FLIPS {
        let at = (random.next_u64() % (file.len() as u64 * 8)) as usize;
        let mut spoilt = file.clone();
        spoilt[at / 8] ^= 1 << (at % 8);
        let Some(entries) = found(directory.path(), &spoilt) else {
            refused += 1;
            continue;
        };
        // How often it came is not covered: that number is written anew each time.
        let entries: Vec<_> = entries.into_iter().map(|entry| StoredEntry { attempts: 1, ..entry }).collect();
        // An altered one is left out, and all others are there.
        let there: Vec<_> = whole.iter().filter(|own| entries.contains(own)).cloned().collect();
        assert_eq!(entries, there, "bit {at} flipped");
        assert!(entries.len() + 1 >= whole.len(), "bit {at} flipped: {} of {}", entries.len(), whole.len());
        left_out += u32::from(entries.len() < whole.len());
    }
    assert!(left_out > FLIPS / 4, "{left_out} of {FLIPS}: most of the file is text of entries");
    assert!(refused > 0, "the rest is what SQLite looks at");
}
