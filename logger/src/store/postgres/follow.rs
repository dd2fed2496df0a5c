//! What was stored after a cursor, oldest first: how a tail reads.

use deadpool_postgres::ClientWrapper;
use proto::{Cursor, TailQuery};
use tokio_postgres::Error;

use super::{
    page::{self, Order, Window},
    row,
};
use crate::store::{
    Followed,
    reading::{Budget, Found, not_too_far_behind},
    row::LeftOut,
};

/// Where a tail begins; `None` if it is to go on after an entry that is not there yet.
pub(super) async fn begin(client: &ClientWrapper, query: &TailQuery) -> Result<Option<Cursor>, Error> {
    let last = last_given(client).await?;
    if let Some(after) = query.after {
        return Ok((after.sequence() <= last).then_some(after));
    }
    let since = match query.filter.since {
        Some(since) => page::ends(client).await?.map(|ends| (since, ends)),
        None => None,
    };
    let sequence = match since {
        Some((since, (first, last))) => page::first_stored_at(client, since, first, last).await? - 1,
        None => last,
    };
    Ok(Some(Cursor::after(sequence)))
}

/// What was stored after `after`.
pub(super) async fn follow(
    client: &ClientWrapper,
    query: &TailQuery,
    after: Cursor,
    budget: Budget,
    left_out: &LeftOut,
) -> Result<Followed, Error> {
    let last = last_given(client).await?;
    let first = page::ends(client).await?.map_or(last + 1, |(first, _)| first);
    let begin = not_too_far_behind(after.sequence(), first, last, query.max_lag);
    let missed = u64::try_from(begin - after.sequence()).unwrap_or_default();
    let mut found = Found::new(begin, budget, left_out);
    let mut window = Window::new(&query.filter, budget);
    while found.reached < last && !found.is_full() {
        let top = found.reached.saturating_add(window.size()).min(last);
        let numbers = found.reached + 1..top + 1;
        let room = found.room();
        let rows =
            window.timed(page::search(client, &query.filter, numbers, Order::OldestFirst, room)).await?;
        let bytes: usize = rows.iter().map(row::payload_bytes).sum();
        let cut = rows.len() == room.0 || bytes >= room.1;
        for row in &rows {
            // The statement has looked for the text.
            found.take(row::sequence(row), &query.filter, || true, || row::raw(row));
            if found.is_full() {
                return Ok(found.followed(missed, last));
            }
        }
        if !cut {
            found.reached = top;
        }
    }
    Ok(found.followed(missed, last))
}

/// The highest number that was ever given; 0 in a store that never had an entry.
async fn last_given(client: &ClientWrapper) -> Result<i64, Error> {
    let statement = client.prepare_cached("SELECT last FROM counter").await?;
    client.query_one(&statement, &[]).await?.try_get(0)
}
