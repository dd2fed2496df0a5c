//! Deletes expired entries, oldest first, in steps short enough for a write to wait for. One logger at a time does.

use proto::Time;

use super::{
    cause::Cause,
    row::{self, COLUMNS, ROW_BYTES},
    session::Session,
};
use crate::store::{
    keeper::{Deleted, Done},
    reading::ALTERED,
};

/// Of the advisory lock of the logger that deletes: "deleting" in ASCII.
pub(super) const LOCK: i64 = 0x6465_6c65_7469_6e67;

/// Entries that one step deletes at most: more than a group has, so it keeps up with it.
const STEP: i64 = 1_000;

/// Bytes of name and data after which a step ends.
const STEP_BYTES: i64 = 16 * 1024 * 1024;

/// What is counted out of the number of bytes in the transaction that deletes.
const DELETE: &str = "
    WITH gone AS (
        DELETE FROM entries WHERE seq <= $1 RETURNING octet_length(name) + octet_length(data) + $2::bigint AS bytes
    ), counted AS (SELECT count(*) AS entries, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone)
    UPDATE counter SET bytes = greatest(counter.bytes - counted.bytes, 0) FROM counted RETURNING counted.entries";

/// The oldest entry that can be trusted, and when it was stored; `None` in a store without one.
pub(super) async fn oldest(session: &Session) -> Result<Option<(i64, Time)>, Cause> {
    for limit in [1, i64::from(ALTERED)] {
        let sql = format!("SELECT {COLUMNS} FROM entries ORDER BY seq LIMIT {limit}");
        let rows = session.client.query(&sql, &[]).await?;
        for row in &rows {
            if let Ok(stored_at) = row::raw(row).and_then(|raw| raw.stored_at()) {
                return Ok(Some((row::sequence(row), stored_at)));
            }
        }
    }
    Ok(None)
}

/// One step. Entries stored before `horizon` go, and the oldest while all take more than `max_bytes`. Those before the
/// `oldest` that can be trusted go with it: a time that was altered must not keep them forever.
pub(super) async fn step(
    session: &Session,
    horizon: Option<Time>,
    max_bytes: Option<i64>,
    oldest: Option<i64>,
) -> Result<Done, Cause> {
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
    session.client.batch_execute(begin).await?;
    let Some(doomed) = find_doomed(session, horizon, max_bytes, oldest).await? else {
        session.client.batch_execute("ROLLBACK").await?;
        return Ok(Done::default());
    };
    let Session { client, statements, .. } = session;
    // It takes its turn before it locks a row: those who write lock rows while the turn is theirs.
    let (turn, gone, finished, committed) = tokio::join! {
        biased;
        client.query_one(&statements.take_turn, &[]),
        async { client.query_one(DELETE, &[&doomed.last, &ROW_BYTES]).await },
        client.execute(&statements.finish, &[&""]),
        client.batch_execute("COMMIT"),
    };
    turn?;
    let gone: i64 = gone?.try_get(0)?;
    finished?;
    committed?;
    let entries = u64::try_from(gone).unwrap_or_default();
    let deleted = Deleted { entries, from_us: doomed.from_us, to_us: doomed.to_us };
    Ok(Done { more: doomed.more, deleted: Some(deleted) })
}

/// The entries that a step deletes.
struct Doomed {
    /// Up to and with this one.
    last: i64,
    /// When the first was stored, and the last.
    from_us: i64,
    to_us: i64,
    /// Whether there are more than one step may delete.
    more: bool,
}

/// What is to go; `None` if nothing is, or another logger is deleting.
async fn find_doomed(
    session: &Session,
    horizon: Option<Time>,
    max_bytes: Option<i64>,
    oldest: Option<i64>,
) -> Result<Option<Doomed>, Cause> {
    let client = &session.client;
    let sql = format!(
        "SELECT seq, stored_at, (octet_length(name) + octet_length(data) + {ROW_BYTES})::bigint FROM entries
         ORDER BY seq LIMIT {STEP}"
    );
    let (alone, used, rows) = tokio::join! {
        biased;
        client.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&LOCK]),
        client.query_one("SELECT bytes FROM counter", &[]),
        client.query(&sql, &[]),
    };
    let (alone, used, rows) = (alone?, used?, rows?);
    if !alone.try_get(0)? {
        return Ok(None);
    }
    let excess_bytes = max_bytes.map_or(i64::MIN, |max_bytes| used.get::<_, i64>(0) - max_bytes);
    let horizon_us = horizon.map_or(i64::MIN, Time::as_microsecond);
    let (mut last, mut from_us, mut freed_bytes, mut entries) = (None, 0, 0, 0);
    for row in &rows {
        let (sequence, stored_at_us, bytes): (i64, i64, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if stored_at_us >= horizon_us && freed_bytes >= excess_bytes {
            if horizon.is_some() && oldest.is_some_and(|oldest| sequence < oldest) {
                continue;
            }
            break;
        }
        if last.is_none() {
            from_us = stored_at_us;
        }
        last = Some((sequence, stored_at_us));
        entries += 1;
        freed_bytes += bytes;
        if freed_bytes >= STEP_BYTES {
            break;
        }
    }
    let more = entries == STEP || freed_bytes >= STEP_BYTES;
    Ok(last.map(|(last, to_us)| Doomed { last, from_us, to_us, more }))
}
