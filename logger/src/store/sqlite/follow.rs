//! What was stored after a cursor, oldest first: how a tail reads.
//!
//! It reads the store and is not fed by the writer, so there is no gap between what was stored before and what
//! follows, and the writer does not know who reads.

use std::time::Instant;

use proto::{Cursor, Filter, TailQuery};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{
    page::{self, Budget, CONDITIONS},
    row::{self, COLUMNS, LeftOut, Unreadable},
};
use crate::store::Followed;

/// Maximum entries at a time.
const ENTRIES: usize = 512;

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
    let mut found = Found::new(budget, left_out);
    let last = last_given(connection)?;
    let first = page::ends(connection)?.map_or(last + 1, |(first, _)| first);
    let begin = not_too_far_behind(after.sequence(), first, last, query.max_lag);
    let missed = u64::try_from(begin - after.sequence()).unwrap_or_default();
    found.reached = begin;
    while found.reached < last && !found.is_full() && !found.ended {
        let top = found.reached.saturating_add(budget.window).min(last);
        found.search(connection, query, top)?;
    }
    Ok(Followed {
        missed,
        entries: found.entries,
        reached: Cursor::after(found.reached),
        more: found.reached < last,
        ended: found.ended,
    })
}

/// Where to begin: behind what is no longer there, and what is further behind than the reader wants.
fn not_too_far_behind(after: i64, first: i64, last: i64, max_lag: Option<u64>) -> i64 {
    let max_lag = max_lag.map_or(i64::MAX, |max_lag| i64::try_from(max_lag).unwrap_or(i64::MAX));
    after.max(first - 1).max(last.saturating_sub(max_lag))
}

struct Found<'a> {
    entries: Vec<(proto::StoredEntry, Cursor)>,
    bytes: usize,
    reached: i64,
    ended: bool,
    max_bytes: usize,
    deadline: Instant,
    left_out: &'a LeftOut,
}

impl<'a> Found<'a> {
    fn new(budget: Budget, left_out: &'a LeftOut) -> Self {
        Found {
            entries: Vec::new(),
            bytes: 0,
            reached: 0,
            ended: false,
            max_bytes: budget.bytes,
            deadline: Instant::now() + budget.time,
            left_out,
        }
    }

    /// Whether there is enough, or the time is up.
    fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES || self.bytes >= self.max_bytes || Instant::now() >= self.deadline
    }

    /// Searches from behind what is reached up to `top`, unless it is full before that.
    fn search(&mut self, connection: &Connection, query: &TailQuery, top: i64) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM entries WHERE seq > :after AND seq <= :top AND {CONDITIONS} ORDER BY seq"
        ))?;
        let filter = &query.filter;
        let mut rows = statement.query(named_params! {
            ":after": self.reached,
            ":top": top,
            ":name": filter.name,
            ":level": filter.level.map(|level| level.as_str()),
            ":transport": filter.transport.map(|transport| transport.as_str()),
        })?;
        while let Some(row) = rows.next()? {
            let sequence: i64 = row.get("seq")?;
            // A time that was altered must not end the tail.
            match stored(row, filter) {
                Ok(Stored::TooLate) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(Stored::InTime) if page::has_text(row, filter) => match row::read(row) {
                    Ok(entry) => {
                        self.bytes += entry.name.len() + entry.data.len();
                        self.entries.push((entry, Cursor::after(sequence)));
                    }
                    Err(unreadable) => self.left_out.note(&unreadable),
                },
                Ok(Stored::InTime | Stored::TooEarly) => {}
                Err(unreadable) => self.left_out.note(&unreadable),
            }
            self.reached = sequence;
            if self.is_full() {
                return Ok(());
            }
        }
        self.reached = top;
        Ok(())
    }
}

/// When an entry was stored, by the times that are asked for.
enum Stored {
    TooEarly,
    InTime,
    TooLate,
}

fn stored(row: &Row<'_>, filter: &Filter) -> Result<Stored, Unreadable> {
    if filter.since.is_none() && filter.until.is_none() {
        return Ok(Stored::InTime);
    }
    let stored_at = row::stored_at(row)?;
    Ok(match (filter.since, filter.until) {
        (_, Some(until)) if stored_at >= until => Stored::TooLate,
        (Some(since), _) if stored_at < since => Stored::TooEarly,
        (_, _) => Stored::InTime,
    })
}

/// The highest number that was ever given; 0 in a store that never had an entry.
fn last_given(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement =
        connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'entries'")?;
    Ok(statement.query_row([], |row| row.get(0)).optional()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_begins_behind_what_is_deleted_and_what_is_too_far_behind() {
        for (after, first, last, max_lag, begin) in [
            (0, 1, 10, None, 0),
            (3, 1, 10, None, 3),
            (3, 6, 10, None, 5),
            (3, 1, 10, Some(4), 6),
            (3, 9, 10, Some(4), 8),
            (8, 1, 10, Some(4), 8),
            (10, 1, 10, Some(1), 10),
            (10, 11, 10, None, 10),
            (4, 11, 10, None, 10),
            (3, 1, 10, Some(u64::MAX), 3),
        ] {
            assert_eq!(not_too_far_behind(after, first, last, max_lag), begin, "{after} {first} {last}");
        }
    }
}
