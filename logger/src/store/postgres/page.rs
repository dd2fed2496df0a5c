//! A page of entries, newest first, at a cost that does not grow with the store.

use std::{ops::Range, time::Instant};

use deadpool_postgres::ClientWrapper;
use proto::{Cursor, Filter, Page, Query, StoredEntry, Time};
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use super::row::{self, COLUMNS};
use crate::store::{
    reading::{ALTERED, Budget, Halving},
    row::{LeftOut, Unreadable},
};

/// How many numbers are searched for a text at first. A statement cannot look at the clock, so it gets more only after
/// one that was quick.
const TEXT_WINDOW: i64 = 500;

/// The conditions of a query that a statement looks at, from its third parameter on. Those about times are about the
/// order of storing.
const CONDITIONS: &str = "($3::text IS NULL OR name = $3)
    AND ($4::text IS NULL OR level = $4)
    AND ($5::text IS NULL OR transport = $5)
    AND ($6::text IS NULL OR strpos(data, $6) > 0)";

/// The entry of this id; `None` if there is none.
pub(super) async fn get(
    client: &ClientWrapper,
    id: Uuid,
) -> Result<Option<Result<StoredEntry, Unreadable>>, Error> {
    let statement = client.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = $1")).await?;
    let found = client.query_opt(&statement, &[&id]).await?;
    Ok(found.map(|row| row::raw(&row).and_then(|raw| raw.entry())))
}

/// The newest entries that meet the query. Goes down the sequence in windows, each of them a statement.
///
/// No page misses or repeats an entry while others are written: new ones get higher numbers, and they are
/// seen in the order of their numbers, since those who write take turns.
pub(super) async fn page(
    client: &ClientWrapper,
    query: &Query,
    budget: Budget,
    left_out: &LeftOut,
) -> Result<Page, Error> {
    let deadline = Instant::now() + budget.time;
    let Some((floor, mut below)) = bounds(client, query).await? else {
        return Ok(Page { entries: Vec::new(), next: None });
    };
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let mut window = Window::new(&query.filter, budget);
    while below > floor {
        let bottom = below.saturating_sub(window.size()).max(floor);
        let room = (query.limit - entries.len(), budget.bytes - bytes);
        let rows =
            window.timed(search(client, &query.filter, bottom..below, Order::NewestFirst, room)).await?;
        let found: usize = rows.iter().map(row::payload_bytes).sum();
        for row in &rows {
            match row::raw(row).and_then(|raw| raw.entry()) {
                Ok(entry) => entries.push(entry),
                Err(unreadable) => left_out.note(&unreadable),
            }
        }
        let cut = rows.len() == room.0 || found >= room.1;
        below = rows.last().filter(|_| cut).map_or(bottom, row::sequence);
        bytes += found;
        if entries.len() >= query.limit || bytes >= budget.bytes || Instant::now() >= deadline {
            break;
        }
    }
    Ok(Page { entries, next: (below > floor).then(|| Cursor::after(below)) })
}

/// How many numbers a statement searches.
#[derive(Debug)]
pub(super) struct Window {
    size: i64,
    most: i64,
}

impl Window {
    /// How long a statement may take that is followed by one of twice its size.
    const QUICK: std::time::Duration = std::time::Duration::from_millis(20);

    pub(super) fn new(filter: &Filter, budget: Budget) -> Self {
        let size = if filter.contains.is_some() { TEXT_WINDOW.min(budget.window) } else { budget.window };
        Window { size, most: budget.window }
    }

    pub(super) const fn size(&self) -> i64 {
        self.size
    }

    /// Makes the next one larger if a search was quick.
    pub(super) async fn timed<T>(&mut self, search: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let found = search.await;
        if begun.elapsed() <= Window::QUICK {
            self.size = (self.size * 2).min(self.most);
        }
        found
    }
}

/// In which order a search goes, and where it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    NewestFirst,
    OldestFirst,
}

/// Those of some numbers that meet a filter: so many entries at most, and so many bytes of name and data, with the one
/// that exceeds them.
pub(super) async fn search(
    client: &ClientWrapper,
    filter: &Filter,
    numbers: Range<i64>,
    order: Order,
    (entries, bytes): (usize, usize),
) -> Result<Vec<Row>, Error> {
    let direction = match order {
        Order::NewestFirst => "DESC",
        Order::OldestFirst => "ASC",
    };
    let statement = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM (
                SELECT *, sum(octet_length(name) + octet_length(data))
                    OVER (ORDER BY seq {direction} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
                FROM entries WHERE seq >= $1 AND seq < $2 AND {CONDITIONS}
                ORDER BY seq {direction} LIMIT $7
            ) AS found WHERE coalesce(before, 0) < $8 ORDER BY seq {direction}"
        ))
        .await?;
    let level = filter.level.map(|level| level.as_str());
    let transport = filter.transport.map(|transport| transport.as_str());
    let (entries, bytes) = (entries as i64, bytes as i64);
    client
        .query(
            &statement,
            &[
                &numbers.start,
                &numbers.end,
                &filter.name,
                &level,
                &transport,
                &filter.contains,
                &entries,
                &bytes,
            ],
        )
        .await
}

/// The lowest number to look at, and the one to begin below; `None` in an empty store.
async fn bounds(client: &ClientWrapper, query: &Query) -> Result<Option<(i64, i64)>, Error> {
    let Some((first, last)) = ends(client).await? else { return Ok(None) };
    let mut floor = first;
    let mut below = last + 1;
    if let Some(cursor) = query.cursor {
        below = below.min(cursor.sequence());
    }
    if let Some(until) = query.filter.until {
        below = below.min(first_stored_at(client, until, first, last).await?);
    }
    if let Some(since) = query.filter.since {
        floor = first_stored_at(client, since, first, last).await?;
    }
    Ok(Some((floor, below)))
}

/// The lowest and the highest number.
pub(super) async fn ends(client: &ClientWrapper) -> Result<Option<(i64, i64)>, Error> {
    let statement = client.prepare_cached("SELECT min(seq), max(seq) FROM entries").await?;
    let row = client.query_one(&statement, &[]).await?;
    let (first, last): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(first.zip(last))
}

/// The number of the first entry that was stored at a time or later; the one behind the last if there is none.
pub(super) async fn first_stored_at(
    client: &ClientWrapper,
    time: Time,
    first: i64,
    last: i64,
) -> Result<i64, Error> {
    let mut halving = Halving::new(time, first, last);
    while let Some(middle) = halving.middle() {
        halving.seen(middle, first_trusted(client, middle).await?);
    }
    Ok(halving.found())
}

/// The first row from a number on that can be trusted, and when it was stored.
async fn first_trusted(client: &ClientWrapper, from: i64) -> Result<Option<(i64, Time)>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM entries WHERE seq >= $1 ORDER BY seq LIMIT $2");
    let statement = client.prepare_cached(&sql).await?;
    // Nearly always the first is one.
    for limit in [1, i64::from(ALTERED)] {
        let rows = client.query(&statement, &[&from, &limit]).await?;
        let trusted =
            |row: &Row| Some((row::sequence(row), row::raw(row).and_then(|raw| raw.stored_at()).ok()?));
        if let Some(found) = rows.iter().find_map(trusted) {
            return Ok(Some(found));
        }
        if rows.len() < limit as usize {
            break;
        }
    }
    Ok(None)
}
