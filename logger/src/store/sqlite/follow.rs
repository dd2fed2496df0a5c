//! What was stored after a cursor, oldest first: how a tail reads.
//!
//! It reads the store and is not fed by the writer, so there is no gap between what was stored before and what
//! follows, and the writer does not know who reads.

use proto::{Cursor, TailQuery};
use rusqlite::{Connection, OptionalExtension, named_params};

use super::{
    page::{self, CONDITIONS},
    row::{self, COLUMNS},
};
use crate::store::{
    Followed,
    reading::{Budget, Found, not_too_far_behind},
    row::LeftOut,
};

/// Where a tail begins; `None` if it is to go on after an entry that is not there yet.
pub(super) fn begin(connection: &Connection, query: &TailQuery) -> rusqlite::Result<Option<Cursor>> {
    let last = last_given(connection)?;
    if let Some(after) = query.after {
        return Ok((after.sequence() <= last).then_some(after));
    }
    let since = query.filter.since.zip(page::ends(connection)?);
    let sequence = match since {
        Some((since, (first, last))) => page::first_stored_at(connection, since, first, last)? - 1,
        None => last,
    };
    Ok(Some(Cursor::after(sequence)))
}

/// What was stored after `after`.
pub(super) fn follow(
    connection: &Connection,
    query: &TailQuery,
    after: Cursor,
    budget: Budget,
    left_out: &LeftOut,
) -> rusqlite::Result<Followed> {
    let last = last_given(connection)?;
    let first = page::ends(connection)?.map_or(last + 1, |(first, _)| first);
    let begin = not_too_far_behind(after.sequence(), first, last, query.max_lag);
    let missed = u64::try_from(begin - after.sequence()).unwrap_or_default();
    let mut found = Found::new(begin, budget, left_out);
    while found.reached < last && !found.is_full() {
        let top = found.reached.saturating_add(budget.window).min(last);
        search(connection, &mut found, query, top)?;
    }
    Ok(found.followed(missed, last))
}

/// Searches from behind what is reached up to `top`, unless it is full before that.
fn search(
    connection: &Connection,
    found: &mut Found<'_>,
    query: &TailQuery,
    top: i64,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM entries WHERE seq > :after AND seq <= :top AND {CONDITIONS} ORDER BY seq"
    ))?;
    let filter = &query.filter;
    let mut rows = statement.query(named_params! {
        ":after": found.reached,
        ":top": top,
        ":name": filter.name,
        ":level": filter.level.map(|level| level.as_str()),
        ":transport": filter.transport.map(|transport| transport.as_str()),
    })?;
    while let Some(row) = rows.next()? {
        let sequence: i64 = row.get("seq")?;
        found.take(sequence, filter, || page::has_text(row, filter), || row::raw(row));
        if found.is_full() {
            return Ok(());
        }
    }
    found.reached = top;
    Ok(())
}

/// The highest number that was ever given; 0 in a store that never had an entry.
fn last_given(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement =
        connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'entries'")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or_default())
}
