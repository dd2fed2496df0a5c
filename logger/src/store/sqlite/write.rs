//! One group, one transaction.

use proto::{BatchMode, Code, Failure, Outcome, Time};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    checksum,
    prune::{self, Deleted, ROW_BYTES},
};
use crate::store::{Answer, Arrival, Batch, migrations::VERSION};

/// Tells the three cases apart in one statement: a new row has 1 attempt, a duplicate has more, and for a
/// conflict the `WHERE` holds the update back, so that no row is returned and none is changed.
const INSERT: &str = "
    INSERT INTO entries (id, name, level, transport, created_at, stored_at, attempts, data, checksum)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8)
    ON CONFLICT (id) DO UPDATE SET attempts = entries.attempts + 1
        WHERE entries.name = excluded.name
          AND entries.level = excluded.level
          AND entries.data = excluded.data
    RETURNING attempts";

/// Gives back the number that [`INSERT`] took for a row that was there already: SQLite counts it as given. The numbers
/// of rows have no gaps, so that the distance of two of them is a count of entries. A store that an earlier version has
/// begun may have some.
const GIVE_BACK: &str = "UPDATE sqlite_sequence SET seq = seq - 1 WHERE name = 'entries'";

/// Stores an id once more.
#[cfg(feature = "faults")]
const INSERT_AGAIN: &str = "
    INSERT INTO entries (id, name, level, transport, created_at, stored_at, attempts, data, checksum)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8)
    RETURNING attempts";

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
    let mut transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Broken::BeforeCommit)?;
    let deleted = match max_bytes {
        Some(max_bytes) => {
            prune::before(&transaction, max_bytes, new_bytes(group)).map_err(Broken::BeforeCommit)?
        }
        None => None,
    };
    let answers = group
        .iter()
        .map(|batch| match batch.mode {
            BatchMode::Each => store_each(&transaction, &batch.arrivals, stored_at_us).map(Ok),
            BatchMode::AllOrNone => store_all_or_none(&mut transaction, &batch.arrivals, stored_at_us),
        })
        .collect::<rusqlite::Result<_>>()
        .map_err(Broken::BeforeCommit)?;
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

/// An entry's own result inside, the group's failure outside.
type EntryResult = rusqlite::Result<Result<Outcome, Failure>>;

fn store_each(
    connection: &Connection,
    arrivals: &[Arrival],
    stored_at_us: i64,
) -> rusqlite::Result<Vec<Result<Outcome, Failure>>> {
    arrivals.iter().map(|arrival| store_one(connection, arrival, stored_at_us)).collect()
}

fn store_all_or_none(
    transaction: &mut Transaction<'_>,
    arrivals: &[Arrival],
    stored_at_us: i64,
) -> rusqlite::Result<Answer> {
    let savepoint = transaction.savepoint()?;
    let mut results = Vec::with_capacity(arrivals.len());
    for (position, arrival) in arrivals.iter().enumerate() {
        match store_one(&savepoint, arrival, stored_at_us)? {
            Ok(outcome) => results.push(Ok(outcome)),
            // Dropped without a commit, the savepoint takes back this batch alone.
            Err(failure) => return Ok(Err(failure.at(position))),
        }
    }
    savepoint.commit()?;
    Ok(Ok(results))
}

fn store_one(connection: &Connection, arrival: &Arrival, stored_at_us: i64) -> EntryResult {
    let entry = &arrival.entry;
    #[cfg(feature = "faults")]
    if crate::faults::Fault::DropSome.is_on() && entry.id().as_u128().is_multiple_of(1_000) {
        return Ok(Ok(Outcome::Stored));
    }
    let insert = INSERT;
    #[cfg(feature = "faults")]
    let insert = if crate::faults::Fault::NoDedup.is_on() { INSERT_AGAIN } else { insert };
    let attempts = connection
        .prepare_cached(insert)?
        .query_row(
            params![
                entry.id(),
                entry.name(),
                entry.level().as_str(),
                arrival.came_by.as_str(),
                entry.created_at().as_microsecond(),
                stored_at_us,
                entry.data(),
                checksum::of_arrival(arrival, stored_at_us),
            ],
            |row| row.get::<_, i64>(0),
        )
        .optional();
    if let Ok(None | Some(2..)) = attempts {
        connection.prepare_cached(GIVE_BACK)?.execute([])?;
    }
    match attempts {
        Ok(Some(1)) => Ok(Ok(Outcome::Stored)),
        Ok(Some(_)) => Ok(Ok(Outcome::Duplicate)),
        Ok(None) => Ok(Err(conflict())),
        Err(error) if is_of_the_entry(&error) => Ok(Err(unfit().because(error))),
        Err(error) => Err(error),
    }
}

/// Whether SQLite refuses this row alone, and has taken back nothing else. No valid entry is refused today;
/// if one ever is, its neighbours must not suffer.
fn is_of_the_entry(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}

fn conflict() -> Failure {
    Failure::new(
        Code::Conflict,
        "the id is already stored with other content, which is kept: use a new id, or omit it",
    )
}

fn unfit() -> Failure {
    Failure::new(Code::InvalidEntry, "the store rejects this entry: change its content")
}
