//! Reads a row of the store: an entry, or why it is unreadable.
//!
//! An unreadable row does not affect the others. Every read skips it, and the log names it once.

use std::{
    collections::HashSet,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use proto::{Failure, StoredEntry, Time};
use rusqlite::{Connection, Row, types::ValueRef};
use uuid::Uuid;

use super::checksum::Checked;
use crate::metrics::Unreadables;

/// What [`read`] and [`stored_at`] take, in this order.
pub(super) const COLUMNS: &str =
    "seq, id, name, level, transport, created_at, stored_at, attempts, data, checksum";

/// Maximum rows that are remembered as named, and so most lines of log about them.
const NAMED: usize = 1_000;

/// Reads an entry.
///
/// # Errors
/// Why the row is none.
pub(super) fn read(row: &Row<'_>) -> Result<StoredEntry, Unreadable> {
    let raw = Raw::of(row)?;
    let cannot = |why: String| Unreadable { sequence: raw.sequence, id: Some(raw.id), why };
    let entry = || {
        Ok(StoredEntry {
            id: raw.id,
            level: word("level", raw.checked.level)?,
            created_at: time("created_at", raw.checked.created_at_us)?,
            stored_at: time("stored_at", raw.checked.stored_at_us)?,
            transport: word("transport", raw.checked.transport)?,
            attempts: u32::try_from(raw.attempts).unwrap_or(u32::MAX),
            name: raw.checked.name.to_owned(),
            data: raw.checked.data.to_owned(),
        })
    };
    entry().map_err(cannot)
}

/// When the entry of a row was stored, also if the entry is of a newer version and cannot be read.
///
/// # Errors
/// Why the row is not to be trusted.
pub(super) fn stored_at(row: &Row<'_>) -> Result<Time, Unreadable> {
    let raw = Raw::of(row)?;
    time("stored_at", raw.checked.stored_at_us).map_err(|why| Unreadable {
        sequence: raw.sequence,
        id: Some(raw.id),
        why,
    })
}

/// When the entry of a row was stored, and the checksum that the row has with another time; `None` if it has none.
///
/// # Errors
/// Why the row is not to be trusted.
pub(super) fn with_time(row: &Row<'_>, stored_at: Time) -> Result<(Time, Option<u32>), Unreadable> {
    let before = self::stored_at(row)?;
    let raw = Raw::of(row)?;
    let changed = Checked { stored_at_us: stored_at.as_microsecond(), ..raw.checked };
    Ok((before, raw.has_checksum.then(|| changed.checksum())))
}

/// The bytes of the name and the data of a row.
pub(super) fn payload_bytes(row: &Row<'_>) -> i64 {
    let bytes = |column| match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        Ok(ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_)) | Err(_) => 0,
    };
    // By `COLUMNS`.
    bytes(2).saturating_add(bytes(8))
}

/// When the last entry that can be trusted was stored; `None` in a store without one.
pub(super) fn last_stored_at(connection: &Connection) -> rusqlite::Result<Option<Time>> {
    first_trusted(connection, "ORDER BY seq DESC")
}

/// When the oldest entry that can be trusted was stored; `None` in a store without one.
pub(super) fn oldest_stored_at(connection: &Connection) -> rusqlite::Result<Option<Time>> {
    first_trusted(connection, "ORDER BY seq")
}

fn first_trusted(connection: &Connection, order: &str) -> rusqlite::Result<Option<Time>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM entries {order}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Ok(time) = stored_at(row) {
            return Ok(Some(time));
        }
    }
    Ok(None)
}

/// The columns of a row that has its checksum, or has none.
struct Raw<'a> {
    sequence: i64,
    id: Uuid,
    attempts: i64,
    /// Rows of the first version of the tables have none.
    has_checksum: bool,
    checked: Checked<'a>,
}

impl<'a> Raw<'a> {
    fn of(row: &'a Row<'_>) -> Result<Self, Unreadable> {
        // The row's own key is always a number.
        let sequence = row.get(0).unwrap_or_default();
        let id = blob(row, 1).ok().and_then(|id| <&[u8; 16]>::try_from(id).ok());
        let cannot = |why: String| Unreadable { sequence, id: id.map(|id| Uuid::from_bytes(*id)), why };
        let raw = || {
            let id = id.ok_or("has no id of 16 bytes")?;
            let checked = Checked {
                id,
                name: text(row, 2, "name")?,
                level: text(row, 3, "level")?,
                transport: text(row, 4, "transport")?,
                created_at_us: number(row, 5, "created_at")?,
                stored_at_us: number(row, 6, "stored_at")?,
                data: text(row, 8, "data")?,
            };
            let checksum: Option<i64> = row.get(9).map_err(|_| "has no number as its checksum".to_owned())?;
            if checksum.is_some_and(|checksum| checksum != i64::from(checked.checksum())) {
                return Err("does not have its checksum: the file or the disk is damaged".to_owned());
            }
            let attempts = number(row, 7, "attempts")?;
            let has_checksum = checksum.is_some();
            Ok(Raw { sequence, id: Uuid::from_bytes(*id), attempts, has_checksum, checked })
        };
        raw().map_err(cannot)
    }
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], String> {
    match row.get_ref(column) {
        Ok(ValueRef::Blob(bytes)) => Ok(bytes),
        Ok(_) | Err(_) => Err("holds no bytes".to_owned()),
    }
}

fn text<'a>(row: &'a Row<'_>, column: usize, name: &str) -> Result<&'a str, String> {
    let text = row.get_ref(column).ok().and_then(|value| value.as_str().ok());
    text.ok_or_else(|| format!("has no text as its {name}: the file or the disk is damaged"))
}

fn number(row: &Row<'_>, column: usize, name: &str) -> Result<i64, String> {
    let number = row.get_ref(column).ok().and_then(|value| value.as_i64().ok());
    number.ok_or_else(|| format!("has no number as its {name}: the file or the disk is damaged"))
}

fn word<T: FromStr<Err = Failure>>(name: &str, word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("has a {name} that this version does not know: {word:?}"))
}

fn time(name: &str, us: i64) -> Result<Time, String> {
    Time::from_microsecond(us).ok_or_else(|| format!("has a {name} out of all range: {us}"))
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {sequence}{} {why}", of_entry(*id))]
pub(super) struct Unreadable {
    sequence: i64,
    id: Option<Uuid>,
    why: String,
}

fn of_entry(id: Option<Uuid>) -> String {
    id.map_or_else(String::new, |id| format!(", entry {id},"))
}

/// The unreadable rows that were skipped. Each is logged once, however often it is met.
#[derive(Debug, Clone)]
pub(super) struct LeftOut {
    named: Arc<Mutex<HashSet<i64>>>,
    counted: Unreadables,
}

impl LeftOut {
    /// Call it after the metrics recorder is installed.
    pub(super) fn new() -> Self {
        LeftOut { named: Arc::default(), counted: Unreadables::new() }
    }

    /// One more, or one that is known.
    pub(super) fn note(&self, row: &Unreadable) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= NAMED || !named.insert(row.sequence) {
            return;
        }
        self.counted.one_more();
        // Each is named once: the limit of the log must not hide it.
        tracing::error!(target: concat!(module_path!(), "::named"), error = %row, "an unreadable row is skipped; the others can be read");
        if named.len() == NAMED {
            tracing::error!(rows = NAMED, "further unreadable rows are not logged");
        }
    }
}
