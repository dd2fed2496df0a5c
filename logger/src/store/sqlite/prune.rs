//! Deletes expired entries, oldest first, in steps short enough for a write to wait for.

use proto::Time;
use rusqlite::Connection;

use super::row::{self, COLUMNS, ROW_BYTES};
use crate::{
    clock::Clock,
    store::{
        Retention,
        keeper::{Deleted, Done, Keeper},
    },
};

/// How much one step deletes at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) entries: u32,
    /// Large entries make a step of fewer.
    pub(super) bytes: i64,
    /// Pages that are given back to the file system.
    pages: u32,
}

impl Step {
    /// Some milliseconds. More entries than a group has, so it keeps up with it.
    pub(super) const USUAL: Step = Step { entries: 1_000, bytes: 16 * 1024 * 1024, pages: 1_000 };

    /// What the write-ahead log has room for on a disk that is full but for the reserve.
    pub(super) const SMALL: Step = Step { entries: 50, bytes: 4 * 1024 * 1024, pages: 50 };
}

/// One step of what is not to be kept. Returns whether there is more to delete at once.
pub(super) fn keep(
    keeper: &mut Keeper,
    connection: &Connection,
    clock: &Clock,
    at_once: Step,
) -> rusqlite::Result<bool> {
    let Retention { max_age, max_bytes } = keeper.retention();
    if max_age.is_none() && max_bytes.is_none() {
        return Ok(false);
    }
    let horizon = keeper.horizon(clock, || row::oldest_stored_at(connection))?;
    let done = step(connection, horizon, max_bytes, at_once)?;
    keeper.note(done.deleted);
    Ok(done.more)
}

/// One step. Entries stored before `horizon` go, and the oldest while all take more than `max_bytes`.
pub(super) fn step(
    connection: &Connection,
    horizon: Option<Time>,
    max_bytes: Option<u64>,
    step: Step,
) -> rusqlite::Result<Done> {
    let excess_bytes = used_bytes(connection)? - bound(max_bytes);
    let doomed = find_doomed(connection, horizon, excess_bytes, step)?;
    let deleted = doomed.delete(connection)?;
    Ok(Done { more: doomed.more || shrink(connection, step)?, deleted })
}

/// Makes room for so many bytes of new entries within `max_bytes`, in the transaction that is to store them: so the store
/// never takes more than it may, and there is one sync for both. A little more goes at once, so that not every group
/// has to delete.
pub(super) fn before(
    connection: &Connection,
    max_bytes: u64,
    new_bytes: i64,
) -> rusqlite::Result<Option<Deleted>> {
    /// The part of the bound that goes besides.
    const PART: i64 = 64;
    let max_bytes = bound(Some(max_bytes));
    let mut deleted: Option<Deleted> = None;
    let mut spare_bytes = 0;
    // An entry that is larger than all that may be kept finds an empty store at last.
    while used_bytes(connection)? + new_bytes + spare_bytes > max_bytes {
        spare_bytes = max_bytes / PART;
        let excess_bytes = used_bytes(connection)? + new_bytes + spare_bytes - max_bytes;
        let doomed = find_doomed(connection, None, excess_bytes, Step::USUAL)?;
        let Some(more) = doomed.delete(connection)? else { break };
        deleted = Some(deleted.map_or(more, |before| before.and(more)));
    }
    Ok(deleted)
}

fn bound(max_bytes: Option<u64>) -> i64 {
    max_bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(i64::MAX)
}

/// The entries that a step deletes.
#[derive(Debug, Default)]
struct Doomed {
    /// Up to and with this one, and when it was stored.
    last: Option<(i64, i64)>,
    /// When the first was stored.
    from_us: i64,
    /// Whether there are more than one step may delete.
    more: bool,
}

impl Doomed {
    fn delete(&self, connection: &Connection) -> rusqlite::Result<Option<Deleted>> {
        let Some((last, to_us)) = self.last else { return Ok(None) };
        // One statement is one transaction, unless it is within one.
        let entries = connection.prepare_cached("DELETE FROM entries WHERE seq <= ?1")?.execute([last])?;
        Ok(Some(Deleted { entries: entries as u64, from_us: self.from_us, to_us }))
    }
}

fn find_doomed(
    connection: &Connection,
    horizon: Option<Time>,
    excess_bytes: i64,
    step: Step,
) -> rusqlite::Result<Doomed> {
    let horizon_us = horizon.map_or(i64::MIN, Time::as_microsecond);
    // The limit holds for the entries looked at, not for those found: without it, a step that finds few
    // would read the whole table.
    let mut statement = connection.prepare_cached(
        "SELECT seq, stored_at, octet_length(name) + octet_length(data) FROM entries ORDER BY seq LIMIT ?1",
    )?;
    let mut rows = statement.query([step.entries])?;
    let (mut doomed, mut entries, mut freed_bytes) = (Doomed::default(), 0, 0);
    while let Some(row) = rows.next()? {
        let sequence: i64 = row.get(0)?;
        // What is of another type was altered.
        let stored_at_us = row.get::<_, i64>(1).unwrap_or(i64::MAX);
        if stored_at_us >= horizon_us && freed_bytes >= excess_bytes {
            if horizon.is_some() && !is_trusted(connection, sequence)? {
                // It goes with those around it: a time that was altered must not keep them all forever.
                continue;
            }
            return Ok(doomed);
        }
        if doomed.last.is_none() {
            doomed.from_us = stored_at_us;
        }
        doomed.last = Some((sequence, stored_at_us));
        entries += 1;
        freed_bytes += row.get::<_, i64>(2).unwrap_or_default() + ROW_BYTES;
        if freed_bytes >= step.bytes {
            break;
        }
    }
    doomed.more = entries == step.entries || freed_bytes >= step.bytes;
    Ok(doomed)
}

fn is_trusted(connection: &Connection, sequence: i64) -> rusqlite::Result<bool> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE seq = ?1"))?;
    statement.query_row([sequence], |row| Ok(row::stored_at(row).is_ok()))
}

/// Gives free pages back to the file system. A tenth of the file is left for the next writes: where entries
/// come and go all the time, moving pages back and forth would cost more than it saves.
fn shrink(connection: &Connection, step: Step) -> rusqlite::Result<bool> {
    let worth_it = || -> rusqlite::Result<bool> {
        Ok(pragma(connection, "freelist_count")? > pragma(connection, "page_count")? / 10)
    };
    if !worth_it()? {
        return Ok(false);
    }
    // It answers with a row for each page, and goes on only while it is asked for the next.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({})", step.pages))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    worth_it()
}

/// The bytes of the pages that hold something.
fn used_bytes(connection: &Connection) -> rusqlite::Result<i64> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    Ok(pages * pragma(connection, "page_size")?)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))
}
