//! One group, one transaction.

use proto::Time;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use uuid::Uuid;

use super::{prune, row::ROW_BYTES};
use crate::store::{
    Answer, Arrival, Batch, checksum,
    decide::{self, Added, Content, Table},
    keeper::Deleted,
    migrations::VERSION,
};

/// Changes no row if the id is there already: then it is compared.
const INSERT: &str = "
    INSERT INTO entries (id, name, level, transport, created_at, stored_at, attempts, data, checksum)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8)
    ON CONFLICT (id) DO NOTHING";

/// Gives back the number that [`INSERT`] took for a row that was there already: SQLite counts it as given. The numbers
/// of rows have no gaps, so that the distance of two of them is a count of entries. A store that an earlier version has
/// begun may have some.
const GIVE_BACK: &str = "UPDATE sqlite_sequence SET seq = seq - 1 WHERE name = 'entries'";

/// Stores an id once more.
#[cfg(feature = "faults")]
const INSERT_AGAIN: &str = "
    INSERT INTO entries (id, name, level, transport, created_at, stored_at, attempts, data, checksum)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8)";

/// A group that SQLite could not store.
#[derive(Debug)]
pub(super) enum Broken {
    /// Certainly not stored: the transaction was never committed.
    BeforeCommit(rusqlite::Error),
    /// The commit itself failed.
    AtCommit(rusqlite::Error),
}

/// Stores a group in one transaction of its own. `stored_at` is what all its new entries get. Where the entries may take
/// no more than `max_bytes`, the oldest make room for it in the same transaction. A group without entries
/// is committed and synced too, and changes nothing: so it shows whether one with entries would be.
pub(super) fn commit(
    connection: &mut Connection,
    group: &[Batch],
    stored_at: Time,
    max_bytes: Option<u64>,
) -> Result<(Vec<Answer>, Option<Deleted>), Broken> {
    let stored_at_us = stored_at.as_microsecond();
    // IMMEDIATE: a foreign lock is met and waited for here, with nothing done yet.
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Broken::BeforeCommit)?;
    let deleted = match max_bytes {
        Some(max_bytes) => {
            prune::before(&transaction, max_bytes, new_bytes(group)).map_err(Broken::BeforeCommit)?
        }
        None => None,
    };
    let mut entries = Entries { connection: &transaction, stored_at_us };
    let answers = decide::decide(&mut entries, group).map_err(Broken::BeforeCommit)?;
    if group.iter().all(|batch| batch.arrivals.is_empty()) {
        // Writes the page that it is in, as it was.
        transaction.pragma_update(None, "user_version", VERSION).map_err(Broken::BeforeCommit)?;
    }
    // After an error the transaction rolls back when it is dropped.
    transaction.commit().map_err(Broken::AtCommit)?;
    Ok((answers, deleted))
}

/// What a group takes at most, if all of it is new.
fn new_bytes(group: &[Batch]) -> i64 {
    let rows: usize = group.iter().map(|batch| batch.arrivals.len()).sum();
    let payload: usize = group.iter().map(Batch::payload_bytes).sum();
    i64::try_from(payload).unwrap_or(i64::MAX).saturating_add(ROW_BYTES * rows as i64)
}

/// The table, in a transaction.
struct Entries<'c> {
    connection: &'c Connection,
    stored_at_us: i64,
}

impl<'a> Table<'a> for Entries<'_> {
    type Error = rusqlite::Error;

    fn add(&mut self, arrival: &'a Arrival) -> rusqlite::Result<Added> {
        let (entry, stored_at_us) = (&arrival.entry, self.stored_at_us);
        let insert = INSERT;
        #[cfg(feature = "faults")]
        let insert = if crate::faults::Fault::NoDedup.is_on() { INSERT_AGAIN } else { insert };
        let added = self.connection.prepare_cached(insert)?.execute(params![
            entry.id(),
            entry.name(),
            entry.level().as_str(),
            arrival.came_by.as_str(),
            entry.created_at().as_microsecond(),
            stored_at_us,
            entry.data(),
            checksum::of_arrival(arrival, stored_at_us),
        ]);
        match added {
            Ok(1..) => Ok(Added::New),
            Ok(0) => {
                self.run(GIVE_BACK)?;
                Ok(Added::There { same: self.has(Content::from(arrival), entry.id())? })
            }
            Err(error) if is_of_the_entry(&error) => Ok(Added::Unfit(decide::unfit().because(error))),
            Err(error) => Err(error),
        }
    }

    fn count_again(&mut self, id: Uuid) -> rusqlite::Result<()> {
        let sql = "UPDATE entries SET attempts = attempts + 1 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute([id]).map(drop)
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        self.run("SAVEPOINT batch")
    }

    fn keep(&mut self) -> rusqlite::Result<()> {
        self.run("RELEASE batch")
    }

    fn take_back(&mut self) -> rusqlite::Result<()> {
        // Rolled back to, a savepoint is still there.
        self.run("ROLLBACK TO batch")?;
        self.run("RELEASE batch")
    }
}

impl Entries<'_> {
    fn run(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Whether the row of an id has this content. One whose columns are of other types has another.
    fn has(&self, content: Content<'_>, id: Uuid) -> rusqlite::Result<bool> {
        let mut statement =
            self.connection.prepare_cached("SELECT name, level, data FROM entries WHERE id = ?1")?;
        statement.query_row([id], |row| {
            let text = |column| row.get_ref(column).ok().and_then(|value| value.as_str().ok());
            let stored = (text(0), text(1), text(2));
            let (Some(name), Some(level), Some(data)) = stored else { return Ok(false) };
            Ok(Content { name, level, data } == content)
        })
    }
}

/// Whether SQLite refuses this row alone, and has taken back nothing else.
fn is_of_the_entry(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}
