//! Reads a backup as a whole: what SQLite can say of it, and the checksum of every row.

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, OptionalExtension};

use super::{POLL, copy::STOPPED, target::Target};
use crate::store::{
    BackedUp,
    row::Unreadable,
    sqlite::{open, row},
};

/// Of lines that name a row each: the log shows many of them.
const NAMED: &str = concat!(module_path!(), "::named");

/// Rows that are read before it is asked whether to stop.
const ROWS: u64 = 10_000;

/// Verifies the copy. A row that cannot be read may be one that the store has so, too.
pub(super) fn verify(
    target: &Target,
    store: &Connection,
    stop: &(dyn Fn() -> bool + Sync),
) -> anyhow::Result<BackedUp> {
    let copy = open::open_read_only(target.path())?;
    let check = || copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    let verdict = open::until(&copy, POLL, stop, check);
    ensure!(!stop(), STOPPED);
    let verdict = verdict.context("checking the copy")?;
    if verdict != "ok" {
        bail!(
            "the copy is damaged ({verdict}), and no backup is left. If `PRAGMA integrity_check` says so of the store as \
             well, keep its files, and go on from an earlier backup"
        );
    }
    rows(&copy, store, stop)
}

fn rows(copy: &Connection, store: &Connection, stop: &(dyn Fn() -> bool + Sync)) -> anyhow::Result<BackedUp> {
    let columns = columns(copy)?;
    let mut statement = copy.prepare(&format!("SELECT {columns} FROM entries ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    let mut found = BackedUp { entries: 0, unreadable: 0, bytes: 0 };
    while let Some(row) = rows.next()? {
        found.entries += 1;
        if let Err(unreadable) = row::raw(row).and_then(|raw| raw.entry()) {
            found.unreadable += 1;
            ensure!(
                !is_readable(store, &unreadable)?,
                "the copy is not what the store is: {unreadable}; retry"
            );
            tracing::error!(target: NAMED, error = %unreadable, "an unreadable row is in the backup as it is in the store");
        }
        if found.entries.is_multiple_of(ROWS) {
            ensure!(!stop(), STOPPED);
        }
    }
    Ok(found)
}

/// Whether the store has a readable row in the place of one that cannot be read here.
fn is_readable(store: &Connection, unreadable: &Unreadable) -> anyhow::Result<bool> {
    let columns = columns(store)?;
    let sql = format!("SELECT {columns} FROM entries WHERE seq = ?1");
    let found = store
        .query_row(&sql, [unreadable.sequence], |row| Ok(row::raw(row).is_ok_and(|raw| raw.entry().is_ok())));
    Ok(found.optional()?.unwrap_or(false))
}

/// The columns of a row, also of the first version of the tables, which has no checksums.
fn columns(connection: &Connection) -> rusqlite::Result<String> {
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(if version < 2 { row::COLUMNS.replace("checksum", "NULL") } else { row::COLUMNS.to_owned() })
}
