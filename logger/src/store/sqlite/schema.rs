//! The file: what is in it, how it is opened, and how it is told from other files.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::store::OpenError;

/// Marks a SQLite file as ours: "four" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x666f_7572;

/// The version of the tables below.
pub(super) const VERSION: i32 = 2;

/// The oldest version that is brought up to date.
const OLDEST: i32 = 1;

/// How long a start may look for damage. Reads some hundred megabytes; what lies beyond shows when it is used.
const CHECK_TIME: Duration = Duration::from_secs(1);

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

/// For every connection.
const PRAGMAS: &str = "
    -- A foreign lock is waited for this long; callers have a deadline of 5 s.
    PRAGMA busy_timeout = 2000;
    -- A broken page is noticed when it is read, not when it has spread.
    PRAGMA cell_size_check = ON;
    -- Reading through memory would turn an I/O error into the death of the process.
    PRAGMA mmap_size = 0;";

/// For the connection that writes.
const WRITE_PRAGMAS: &str = "
    -- Readers never wait for the writer, and a commit costs one sync.
    PRAGMA journal_mode = WAL;
    -- Every commit is synced before it is answered; NORMAL would lose the last ones with the power.
    PRAGMA synchronous = FULL;
    -- After about 4 MB the log is taken over into the file: often enough that readers search little of it.
    PRAGMA wal_autocheckpoint = 1000;
    -- A log that one large burst blew up shrinks to 64 MiB again.
    PRAGMA journal_size_limit = 67108864;
    -- 16 MiB, so that ids that are not in the order of time still find their pages.
    PRAGMA cache_size = -16384;";

/// Sees to it that files may be put beside the store: it is nobody else's, and its directory is there.
pub(super) fn prepare(path: &Path) -> Result<(), OpenError> {
    if exists(path)? {
        return identify(path);
    }
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    create_directory(parent).map_err(|source| OpenError::Directory { path: parent.to_owned(), source })
}

/// Opens the file for writing, and creates it if it is missing or empty. [`prepare`] comes before.
pub(super) fn open_or_create(path: &Path) -> Result<Connection, OpenError> {
    if !exists(path)? {
        create(path)?;
    }
    open(path)
}

/// Opens a file that must be there for writing, after looking for damage. It is not looked at without SQLite, since
/// others of this process may read it: whoever closes a file drops all the locks that its process has on it
/// (<https://sqlite.org/howtocorrupt.html>, 2.2).
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let in_path = |error| open_error(path, error);
    fs::metadata(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    // No SQLITE_OPEN_CREATE: a store that vanished while it was in use must not come back empty.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(in_path)?;
    connection.execute_batch(PRAGMAS).map_err(in_path)?;
    let mark = |name| connection.pragma_query_value(None, name, |row| row.get(0)).map_err(in_path);
    if mark("application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let version = mark("user_version")?;
    known_version(path, version)?;
    connection.execute_batch(WRITE_PRAGMAS).map_err(in_path)?;
    prove_durable(path, &connection)?;
    look_for_damage(path, &connection)?;
    take_over_the_log(&connection).map_err(in_path)?;
    if version < VERSION {
        connection.execute_batch(UPGRADE).map_err(in_path)?;
    }
    #[cfg(feature = "faults")]
    weaken(&connection).map_err(in_path)?;
    Ok(connection)
}

/// Opens the file for reading only.
pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(PRAGMAS)?;
    Ok(connection)
}

/// Whether the error says that the file is broken, or was replaced by something else.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
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
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
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

fn known_version(path: &Path, found: i32) -> Result<(), OpenError> {
    match found {
        OLDEST..=VERSION => Ok(()),
        ..OLDEST => Err(OpenError::Foreign { path: path.to_owned() }),
        _ => Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION }),
    }
}

/// SQLite takes a setting that it cannot keep in silence, so both are read back.
fn prove_durable(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let in_path = |error| open_error(path, error);
    let journal: String =
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(in_path)?;
    let synchronous: i64 =
        connection.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(in_path)?;
    if (journal.as_str(), synchronous) == ("wal", 2) {
        return Ok(());
    }
    let detail = format!("journal_mode is {journal}, synchronous is {synchronous}");
    Err(OpenError::NotDurable { path: path.to_owned(), detail })
}

/// Rests nothing new on what was found in the log. After a sync that failed, Linux shows the log as it was written,
/// takes it for clean, and never writes it: a later sync succeeds, and with the power everything from there on would
/// be gone. In the main file it is written anew. If somebody reads meanwhile, the log was not found but known.
fn take_over_the_log(connection: &Connection) -> rusqlite::Result<()> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        tracing::warn!("the write-ahead log is in use, and was not taken over");
    }
    Ok(())
}

/// Takes back what `prove_durable` has proved.
#[cfg(feature = "faults")]
fn weaken(connection: &Connection) -> rusqlite::Result<()> {
    use crate::faults::Fault;
    for (fault, synchronous) in [(Fault::SynchronousNormal, "NORMAL"), (Fault::SynchronousOff, "OFF")] {
        if fault.is_on() {
            connection.pragma_update(None, "synchronous", synchronous)?;
        }
    }
    Ok(())
}

fn look_for_damage(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let interrupt = connection.get_interrupt_handle();
    let (done, wait_for_done) = mpsc::channel::<()>();
    let verdict = thread::scope(|scope| {
        scope.spawn(move || {
            if wait_for_done.recv_timeout(CHECK_TIME) == Err(RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        });
        let verdict = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        drop(done);
        verdict
    });
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(detail) => Err(OpenError::Damaged { path: path.to_owned(), detail }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
        Err(error) => Err(open_error(path, error)),
    }
}

/// What an error of SQLite means for the file.
pub(super) fn open_error(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    if is_damage(&source) {
        return OpenError::Damaged { path, detail: source.to_string() };
    }
    OpenError::Sqlite { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

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
            let error = crate::store::sqlite::Sqlite::open(&path).expect_err("refused");
            assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
            assert!(error.to_string().contains("name another file"), "{error}");
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
            let connection =
                open_or_create(&path).expect("brought up to date once, and opened as usual then");
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
            assert!(error.to_string().contains("put a copy back"), "{error}");
            fs::write(&path, whole).expect("put back");
            open_or_create(&path).expect("whole again");
        }
    }

    #[test]
    fn a_store_that_vanished_is_not_made_anew_while_in_use() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("logs.db");
        assert!(matches!(open(&path), Err(OpenError::Io { .. })));
        assert!(!path.exists());
    }
}
