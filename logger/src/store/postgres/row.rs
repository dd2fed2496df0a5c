//! The columns of a row in PostgreSQL.

use tokio_postgres::{Row, types::FromSql};
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
pub(super) fn raw(row: &Row) -> Result<Raw<'_>, Unreadable> {
    let (sequence, id) = (sequence(row), row.try_get::<_, Uuid>(1).ok());
    let columns = || {
        let checked = Checked {
            id: id.ok_or("has no id of 16 bytes")?.into_bytes(),
            name: value(row, 2, "name")?,
            level: value(row, 3, "level")?,
            transport: value(row, 4, "transport")?,
            created_at_us: value(row, 5, "created_at")?,
            stored_at_us: value(row, 6, "stored_at")?,
            data: value(row, 8, "data")?,
        };
        Ok((checked, value(row, 9, "checksum")?, value(row, 7, "attempts")?))
    };
    let cannot = |why: String| Unreadable { sequence, id, why };
    let (checked, checksum, attempts) = columns().map_err(cannot)?;
    Raw::new(sequence, attempts, checksum, checked)
}

/// The number of a row, which is its key and so always there.
pub(super) fn sequence(row: &Row) -> i64 {
    row.try_get(0).unwrap_or_default()
}

/// The bytes of the name and the data of a row.
pub(super) fn payload_bytes(row: &Row) -> usize {
    let bytes = |column| row.try_get::<_, &str>(column).map_or(0, str::len);
    // By `COLUMNS`.
    bytes(2) + bytes(8)
}

fn value<'a, T: FromSql<'a>>(row: &'a Row, column: usize, name: &str) -> Result<T, String> {
    row.try_get(column).map_err(|_| format!("has no {name} of its type: the database was changed by hand"))
}
