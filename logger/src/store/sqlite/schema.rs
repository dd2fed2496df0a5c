//! What the file contains: by what it is known, and what one of an older version still needs.

use std::path::Path;

use rusqlite::Connection;

use super::OpenError;
use crate::store::migrations::{self, Migration, VERSION};

/// Marks a SQLite file as ours: "four" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x666f_7572;

/// Brings a file up to date that needs these.
pub(super) fn bring_up_to_date(connection: &Connection, missing: &[Migration]) -> rusqlite::Result<()> {
    let Some(last) = missing.last() else { return Ok(()) };
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT;", statements(missing)))?;
    tracing::info!(version = VERSION, with = last.what, "the store is brought up to date");
    Ok(())
}

/// The statements of migrations, and the version of the file after them.
pub(super) fn statements(migrations: &[Migration]) -> String {
    let statements: String = migrations.iter().map(|migration| migration.sqlite).collect();
    format!("{statements} PRAGMA user_version = {VERSION};")
}

/// What a file of a version still needs.
pub(super) fn missing(path: &Path, found: i32) -> Result<&'static [Migration], OpenError> {
    let path = path.to_owned();
    // No store has a version 0: it is made as a whole.
    match migrations::after(found) {
        Some(missing) if found > 0 => Ok(missing),
        None if found > VERSION => Err(OpenError::Newer { path, found, known: VERSION }),
        Some(_) | None => Err(OpenError::Foreign { path }),
    }
}
