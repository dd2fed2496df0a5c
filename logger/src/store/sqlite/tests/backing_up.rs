//! A copy of a store that is in use.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{super::bytes, *};
use crate::store::{BackedUp, backup};

fn never() -> bool {
    false
}

fn back_up(url: &StoreUrl, to: &Path) -> anyhow::Result<BackedUp> {
    backup(url, to, &never)
}

fn fill(store: &mut Sqlite, numbers: std::ops::Range<u128>) {
    let arrivals: Vec<_> = numbers.map(|number| arrival(number, &"x".repeat(900))).collect();
    store.commit(&[each(arrivals)]).expect("stored");
}

fn files(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).expect("listed").map(|file| file.expect("listed").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_of_a_store_in_use_is_one_file_that_opens_with_all_that_was_stored() -> anyhow::Result<()> {
    let (_own, url, mut store) = new_sqlite();
    fill(&mut store, 0..2_000);
    let elsewhere = tempfile::tempdir()?;
    let to = elsewhere.path().join("logs.db");
    fs::set_permissions(file(&url), Permissions::from_mode(0o640))?;
    let done = back_up(&url, &to)?;
    assert_eq!((done.entries, done.unreadable), (2_000, 0));
    assert_eq!(files(elsewhere.path()), ["logs.db"], "nothing is beside it");
    let made = fs::metadata(&to)?;
    assert_eq!((made.len(), made.mode() & 0o777), (done.bytes, 0o640));
    // It can be read where nothing may be written beside it.
    assert_eq!(fs::read(&to)?[18..20], [1, 1]);
    fill(&mut store, 2_000..2_010);
    let mut restored = Sqlite::open(&to)?;
    assert_eq!(count(&mut restored), 2_000);
    assert_eq!(store_one(&mut restored, arrival(7, &"x".repeat(900))), Ok(proto::Outcome::Duplicate));
    assert_eq!(store_one(&mut restored, arrival(2_000, "new")), Ok(proto::Outcome::Stored));
    Ok(())
}

#[test]
fn what_is_stored_meanwhile_neither_ends_nor_lengthens_a_backup() -> anyhow::Result<()> {
    let (own, url, mut store) = new_sqlite();
    fill(&mut store, 0..6_000);
    let done = thread::scope(|scope| {
        let backup = scope.spawn(|| back_up(&url, &own.path().join("copy.db")));
        let mut next = 6_000;
        while !backup.is_finished() {
            fill(&mut store, next..next + 10);
            next += 10;
        }
        backup.join().expect("no panic")
    })?;
    assert!((6_000..=6_000 + 100_000).contains(&done.entries), "{done:?}");
    let mut copy = Sqlite::open(&own.path().join("copy.db"))?;
    assert_eq!(count(&mut copy) as u64, done.entries);
    for number in 0..6_000 {
        assert!(get(&mut copy, id(number)).is_some(), "{number}");
    }
    Ok(())
}

#[test]
fn a_file_that_is_there_is_never_overwritten() -> anyhow::Result<()> {
    let (own, url, mut store) = new_sqlite();
    fill(&mut store, 0..10);
    let to = own.path().join("copy.db");
    fs::write(&to, "a recipe")?;
    let error = back_up(&url, &to).expect_err("refused");
    assert!(format!("{error:#}").contains("overwrites nothing: name another file"), "{error:#}");
    assert!(back_up(&url, file(&url)).is_err(), "least of all the store itself");
    assert_eq!(fs::read_to_string(&to)?, "a recipe");
    // One that another backup is writing.
    let partial = own.path().join("other.db.partial");
    fs::write(&partial, "half")?;
    let error = back_up(&url, &own.path().join("other.db")).expect_err("refused");
    assert!(format!("{error:#}").contains("If none runs, delete it"), "{error:#}");
    assert_eq!(fs::read_to_string(&partial)?, "half");
    fs::remove_file(&partial)?;
    back_up(&url, &own.path().join("other.db"))?;
    assert_eq!(count(&mut store), 10);
    Ok(())
}

#[test]
fn a_backup_that_is_stopped_or_finds_no_store_leaves_nothing() -> anyhow::Result<()> {
    let (_own, url, mut store) = new_sqlite();
    fill(&mut store, 0..3_000);
    let elsewhere = tempfile::tempdir()?;
    let to = elsewhere.path().join("copy.db");
    let error = backup(&url, &to, &|| true).expect_err("stopped");
    assert!(format!("{error:#}").contains("no file is left"), "{error:#}");
    let none = StoreUrl::Sqlite(elsewhere.path().join("none.db"));
    let error = back_up(&none, &to).expect_err("there is none");
    assert!(format!("{error:#}").contains("set LOGGER_STORE as for the logger"), "{error:#}");
    let nowhere = elsewhere.path().join("missing/copy.db");
    assert!(format!("{:#}", back_up(&url, &nowhere).expect_err("no directory")).contains("missing/copy.db"));
    assert!(files(elsewhere.path()).is_empty(), "{:?}", files(elsewhere.path()));
    Ok(())
}

#[test]
fn a_backup_gives_way_to_a_logger_that_closes_its_store_and_begins_again() -> anyhow::Result<()> {
    let (own, url, mut store) = new_sqlite();
    fill(&mut store, 0..8_000);
    let reads = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        let backup = scope.spawn(|| {
            // It is asked between two steps, so the first page was read.
            let stop = || {
                reads.store(true, Ordering::SeqCst);
                false
            };
            backup(&url, &own.path().join("copy.db"), &stop)
        });
        while !reads.load(Ordering::SeqCst) && !backup.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        let begun = std::time::Instant::now();
        Box::new(store).close();
        let took = begun.elapsed();
        backup.join().expect("no panic").map(|done| (took, done))
    });
    let (took, done) = took?;
    assert_eq!(done.entries, 8_000);
    assert!(took < Duration::from_millis(1_500), "the logger waited {took:?} for its log");
    assert_eq!(fs::metadata(own.path().join("logs.db-wal"))?.len(), 0, "the log was taken over");
    Ok(())
}

#[test]
fn a_backup_waits_for_a_logger_that_needs_its_log_and_gives_up_when_told() -> anyhow::Result<()> {
    let (own, url, mut store) = new_sqlite();
    fill(&mut store, 0..10);
    let wanted = store.names.want_the_log();
    let main = File::open(file(&url))?;
    assert_eq!(bytes::is_locked(&main, bytes::LOG_IS_WANTED), Ok(true));
    assert!(backup(&url, &own.path().join("copy.db"), &|| true).is_err(), "it waits, and is told to stop");
    drop(wanted);
    assert_eq!(bytes::is_locked(&main, bytes::LOG_IS_WANTED), Ok(false));
    back_up(&url, &own.path().join("copy.db"))?;
    Ok(())
}

#[test]
fn a_row_that_cannot_be_read_is_in_the_backup_too_and_is_counted() -> anyhow::Result<()> {
    let (own, url, mut store) = new_sqlite();
    fill(&mut store, 0..10);
    connection(&mut store).execute("UPDATE entries SET name = 'altered' WHERE seq = 3", [])?;
    let done = back_up(&url, &own.path().join("copy.db"))?;
    assert_eq!((done.entries, done.unreadable), (10, 1));
    Ok(())
}

#[test]
fn a_store_with_a_damaged_index_is_not_backed_up() -> anyhow::Result<()> {
    let (own, url, mut store) = new_sqlite();
    fill(&mut store, 0..10);
    let broken = "PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_sequence')
        WHERE name = 'sqlite_autoindex_entries_1'; PRAGMA writable_schema = RESET;";
    let _ =
        connection(&mut store).set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false);
    connection(&mut store).execute_batch(broken)?;
    let error = back_up(&url, &own.path().join("copy.db")).expect_err("refused");
    assert!(
        format!("{error:#}").contains("damaged") || format!("{error:#}").contains("malformed"),
        "{error:#}"
    );
    assert!(!own.path().join("copy.db").exists() && !own.path().join("copy.db.partial").exists());
    Ok(())
}

#[test]
fn what_is_no_store_of_ours_or_of_a_later_version_is_not_backed_up() -> anyhow::Result<()> {
    let (own, url, mut store) = new_sqlite();
    connection(&mut store).pragma_update(None, "user_version", crate::store::migrations::VERSION + 1)?;
    let to = own.path().join("copy.db");
    let error = back_up(&url, &to).expect_err("refused");
    assert!(format!("{error:#}").contains("use a newer logger"), "{error:#}");
    let foreign = own.path().join("notes.txt");
    fs::write(&foreign, "not a store ".repeat(100))?;
    let error = back_up(&StoreUrl::Sqlite(foreign), &to).expect_err("refused");
    assert!(format!("{error:#}").contains("is not a store"), "{error:#}");
    let postgres: StoreUrl = "postgres://user:secret@localhost/logs".parse()?;
    let error = format!("{:#}", back_up(&postgres, &to).expect_err("refused"));
    assert!(error.contains("pg_basebackup") && !error.contains("secret"), "{error}");
    assert!(!to.exists());
    Ok(())
}

#[test]
fn a_store_of_the_first_version_is_backed_up_as_it_is() -> anyhow::Result<()> {
    let (own, url, mut store) = new_sqlite();
    fill(&mut store, 0..10);
    let back = "ALTER TABLE entries DROP COLUMN checksum; PRAGMA user_version = 1;";
    connection(&mut store).execute_batch(back)?;
    Box::new(store).close();
    let to = own.path().join("copy.db");
    assert_eq!(back_up(&url, &to)?.entries, 10);
    let version =
        Connection::open(&to)?.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0))?;
    assert_eq!(version, 1, "a later logger brings it up to date");
    assert_eq!(count(&mut Sqlite::open(&to)?), 10);
    Ok(())
}
