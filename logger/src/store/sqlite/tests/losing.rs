//! Files that are deleted, moved, replaced or linked while they are in use.

use std::{fs, path::PathBuf};

use proto::{Certainty, Code, Outcome};

use super::*;

/// A store of one entry, in a directory of its own.
fn begun() -> (tempfile::TempDir, PathBuf, Sqlite) {
    let directory = tempfile::tempdir().expect("a directory");
    let own = directory.path().join("own");
    fs::create_dir(&own).expect("made");
    let path = own.join("logs.db");
    let mut store = open(&path).expect("a new store");
    store_one(&mut store, arrival(1, "text")).expect("stored");
    (directory, path, store)
}

fn open(path: &std::path::Path) -> Result<Sqlite, OpenError> {
    Sqlite::open(path)
}

fn beside(path: &std::path::Path, suffix: &str) -> PathBuf {
    super::super::file::with_suffix(path, suffix)
}

/// What the next start finds if the logger is killed now.
fn after_a_kill(path: &std::path::Path) -> (tempfile::TempDir, Sqlite) {
    let copy = tempfile::tempdir().expect("a directory");
    for name in ["logs.db", "logs.db-wal"] {
        fs::copy(path.with_file_name(name), copy.path().join(name)).expect("copied");
    }
    let store = open(&copy.path().join("logs.db")).expect("opened");
    (copy, store)
}

/// The first answer after it, and the second; a ping is told it, and so is a look.
fn refused(store: &mut Sqlite) -> (Code, Code) {
    let mut refusal = |number| store_one(store, arrival(number, "text")).expect_err("it is lost").code;
    let refusals = (refusal(10), refusal(11));
    assert_eq!(store.ping().expect_err("it is lost").code, Code::Unavailable);
    assert_eq!(store.standing().expect_err("it is lost").certainty(), Certainty::NotStored);
    assert!(store.reader().vitals().is_lost());
    refusals
}

#[tokio::test]
async fn a_file_that_was_deleted_takes_nothing_more_and_what_it_held_can_be_read() {
    let (_directory, path, mut store) = begun();
    let reader = store.reader();
    // Nobody has read yet.
    fs::remove_dir_all(path.parent().expect("its directory")).expect("deleted");
    assert_eq!(refused(&mut store), (Code::OutcomeUnknown, Code::Unavailable));
    assert!(reader.get(id(1)).await.expect("a connection is open from the start").is_some());
    drop(store);
}

#[test]
fn an_idle_store_notices_too() {
    let (_directory, path, mut store) = begun();
    fs::remove_file(path).expect("deleted");
    store.look();
    assert_eq!(store.standing().expect_err("it is lost").code, Code::Unavailable);
}

#[test]
fn a_file_that_was_moved_leaves_it_open_and_goes_on_when_it_is_back() {
    let (directory, path, mut store) = begun();
    let elsewhere = directory.path().join("elsewhere.db");
    fs::rename(&path, &elsewhere).expect("moved");
    assert_eq!(refused(&mut store), (Code::OutcomeUnknown, Code::Unavailable));
    fs::rename(&elsewhere, &path).expect("moved back");
    assert_eq!(store_one(&mut store, arrival(12, "text")), Ok(Outcome::Stored));
    assert_eq!(store.standing(), Ok(()));
    assert!(!store.reader().vitals().is_lost());
    Box::new(store).close();
    let mut store = open(&path).expect("opened again");
    assert_eq!(count(&mut store), 3, "the one of which nothing was certain is there");
}

#[test]
fn a_file_that_another_was_put_over_takes_nothing_more() {
    let (directory, path, mut store) = begun();
    let other = directory.path().join("other.db");
    drop(open(&other).expect("another store"));
    let before = fs::read(&other).expect("readable");
    fs::rename(&other, &path).expect("put over it");
    assert_eq!(refused(&mut store), (Code::OutcomeUnknown, Code::Unavailable));
    drop(store);
    assert_eq!(fs::read(&path).expect("readable"), before, "the other one is not touched");
}

#[test]
fn what_a_kill_leaves_in_the_log_for_a_copy_of_the_file_was_not_answered_as_not_stored() {
    for deleted_first in [false, true] {
        let (directory, path, store) = begun();
        Box::new(store).close();
        let copy = directory.path().join("copy.db");
        fs::copy(&path, &copy).expect("copied");
        let mut store = open(&path).expect("opened again");
        let refused = if deleted_first {
            fs::remove_file(&path).expect("deleted");
            let refused = refused(&mut store);
            fs::rename(&copy, &path).expect("restored");
            assert_eq!(store_one(&mut store, arrival(12, "text")).expect_err("lost").code, Code::Unavailable);
            refused
        } else {
            fs::rename(&copy, &path).expect("put over it");
            refused(&mut store)
        };
        assert_eq!(refused, (Code::OutcomeUnknown, Code::Unavailable));
        let (_directory, mut store) = after_a_kill(&path);
        assert!(get(&mut store, id(10)).is_some(), "the log under the old name is applied to the copy");
        assert_eq!(count(&mut store), 2, "and nothing that was refused with certainty");
    }
}

#[test]
fn a_file_whose_name_leads_elsewhere_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("logs.db");
    for name in ["a.db", "b.db"] {
        drop(open(&directory.path().join(name)).expect("a store"));
    }
    std::os::unix::fs::symlink("a.db", &link).expect("linked");
    let mut store = open(&link).expect("opened by its link");
    store_one(&mut store, arrival(1, "text")).expect("stored");
    fs::remove_file(&link).and_then(|()| std::os::unix::fs::symlink("b.db", &link)).expect("linked anew");
    assert_eq!(refused(&mut store), (Code::OutcomeUnknown, Code::Unavailable));
}

#[tokio::test]
async fn a_log_that_was_deleted_or_replaced_is_saved_and_nothing_is_lost() {
    for replaced in [false, true] {
        let (_directory, path, mut store) = begun();
        let reader = store.reader();
        assert!(reader.get(id(1)).await.expect("readable").is_some());
        let log = beside(&path, "-wal");
        fs::remove_file(&log).expect("deleted");
        if replaced {
            fs::write(&log, "not a log").expect("written");
        }
        assert_eq!(store_one(&mut store, arrival(2, "text")), Ok(Outcome::Stored));
        assert_eq!(store_one(&mut store, arrival(3, "text")), Ok(Outcome::Stored));
        assert!(reader.get(id(3)).await.expect("readable").is_some());
        assert_eq!(fs::read_to_string(beside(&log, ".foreign")).is_ok(), replaced, "it is kept beside");
        let (_directory, mut copy) = after_a_kill(&path);
        assert_eq!(count(&mut copy), 3, "replaced: {replaced}");
    }
}

#[test]
fn a_lock_that_was_deleted_is_made_again_and_admits_nobody_meanwhile() {
    let (_directory, path, mut store) = begun();
    let lock = beside(&path, ".lock");
    fs::remove_file(&lock).expect("deleted");
    assert!(matches!(open(&path), Err(OpenError::InUse { .. })), "the file itself is locked");
    fs::remove_file(&lock).expect("the one that was refused has made it");
    assert_eq!(store_one(&mut store, arrival(2, "text")), Ok(Outcome::Stored));
    assert!(lock.exists());
    assert!(matches!(open(&path), Err(OpenError::InUse { .. })));
}

#[test]
fn a_second_name_is_refused_at_the_start_and_noticed_while_it_runs() {
    let (directory, path, mut store) = begun();
    let other = directory.path().join("other.db");
    fs::hard_link(&path, &other).expect("linked");
    assert!(matches!(open(&other), Err(OpenError::InUse { .. })), "it is the same file");
    assert_eq!(store_one(&mut store, arrival(2, "text")), Ok(Outcome::Stored), "what has a name is found");
    assert_eq!(store.reader().vitals().other_links(), 1);
    Box::new(store).close();
    for name in [&path, &other] {
        let error = open(name).expect_err("it has two names");
        assert!(matches!(error, OpenError::Linked { names: 2, .. }), "{error:?}");
        assert!(error.to_string().contains("find / -samefile"), "{error}");
    }
    fs::remove_file(&other).expect("as it says");
    assert_eq!(count(&mut open(&path).expect("opened")), 2);
}
