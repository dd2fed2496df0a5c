//! How the file is created, and told apart from other files.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    OpenError,
    open::{self, Opened, PRAGMAS, open_error},
    schema::{APPLICATION_ID, missing, statements},
};
use crate::store::migrations::MIGRATIONS;

/// Ensures that files may be put beside the store: it is nobody else's, and its directory is there.
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
         {}
         COMMIT;",
        statements(MIGRATIONS)
    );
    #[cfg(feature = "faults")]
    let everything =
        if crate::faults::Fault::NoDedup.is_on() { everything.replace(" UNIQUE", "") } else { everything };
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
pub(super) fn identify(path: &Path) -> Result<(), OpenError> {
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
    missing(path, number(60)).map(|_| ())
}
