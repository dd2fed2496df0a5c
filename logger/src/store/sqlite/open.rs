//! How the file is opened: its settings, and what is verified before it is used.

use std::{
    fs,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, ffi};

use super::{OpenError, access, schema};

/// How long a start may look for damage. Reads some hundred megabytes; what lies beyond shows when it is used.
const CHECK_TIME: Duration = Duration::from_secs(1);

/// For every connection.
pub(super) const PRAGMAS: &str = "
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

/// Opens a file that must be there for writing, after looking for damage. It is not looked at without SQLite, since
/// others of this process may read it: closing a file drops all the locks that its process has on it
/// (<https://sqlite.org/howtocorrupt.html>, 2.2).
pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    let in_path = |error| open_error(path, error);
    fs::metadata(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    access::check(path)?;
    // No SQLITE_OPEN_CREATE: a store that vanished while it was in use must not come back empty.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(in_path)?;
    connection.execute_batch(PRAGMAS).map_err(in_path)?;
    // Until all is proved, its end changes nothing: of what is refused the log stays where it is, and the file as it is.
    let checkpoint_on_close = |on: bool| {
        let set = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !on);
        set.map(drop).map_err(in_path)
    };
    checkpoint_on_close(false)?;
    let mark = |name| connection.pragma_query_value(None, name, |row| row.get(0)).map_err(in_path);
    if mark("application_id")? != schema::APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let missing = schema::missing(path, mark("user_version")?)?;
    connection.execute_batch(WRITE_PRAGMAS).map_err(in_path)?;
    prove_durable(path, &connection)?;
    look_for_damage(path, &connection)?;
    let checkpointed = match checkpoint(&connection) {
        // On a full disk one can still read.
        Err(error) if is_full(&error) && missing.is_empty() => false,
        taken => taken.map(|()| true).map_err(in_path)?,
    };
    schema::bring_up_to_date(&connection, missing).map_err(in_path)?;
    #[cfg(feature = "faults")]
    weaken(&connection).map_err(in_path)?;
    checkpoint_on_close(true)?;
    Ok(Opened { connection, checkpointed })
}

/// A file that is open for writing.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Whether [`checkpoint`] has succeeded: before that nothing may be written.
    pub(super) checkpointed: bool,
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

/// Whether the error says that there is no room on the disk: for what is written, or for the index of the log in memory
/// that is shared, which is a file as well.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull) || extended == Some(ffi::SQLITE_IOERR_SHMSIZE)
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
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        tracing::warn!("the write-ahead log is in use and was not checkpointed");
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
    let check = || connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    let verdict = until(connection, CHECK_TIME, || true, check);
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(detail) => Err(OpenError::Damaged { path: path.to_owned(), detail }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
        Err(error) => Err(open_error(path, error)),
    }
}

/// Lets SQLite work, asks every `poll` whether it is to end, and interrupts it then.
pub(super) fn until<T>(
    connection: &Connection,
    poll: Duration,
    is_to_end: impl Fn() -> bool + Send,
    work: impl FnOnce() -> T,
) -> T {
    let interrupt = connection.get_interrupt_handle();
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(poll) == Err(RecvTimeoutError::Timeout) {
                if is_to_end() {
                    interrupt.interrupt();
                }
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// What an error of SQLite means for the file.
pub(super) fn open_error(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    if is_damage(&source) {
        return OpenError::Damaged { path, detail: source.to_string() };
    }
    if is_full(&source) {
        return OpenError::Full { path };
    }
    OpenError::Sqlite { path, source }
}
