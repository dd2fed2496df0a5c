//! A page of entries, newest first, at a cost that does not grow with the store.

use std::time::Instant;

use proto::{Cursor, Filter, Page, Query, StoredEntry, Time};
use rusqlite::{Connection, OptionalExtension, Row, named_params};
use uuid::Uuid;

use super::row::{self, COLUMNS};
use crate::store::{
    reading::{ALTERED, Budget, Halving},
    row::{LeftOut, Unreadable},
};

/// The conditions of a query that SQL looks at. The others are about the order of storing, or about the text.
pub(super) const CONDITIONS: &str = "(:name IS NULL OR name = :name)
    AND (:level IS NULL OR level = :level)
    AND (:transport IS NULL OR transport = :transport)";

/// The entry of this id; `None` if there is none.
pub(super) fn get(
    connection: &Connection,
    id: Uuid,
) -> rusqlite::Result<Option<Result<StoredEntry, Unreadable>>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?
        .query_row([id], |row| Ok(row::raw(row).and_then(|raw| raw.entry())))
        .optional()
}

/// The newest entries that meet the query. Goes down the sequence in windows, each of them a statement and so
/// a read transaction of its own: a long one would keep the write-ahead log from being checkpointed.
///
/// No page misses or repeats an entry while others are written: new ones get higher numbers, and they are
/// seen in the order of their numbers, since one connection writes them.
pub(super) fn page(
    connection: &Connection,
    query: &Query,
    budget: Budget,
    left_out: &LeftOut,
) -> rusqlite::Result<Page> {
    let deadline = Instant::now() + budget.time;
    let mut page =
        PageUnderWay { entries: Vec::new(), bytes: 0, max_bytes: budget.bytes, deadline, left_out };
    let Some((floor, mut below)) = bounds(connection, query)? else {
        return Ok(Page { entries: Vec::new(), next: None });
    };
    while below > floor {
        let bottom = below.saturating_sub(budget.window).max(floor);
        if let Some(stopped_at) = page.search(connection, query, bottom, below)? {
            below = stopped_at;
            break;
        }
        below = bottom;
        if Instant::now() >= deadline {
            break;
        }
    }
    Ok(Page { entries: page.entries, next: (below > floor).then(|| Cursor::after(below)) })
}

struct PageUnderWay<'a> {
    entries: Vec<StoredEntry>,
    bytes: usize,
    max_bytes: usize,
    deadline: Instant,
    left_out: &'a LeftOut,
}

impl PageUnderWay<'_> {
    /// Searches the numbers from `bottom` to just below `below`. Returns the number of the entry at which the
    /// page is full or the time is up, if that happens before all are seen.
    fn search(
        &mut self,
        connection: &Connection,
        query: &Query,
        bottom: i64,
        below: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM entries
             WHERE seq >= :bottom AND seq < :below
               AND {CONDITIONS}
             ORDER BY seq DESC"
        ))?;
        let filter = &query.filter;
        let mut rows = statement.query(named_params! {
            ":bottom": bottom,
            ":below": below,
            ":name": filter.name,
            ":level": filter.level.map(|level| level.as_str()),
            ":transport": filter.transport.map(|transport| transport.as_str()),
        })?;
        while let Some(row) = rows.next()? {
            // The text is looked for here and not in SQL, so that the clock is seen between two large entries.
            if has_text(row, filter) {
                match row::raw(row).and_then(|raw| raw.entry()) {
                    Ok(entry) => {
                        self.bytes += entry.name.len() + entry.data.len();
                        self.entries.push(entry);
                    }
                    Err(unreadable) => self.left_out.note(&unreadable),
                }
            }
            let full = self.entries.len() >= query.limit || self.bytes >= self.max_bytes;
            if full || (filter.contains.is_some() && Instant::now() >= self.deadline) {
                return row.get("seq").map(Some);
            }
        }
        Ok(None)
    }
}

/// Whether the data of a row holds the text that is looked for, if one is. Data that is no text may: the
/// reader of the row says so.
pub(super) fn has_text(row: &Row<'_>, filter: &Filter) -> bool {
    let Some(text) = &filter.contains else { return true };
    let data = row.get_ref("data").ok().and_then(|data| data.as_str().ok());
    data.is_none_or(|data| data.contains(text.as_str()))
}

/// The lowest number to look at, and the one to begin below; `None` in an empty store.
fn bounds(connection: &Connection, query: &Query) -> rusqlite::Result<Option<(i64, i64)>> {
    let Some((first, last)) = ends(connection)? else {
        return Ok(None);
    };
    let mut floor = first;
    let mut below = last + 1;
    if let Some(cursor) = query.cursor {
        below = below.min(cursor.sequence());
    }
    if let Some(until) = query.filter.until {
        below = below.min(first_stored_at(connection, until, first, last)?);
    }
    if let Some(since) = query.filter.since {
        floor = first_stored_at(connection, since, first, last)?;
    }
    Ok(Some((floor, below)))
}

/// The lowest and the highest number. Two statements, since SQLite scans the table for `min` and `max` in one.
pub(super) fn ends(connection: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    let one = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
    Ok(one("SELECT min(seq) FROM entries")?.zip(one("SELECT max(seq) FROM entries")?))
}

/// The number from which on everything was stored at `time` or later, by halving: there is no index on
/// `stored_at`, but it grows with the number. Deleted numbers leave gaps, hence the step to the next entry; and what was
/// altered must not mislead it, hence the step to one that can be trusted.
pub(super) fn first_stored_at(
    connection: &Connection,
    time: Time,
    first: i64,
    last: i64,
) -> rusqlite::Result<i64> {
    let sql = format!("SELECT {COLUMNS} FROM entries WHERE seq >= ?1 ORDER BY seq LIMIT {ALTERED}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut halving = Halving::new(time, first, last);
    while let Some(middle) = halving.middle() {
        let mut rows = statement.query([middle])?;
        let mut next = None;
        while let Some(row) = rows.next()? {
            if let Ok(stored_at) = row::stored_at(row) {
                next = Some((row.get::<_, i64>(0)?, stored_at));
                break;
            }
        }
        halving.seen(middle, next);
    }
    Ok(halving.found())
}
