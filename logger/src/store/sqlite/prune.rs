//! Deletes what is not to be kept, oldest first, in steps that a write can wait for.

use rusqlite::Connection;

/// Most entries that one step deletes: some milliseconds. More than a group writes, so it keeps up with it.
const STEP_ENTRIES: u32 = 1_000;

/// Most bytes of entries that one step deletes: large entries make a step short of [`STEP_ENTRIES`].
const STEP_BYTES: i64 = 16 * 1024 * 1024;

/// Most pages that one step gives back to the file system.
const STEP_PAGES: u32 = 1_000;

/// About what a row takes beside its name and data: its other columns, and the index of ids.
const ROW_BYTES: i64 = 80;

/// One step. Entries stored before `horizon_us` go, and the oldest while all take more than `max_bytes`.
/// Returns whether there is more to do at once.
pub(super) fn step(
    connection: &Connection,
    horizon_us: Option<i64>,
    max_bytes: Option<u64>,
) -> rusqlite::Result<bool> {
    let used_bytes = used_bytes(connection)?;
    let max_bytes = max_bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(i64::MAX);
    let excess_bytes = used_bytes - max_bytes;
    let doomed = find_doomed(connection, horizon_us.unwrap_or(i64::MIN), excess_bytes)?;
    if let Some(last) = doomed.last {
        // One statement is one transaction.
        connection.prepare_cached("DELETE FROM entries WHERE seq <= ?1")?.execute([last])?;
    }
    Ok(doomed.more || shrink(connection)?)
}

/// The entries that this step deletes.
struct Doomed {
    /// Up to and with this one.
    last: Option<i64>,
    /// Whether there are more than one step may delete.
    more: bool,
}

fn find_doomed(connection: &Connection, horizon_us: i64, excess_bytes: i64) -> rusqlite::Result<Doomed> {
    // The limit holds for the entries looked at, not for those found: without it, a step that finds few
    // would read the whole table.
    let mut statement = connection.prepare_cached(
        "SELECT seq, stored_at, octet_length(name) + octet_length(data) FROM entries ORDER BY seq LIMIT ?1",
    )?;
    let mut rows = statement.query([STEP_ENTRIES])?;
    let (mut last, mut entries, mut freed_bytes) = (None, 0, 0);
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= horizon_us && freed_bytes >= excess_bytes {
            return Ok(Doomed { last, more: false });
        }
        last = Some(row.get(0)?);
        entries += 1;
        freed_bytes += row.get::<_, i64>(2)? + ROW_BYTES;
        if freed_bytes >= STEP_BYTES {
            break;
        }
    }
    Ok(Doomed { last, more: entries == STEP_ENTRIES || freed_bytes >= STEP_BYTES })
}

/// Gives free pages back to the file system. A tenth of the file is left for the next writes: where entries
/// come and go all the time, moving pages to and fro would cost more than it saves.
fn shrink(connection: &Connection) -> rusqlite::Result<bool> {
    let worth_it = || -> rusqlite::Result<bool> {
        Ok(pragma(connection, "freelist_count")? > pragma(connection, "page_count")? / 10)
    };
    if !worth_it()? {
        return Ok(false);
    }
    // It answers with a row for each page, and goes on only while it is asked for the next.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
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
    connection.pragma_query_value(None, name, |row| row.get(0))
}
