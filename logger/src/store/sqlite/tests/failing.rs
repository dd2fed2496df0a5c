//! What the store does when the disk is full, locked, failing or broken.

use std::{fs::File, os::unix::fs::FileExt};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc::{F_RDLCK, F_WRLCK, SEEK_SET, flock},
};
use proto::{Code, Outcome, Query};
use rusqlite::{Connection, ffi};

use super::{
    super::{FRESH, open, write::Broken},
    *,
};
use crate::store::Retention;

fn sqlite_error(code: std::ffi::c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

#[test]
fn a_full_disk_stores_nothing_of_a_batch_and_what_fits_of_its_group() {
    let (_directory, _, mut store) = new_sqlite();
    store_one(&mut store, arrival(0, "text")).expect("stored");
    let pages: i64 =
        connection(&mut store).pragma_query_value(None, "page_count", |row| row.get(0)).expect("a number");
    let max_pages = |store: &mut Sqlite, pages: i64| {
        connection(store)
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
            .expect("set")
    };
    max_pages(&mut store, pages + 4);
    let large = "x".repeat(10_000);
    let batch = all_or_none((1..9).map(|number| arrival(number, &large)).collect());
    let failure = store.commit(std::slice::from_ref(&batch)).expect_err("full");
    assert_eq!(failure.code, Code::StorageFull);
    assert_eq!(store.standing().map_err(|failure| failure.code), Err(Code::StorageFull));
    assert_eq!(count(&mut store), 1, "the whole batch is taken back");
    assert_eq!(store_one(&mut store, arrival(10, "small")), Ok(Outcome::Stored), "what fits is stored");
    store.made_room_at = None;
    let answers = store.commit(&[each(vec![arrival(9, "small")]), batch.clone()]).expect("a part of it");
    assert_eq!(answers[0], Ok(vec![Ok(Outcome::Stored)]), "and what fits of a group");
    assert_eq!(answers[1].as_ref().map_err(|failure| failure.code), Err(Code::StorageFull));
    assert_eq!(store.standing().map_err(|failure| failure.code), Err(Code::StorageFull));
    max_pages(&mut store, i64::from(u32::MAX) - 1);
    store.commit(&[batch]).expect("there is room again").remove(0).expect("stored");
    assert_eq!(count(&mut store), 11);
}

#[test]
fn a_foreign_lock_is_waited_for_and_then_refused() {
    let (_directory, url, mut store) = new_sqlite();
    let other = Connection::open(file(&url)).expect("opened by another");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let failure = store_one(&mut store, arrival(1, "text")).expect_err("locked");
    assert_eq!(failure.code, Code::Unavailable);
    assert_eq!(store.ping().map_err(|failure| failure.code), Err(Code::Unavailable), "nor could another be");
    assert!(store.standing().is_err());
    other.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(store_one(&mut store, arrival(1, "text")), Ok(Outcome::Stored));
    assert_eq!(store.ping(), Ok(()));
    assert_eq!(store.standing(), Ok(()));
}

#[test]
fn a_question_without_entries_is_committed_and_changes_nothing() {
    let (_directory, url, mut store) = new_sqlite();
    let log = || std::fs::metadata(file(&url).with_file_name("logs.db-wal")).expect("a log").len();
    let before = log();
    assert_eq!(store.ping(), Ok(()));
    let asked = log();
    assert!(asked > before, "it was written and synced as an entry is");
    let committed_at = store.committed_at.expect("it was committed");
    assert_eq!(store.ping(), Ok(()));
    assert_eq!(log(), asked, "what is known from a moment ago is not tried again");
    assert_eq!(store.committed_at, Some(committed_at), "and being asked makes it no newer");
    store.committed_at = committed_at.checked_sub(FRESH);
    assert_eq!(store.ping(), Ok(()));
    assert!(log() > asked, "what is known from long ago is");
    assert_eq!(count(&mut store), 0);
}

#[test]
fn an_error_says_no_more_than_is_certain() {
    let cases = [
        (ffi::SQLITE_FULL, true, Code::StorageFull),
        (ffi::SQLITE_FULL, false, Code::StorageFull),
        (ffi::SQLITE_BUSY, false, Code::Unavailable),
        (ffi::SQLITE_BUSY, true, Code::Unavailable),
        (ffi::SQLITE_IOERR_READ, false, Code::Unavailable),
        (ffi::SQLITE_IOERR_FSYNC, true, Code::OutcomeUnknown),
        (ffi::SQLITE_NOMEM, true, Code::OutcomeUnknown),
        (ffi::SQLITE_CORRUPT, false, Code::Unavailable),
        (ffi::SQLITE_CORRUPT, true, Code::OutcomeUnknown),
    ];
    for (error, at_commit, code) in cases {
        let (_directory, _, mut store) = new_sqlite();
        let connection = store.connection.take().expect("open");
        let broken = if at_commit { Broken::AtCommit } else { Broken::BeforeCommit };
        let failure = store.judge(connection, broken(sqlite_error(error)));
        assert_eq!(failure.code, code, "{error} at_commit={at_commit}");
        assert!(std::error::Error::source(&failure).is_some(), "the log is told the cause");
    }
}

#[test]
fn opening_again_drops_no_lock_of_those_who_read() {
    /// Where SQLite locks a file that it reads: the first of its "shared bytes".
    const SHARED_FIRST: i64 = 0x4000_0002;
    let (_directory, url, mut store) = new_sqlite();
    store_one(&mut store, arrival(0, "text")).expect("stored");
    let reader = open::open_read_only(file(&url)).expect("opened");
    let read = || reader.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, i64>(0));
    assert_eq!(read(), Ok(1));
    for number in 1..3 {
        store.connection = None;
        store_one(&mut store, arrival(number, "text")).expect("opened again, and stored");
    }
    // A lock of an open file and not of a process, so that those of this one keep it out. Closing it drops them: it
    // comes last.
    let other = File::options().read(true).write(true).open(file(&url)).expect("opened");
    let mut lock = flock {
        l_type: F_WRLCK as i16,
        l_whence: SEEK_SET as i16,
        l_start: SHARED_FIRST,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&other, FcntlArg::F_OFD_GETLK(&mut lock)).expect("asked");
    assert_eq!(i32::from(lock.l_type), F_RDLCK, "somebody else may believe that nobody reads");
    assert_eq!(read(), Ok(3));
}

#[test]
fn after_an_io_error_the_store_is_opened_again() {
    let (_directory, _, mut store) = new_sqlite();
    store_one(&mut store, arrival(1, "text")).expect("stored");
    let fail = |store: &mut Sqlite| {
        let connection = store.connection.take().expect("open");
        let failure = store.judge(connection, Broken::AtCommit(sqlite_error(ffi::SQLITE_IOERR_FSYNC)));
        store.committed::<()>(Err(failure)).expect_err("as it was told");
        assert!(store.standing().is_err());
    };
    fail(&mut store);
    assert_eq!(store_one(&mut store, arrival(1, "text")), Ok(Outcome::Duplicate), "by the next write");
    assert_eq!(store.standing(), Ok(()));
    fail(&mut store);
    assert!(!store.tend(&Retention::default()));
    store.look();
    assert_eq!(store.standing(), Ok(()), "or, with no write, by tending");
}

#[test]
fn a_store_that_was_closed_before_its_log_was_taken_over_is_opened_again_for_it() {
    for tended in [false, true] {
        let (_directory, _, mut store) = new_sqlite();
        store_one(&mut store, arrival(1, "text")).expect("stored");
        (store.checkpointed, store.connection) = (false, None);
        if tended {
            assert!(!store.tend(&Retention::default()));
            assert!(store.checkpointed && store.connection.is_some());
        }
        assert_eq!(store_one(&mut store, arrival(2, "text")), Ok(Outcome::Stored));
    }
}

#[test]
fn nothing_is_written_while_the_log_is_not_taken_over() {
    let (_directory, _, mut store) = new_sqlite();
    store.checkpointed = false;
    for _ in 0..2 {
        assert_eq!(store.take_connection_to_write().expect_err("not yet").code, Code::StorageFull);
        assert!(store.connection.is_some(), "it is put back");
    }
    assert_eq!(store.await_the_log(), Ok(()));
    assert!(store.take_connection_to_write().is_ok());
}

#[test]
fn a_store_that_vanished_is_not_replaced_by_an_empty_one() {
    let (_directory, url, mut store) = new_sqlite();
    store.connection = None;
    std::fs::remove_file(file(&url)).expect("removed");
    let failure = store_one(&mut store, arrival(1, "text")).expect_err("there is no store");
    assert_eq!(failure.code, Code::Unavailable);
    assert_eq!(store.ping().map_err(|failure| failure.code), Err(Code::Unavailable));
    assert!(!file(&url).exists());
}

#[tokio::test]
async fn damage_that_a_reader_finds_stops_the_writer() {
    let (_directory, url, mut store) = new_sqlite();
    store_one(&mut store, arrival(1, "text")).expect("stored");
    Box::new(store).close();
    let mut store = Sqlite::open(file(&url)).expect("opened again");
    let reader = store.reader();
    let file = File::options().write(true).open(file(&url)).expect("writable");
    let pages = file.metadata().expect("a file").len() / 4096;
    for page in 1..pages {
        file.write_all_at(&[0xa5; 4096], page * 4096).expect("overwritten");
    }
    let failure = reader.page(Query::default()).await.expect_err("unreadable");
    assert_eq!(failure.code, Code::Unavailable);
    store.look();
    assert!(store.standing().is_err());
    assert_eq!(store.ping().map_err(|failure| failure.code), Err(Code::Unavailable));
    let failure = store_one(&mut store, arrival(2, "text")).expect_err("refused");
    assert_eq!(failure.code, Code::Unavailable);
    assert!(failure.message().contains("damaged"), "{failure}");
}

#[test]
fn a_log_that_is_found_is_taken_over_before_anything_rests_on_it() {
    let (_directory, url, mut store) = new_sqlite();
    store_one(&mut store, arrival(1, "text")).expect("stored");
    let copy = tempfile::tempdir().expect("a directory");
    for name in ["logs.db", "logs.db-wal"] {
        std::fs::copy(file(&url).with_file_name(name), copy.path().join(name)).expect("copied");
    }
    let log = || std::fs::metadata(copy.path().join("logs.db-wal")).expect("a log").len();
    assert!(log() > 0, "as a process leaves it that is killed");
    let mut found = Sqlite::open(&copy.path().join("logs.db")).expect("opened");
    assert_eq!(log(), 0);
    assert_eq!(count(&mut found), 1);
}

#[test]
fn a_log_that_was_cut_short_keeps_what_lies_before_the_cut() {
    let (_directory, url, mut store) = new_sqlite();
    for number in 0..20 {
        store_one(&mut store, arrival(number, "text")).expect("stored");
    }
    let beside = |name: &str| file(&url).with_file_name(name);
    let wal = std::fs::read(beside("logs.db-wal")).expect("the write-ahead log");
    for tenth in 0..=10 {
        let copy = tempfile::tempdir().expect("a directory");
        let main = copy.path().join("logs.db");
        std::fs::copy(file(&url), &main).expect("copied");
        std::fs::write(copy.path().join("logs.db-wal"), &wal[..wal.len() * tenth / 10]).expect("cut");
        let mut copy = Sqlite::open(&main).expect("a cut log is no damage");
        let kept = count(&mut copy);
        assert!((0..kept as u128).all(|number| get(&mut copy, id(number)).is_some()), "the first {kept}");
        assert!(kept >= 20 * tenth / 10 / 2, "{kept} of 20 at {tenth} tenths");
    }
}
