//! How a file is opened, and which ones are not.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

use rusqlite::Connection;

use super::{
    super::{
        create::{self, prepare},
        open,
    },
    *,
};
use crate::store::migrations::VERSION;

fn open_or_create(path: &std::path::Path) -> Result<Connection, OpenError> {
    create::open_or_create(path).map(|opened| opened.connection)
}

fn pragma(connection: &Connection, name: &str) -> String {
    connection
        .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
        .map(|value| match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other @ (rusqlite::types::Value::Null
            | rusqlite::types::Value::Real(_)
            | rusqlite::types::Value::Blob(_)) => panic!("{name} is {other:?}"),
        })
        .expect("a pragma that has a value")
}

#[test]
fn the_settings_that_keep_entries_are_in_force() {
    let directory = tempfile::tempdir().expect("a directory");
    let connection = open_or_create(&directory.path().join("logs.db")).expect("a new store");
    for (name, value) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("busy_timeout", "2000"),
        ("wal_autocheckpoint", "1000"),
        ("journal_size_limit", "67108864"),
        ("cell_size_check", "1"),
        ("mmap_size", "0"),
        ("auto_vacuum", "2"),
        ("cache_size", "-16384"),
        ("user_version", "2"),
    ] {
        assert_eq!(pragma(&connection, name), value, "{name}");
    }
}

#[test]
fn missing_directories_are_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a/b/logs.db");
    prepare(&path).expect("a new directory");
    open_or_create(&path).expect("a new store in it");
    assert!(path.is_file());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("file"), "").expect("a file in the way");
    let error = prepare(&directory.path().join("file/logs.db")).expect_err("no directory");
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_foreign_file_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = directory.path().join("notes.txt");
    fs::write(&text, "not a store ".repeat(100)).expect("a text file");
    let short = directory.path().join("short.txt");
    fs::write(&short, "short").expect("a short file");
    let other = directory.path().join("other.db");
    Connection::open(&other)
        .and_then(|connection| connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)"))
        .expect("somebody else's database");
    for path in [text, short, other] {
        let before = fs::read(&path).expect("readable");
        let error = prepare(&path).expect_err("refused");
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
        let error = Sqlite::open(&path).expect_err("refused");
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
        assert!(error.to_string().contains("use another file"), "{error}");
        assert_eq!(fs::read(&path).expect("readable"), before);
        let beside = fs::read_dir(directory.path()).expect("listed").count();
        assert_eq!(beside, 3, "nothing is put beside it");
    }
}

#[test]
fn a_newer_store_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("logs.db");
    let connection = open_or_create(&path).expect("a new store");
    connection.pragma_update(None, "user_version", VERSION + 1).expect("a later version");
    drop(connection);
    let before = fs::read(&path).expect("readable");
    let error = open_or_create(&path).expect_err("refused");
    assert!(matches!(error, OpenError::Newer { found: 3, known: 2, .. }), "{error:?}");
    assert_eq!(fs::read(&path).expect("readable"), before);
}

#[test]
fn a_store_of_the_first_version_is_brought_up_to_date() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("logs.db");
    let connection = open_or_create(&path).expect("a new store");
    let back = "ALTER TABLE entries DROP COLUMN checksum; PRAGMA user_version = 1;
            INSERT INTO entries VALUES (1, x'00', 'n', 'info', 'http', 1, 1, 1, 'text');";
    connection.execute_batch(back).expect("as it was");
    drop(connection);
    for _ in 0..2 {
        let connection = open_or_create(&path).expect("brought up to date once, and opened as usual then");
        assert_eq!(pragma(&connection, "user_version"), "2");
        let row = connection.query_row("SELECT data, checksum FROM entries", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<u32>>(1)?))
        });
        assert_eq!(row.expect("its row is there"), ("text".to_owned(), None));
    }
}

#[test]
fn a_damaged_store_is_refused_and_the_way_out_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("logs.db");
    drop(open_or_create(&path).expect("a new store"));
    let pages = fs::metadata(&path).expect("a file").len() / 4096;
    for page in 1..pages {
        let whole = fs::read(&path).expect("readable");
        let file = File::options().write(true).open(&path).expect("writable");
        file.write_all_at(&[0xa5; 4096], page * 4096).expect("overwritten");
        let error = open_or_create(&path).expect_err("refused");
        assert!(matches!(error, OpenError::Damaged { .. }), "page {page}: {error:?}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
        fs::write(&path, whole).expect("put back");
        open_or_create(&path).expect("whole again");
    }
}

#[test]
fn a_store_that_vanished_is_not_made_anew_while_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("logs.db");
    assert!(matches!(open::open(&path), Err(OpenError::Io { .. })));
    assert!(!path.exists());
}
