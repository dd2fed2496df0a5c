//! The file: what is in it, how it is made, and how it is told from other files.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use rusqlite::{Connection, OpenFlags};

use super::open::{self, Opened, PRAGMAS, open_error};
use crate::store::OpenError;

/// Marks a SQLite file as ours: "four" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x666f_7572;

/// The version of the tables below.
pub(super) const VERSION: i32 = 2;

/// The oldest version that is brought up to date.
const OLDEST: i32 = 1;

/// `seq` is the rowid and never given twice, so that a cursor stays true after deletions. Ids are kept as
/// bytes; words and microseconds are kept so that `sqlite3` shows them readably. `data` and what is only read with it
/// stand last: what filters look at lies before it, and its overflow pages are not read for them.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS entries (
        seq        INTEGER PRIMARY KEY AUTOINCREMENT,
        id         BLOB    NOT NULL UNIQUE,
        name       TEXT    NOT NULL,
        level      TEXT    NOT NULL,
        transport  TEXT    NOT NULL,
        created_at INTEGER NOT NULL,
        stored_at  INTEGER NOT NULL,
        attempts   INTEGER NOT NULL,
        data       TEXT    NOT NULL,
        checksum   INTEGER
    ) STRICT;";

/// Version 1 had no checksums, and its rows get none.
const UPGRADE: &str = "
    BEGIN IMMEDIATE;
    ALTER TABLE entries ADD COLUMN checksum INTEGER;
    PRAGMA user_version = 2;
    COMMIT;";

/// Sees to it that files may be put beside the store: it is nobody else's, and its directory is there.
pub(super) fn prepare(path: &Path) -> Result<(), OpenError> {
    if exists(path)? {
        return identify(path);
    }
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    create_directory(parent).map_err(|source| OpenError::Directory { path: parent.to_owned(), source })
}

/// Opens the file for writing, and creates it if it is missing or empty. [`prepare`] comes before.
pub(super) fn open_or_create(path: &Path) -> Result<Opened, OpenError> {
    if !exists(path)? {
        create(path)?;
    }
    open::open(path)
}

/// Gives an older file the tables of this version.
pub(super) fn bring_up_to_date(connection: &Connection, version: i32) -> rusqlite::Result<()> {
    if version < VERSION { connection.execute_batch(UPGRADE) } else { Ok(()) }
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() > 0),
        // What stands in the place of its directory shows when that is made.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

fn create(path: &Path) -> Result<(), OpenError> {
    let in_path = |error| open_error(path, error);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(in_path)?;
    connection.execute_batch(PRAGMAS).map_err(in_path)?;
    // One transaction, and before WAL: so the file's own header says from the first moment whose it is, and
    // a start that is killed leaves no half a store. INCREMENTAL lets the file shrink in small steps; it must be
    // said before the first table.
    let everything = format!(
        "PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA synchronous = FULL;
         BEGIN IMMEDIATE;
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION};
         {TABLES}
         COMMIT;"
    );
    #[cfg(feature = "faults")]
    let everything = match crate::faults::Fault::NoDedup.is_on() {
        true => everything.replace(" UNIQUE", ""),
        false => everything,
    };
    connection.execute_batch(&everything).map_err(in_path)
}

/// Makes the directory and those above it. SQLite syncs a directory when it makes a file in it; the name of
/// the directory itself stands in the one above, which must be synced too.
fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = match directory.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        Some(_) | None => Path::new("."),
    };
    create_directory(above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !directory.is_dir() => {
            return Err(error);
        }
        Ok(()) | Err(_) => {}
    }
    File::open(above)?.sync_all()
}

/// Reads the header with no help from SQLite, which may write to a file as soon as it opens it.
fn identify(path: &Path) -> Result<(), OpenError> {
    let foreign = || OpenError::Foreign { path: path.to_owned() };
    let mut header = [0; 100];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(foreign()),
        Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
        Ok(()) => {}
    }
    // https://sqlite.org/fileformat.html#the_database_header
    let number = |at: usize| i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if !header.starts_with(b"SQLite format 3\0") || number(68) != APPLICATION_ID {
        return Err(foreign());
    }
    known_version(path, number(60))
}

pub(super) fn known_version(path: &Path, found: i32) -> Result<(), OpenError> {
    match found {
        OLDEST..=VERSION => Ok(()),
        ..OLDEST => Err(OpenError::Foreign { path: path.to_owned() }),
        _ => Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION }),
    }
}
