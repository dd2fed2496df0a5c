//! The columns of a row in SQLite, where each value has a type of its own.

use proto::Time;
use rusqlite::{Connection, Row, types::ValueRef};
use uuid::Uuid;

pub(super) use crate::store::row::{COLUMNS, ROW_BYTES};
use crate::store::{
    checksum::Checked,
    row::{Raw, Unreadable},
};

/// The columns, in the order of [`COLUMNS`].
///
/// # Errors
/// Why the row is not to be trusted.
pub(super) fn raw<'a>(row: &'a Row<'_>) -> Result<Raw<'a>, Unreadable> {
    // The row's own key is always a number.
    let sequence = row.get(0).unwrap_or_default();
    let id = blob(row, 1).ok().and_then(|id| <&[u8; 16]>::try_from(id).ok());
    let columns = || {
        let checked = Checked {
            id: *id.ok_or("has no id of 16 bytes")?,
            name: text(row, 2, "name")?,
            level: text(row, 3, "level")?,
            transport: text(row, 4, "transport")?,
            created_at_us: number(row, 5, "created_at")?,
            stored_at_us: number(row, 6, "stored_at")?,
            data: text(row, 8, "data")?,
        };
        let checksum: Option<i64> = row.get(9).map_err(|_| "has no number as its checksum".to_owned())?;
        Ok((checked, checksum, number(row, 7, "attempts")?))
    };
    let cannot = |why: String| Unreadable { sequence, id: id.map(|id| Uuid::from_bytes(*id)), why };
    let (checked, checksum, attempts) = columns().map_err(cannot)?;
    Raw::new(sequence, attempts, checksum, checked)
}

/// When the entry of a row was stored, also if the entry is of a newer version and cannot be read.
///
/// # Errors
/// Why the row is not to be trusted.
pub(super) fn stored_at(row: &Row<'_>) -> Result<Time, Unreadable> {
    raw(row)?.stored_at()
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
