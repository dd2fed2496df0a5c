//! What the messages tell one to do is done here, and helps.

use std::{fs, path::Path};

use super::*;

fn open(path: &Path) -> Result<Sqlite, OpenError> {
    Sqlite::open(path)
}

/// Leaves in a directory what `kill -9` leaves behind, with an older copy of the main file in the place of it.
fn older_copy_beside_a_newer_log(directory: &Path) {
    let (_own, url, mut store) = new_sqlite();
    let main = file(&url);
    let fill = |store: &mut Sqlite, numbers: std::ops::Range<u128>| {
        for number in numbers {
            store_one(store, arrival(number, &"x".repeat(900))).expect("stored");
        }
    };
    fill(&mut store, 0..40);
    Box::new(store).close();
    fs::copy(main, directory.join("logs.db")).expect("a copy");
    let mut store = Sqlite::open(file(&url)).expect("opened again");
    // More than the log holds before it is checkpointed.
    fill(&mut store, 40..700);
    fs::copy(main.with_file_name("logs.db-wal"), directory.join("logs.db-wal")).expect("the log");
}

#[test]
fn a_copy_that_was_put_back_beside_an_old_log_opens_as_the_message_says() {
    let directory = tempfile::tempdir().expect("a directory");
    older_copy_beside_a_newer_log(directory.path());
    let path = directory.path().join("logs.db");
    let copy = fs::read(&path).expect("readable");
    for _ in 0..2 {
        let error = open(&path).expect_err("the two do not belong together");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("logs.db-wal and") && told.contains("restored from a backup"), "{told}");
        assert!(told.contains("restore a backup"), "{told}");
        assert!(fs::read(&path).expect("readable") == copy, "a start that is refused changes nothing");
    }
    for suffix in ["-wal", "-shm"] {
        let _ = fs::rename(directory.path().join(format!("logs.db{suffix}")), directory.path().join("away"));
    }
    assert_eq!(count(&mut open(&path).expect("it is whole")), 40);
}

#[test]
fn what_is_damaged_is_moved_away_as_the_message_says() {
    let directory = tempfile::tempdir().expect("a directory");
    older_copy_beside_a_newer_log(directory.path());
    let path = directory.path().join("logs.db");
    open(&path).expect_err("damaged");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::rename(directory.path().join(format!("logs.db{suffix}")), directory.path().join("away"));
    }
    assert_eq!(count(&mut open(&path).expect("an empty store")), 0);
}

#[test]
fn a_directory_in_the_way_is_made_by_hand_as_the_message_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a/logs.db");
    fs::write(directory.path().join("a"), "").expect("a file in the way");
    let error = open(&path).expect_err("refused");
    assert!(error.to_string().contains("create it by hand, or use another path"), "{error}");
    fs::remove_file(directory.path().join("a"))
        .and_then(|()| fs::create_dir(directory.path().join("a")))
        .expect("made");
    open(&path).expect("opened");
}

#[test]
fn a_foreign_file_is_left_and_another_is_named_as_the_message_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notes.txt");
    fs::write(&path, "notes").expect("written");
    let error = open(&path).expect_err("refused");
    assert!(error.to_string().contains("use another file"), "{error}");
    open(&directory.path().join("logs.db")).expect("opened");
    assert_eq!(fs::read_to_string(&path).expect("readable"), "notes");
}
