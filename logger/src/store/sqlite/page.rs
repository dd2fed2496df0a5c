//! A page of entries, newest first, at a cost that does not grow with the store.

use std::time::{Duration, Instant};

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use proto::{Cursor, Failure, Page, Query, StoredEntry};
use rusqlite::{Connection, OptionalExtension, Row, named_params, types::Type};
use uuid::Uuid;

use super::checksum;

/// Most bytes of name and data on a page. As JSON they may become six times as many, and the page must still fit
/// into what a client takes.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// Where a page ends, whatever its query says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// How long it may search.
    pub(super) time: Duration,
    /// How many sequence numbers are searched between two looks at the clock.
    pub(super) window: i64,
    /// How many bytes of name and data it may hold. It always holds one entry, if it found one.
    pub(super) bytes: usize,
}

impl Budget {
    /// What callers get.
    pub(super) const DEFAULT: Budget =
        Budget { time: Duration::from_millis(500), window: 10_000, bytes: PAGE_BYTES };

    /// What a tail gets at a time. Less, since it is kept for as long as its reader takes.
    pub(super) const FOLLOW: Budget =
        Budget { time: Duration::from_millis(100), window: 10_000, bytes: PAGE_BYTES / 4 };
}

/// What [`entry`] reads.
pub(super) const COLUMNS: &str =
    "seq, id, name, level, transport, created_at, stored_at, attempts, data, checksum";

/// The conditions of a query that SQL looks at. The others are about the order of storing, or about the text.
pub(super) const CONDITIONS: &str = "(:name IS NULL OR name = :name)
    AND (:level IS NULL OR level = :level)
    AND (:transport IS NULL OR transport = :transport)";

/// The entry of this id.
pub(super) fn get(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<StoredEntry>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1"))?
        .query_row([id], entry)
        .optional()?
        .map_or(Ok(None), |entry| entry.map(Some).map_err(Altered::into))
}

/// The newest entries that meet the query. Goes down the sequence in windows, each of them a statement and so
/// a read transaction of its own: a long one would keep the write-ahead log from being taken over.
///
/// No page misses or repeats an entry while others are written: new ones get higher numbers, and they are
/// seen in the order of their numbers, since one connection writes them.
pub(super) fn page(connection: &Connection, query: &Query, budget: Budget) -> rusqlite::Result<Page> {
    let deadline = Instant::now() + budget.time;
    let mut page = PageUnderWay { entries: Vec::new(), bytes: 0, max_bytes: budget.bytes, deadline };
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

struct PageUnderWay {
    entries: Vec<StoredEntry>,
    bytes: usize,
    max_bytes: usize,
    deadline: Instant,
}

impl PageUnderWay {
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
        let mut rows = statement.query(named_params! {
            ":bottom": bottom,
            ":below": below,
            ":name": query.name,
            ":level": query.level.map(|level| level.as_str()),
            ":transport": query.transport.map(|transport| transport.as_str()),
        })?;
        while let Some(row) = rows.next()? {
            // The text is looked for here and not in SQL, so that the clock is seen between two large entries.
            if has_text(row, query)? {
                match entry(row)? {
                    Ok(entry) => {
                        self.bytes += entry.name.len() + entry.data.len();
                        self.entries.push(entry);
                    }
                    // The others can still be read.
                    Err(altered) => tracing::error!(error = %altered, "left out of a page"),
                }
            }
            let full = self.entries.len() >= query.limit || self.bytes >= self.max_bytes;
            if full || (query.contains.is_some() && Instant::now() >= self.deadline) {
                return row.get("seq").map(Some);
            }
        }
        Ok(None)
    }
}

/// Whether the data of a row holds the text that is looked for, if one is.
pub(super) fn has_text(row: &Row<'_>, query: &Query) -> rusqlite::Result<bool> {
    match &query.contains {
        Some(text) => Ok(row.get_ref("data")?.as_str()?.contains(text.as_str())),
        None => Ok(true),
    }
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
    if let Some(until) = query.until {
        below = below.min(first_stored_at(connection, until, first, last)?);
    }
    if let Some(since) = query.since {
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
/// `stored_at`, but it grows with the number. Deleted numbers leave gaps, hence the step to the next entry.
pub(super) fn first_stored_at(
    connection: &Connection,
    time: Timestamp,
    first: i64,
    last: i64,
) -> rusqlite::Result<i64> {
    let time_us = ceil_us(time);
    let mut statement = connection
        .prepare_cached("SELECT seq, stored_at FROM entries WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    let (mut low, mut high) = (first, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let next = statement
            .query_row([middle], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        match next {
            Some((sequence, stored_at_us)) if stored_at_us < time_us => low = sequence + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// Rounded up: what was stored in a microsecond that began before `time` was not stored at `time` or later.
pub(super) fn ceil_us(time: Timestamp) -> i64 {
    let options = TimestampRound::new().smallest(Unit::Microsecond).mode(RoundMode::Ceil);
    time.round(options).unwrap_or(time).as_microsecond()
}

/// A row is not as it was written.
#[derive(Debug, thiserror::Error)]
#[error("the row of entry {0} does not have its checksum: the file or the disk is damaged")]
pub(super) struct Altered(Uuid);

impl From<Altered> for rusqlite::Error {
    fn from(altered: Altered) -> Self {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(altered))
    }
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Result<StoredEntry, Altered>> {
    let entry = StoredEntry {
        id: row.get("id")?,
        name: row.get("name")?,
        data: row.get("data")?,
        level: word(row, "level")?,
        created_at: time(row, "created_at")?,
        stored_at: time(row, "stored_at")?,
        transport: word(row, "transport")?,
        attempts: u32::try_from(row.get::<_, i64>("attempts")?).unwrap_or(u32::MAX),
    };
    let right = checksum::is_right(&entry, row.get("checksum")?);
    Ok(if right { Ok(entry) } else { Err(Altered(entry.id)) })
}

fn word<T: std::str::FromStr<Err = Failure>>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    row.get_ref(column)?
        .as_str()?
        .parse()
        .map_err(|failure| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(failure)))
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, Box::new(error)))
}
