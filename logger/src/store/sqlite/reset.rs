//! The only way back to correct times of storing after the clock was ahead.

use anyhow::Context;
use proto::Time;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Sqlite, page,
    prune::Step,
    row::{self, COLUMNS, ROW_BYTES},
};
use crate::store::ResetTimes;

/// Of lines that name a row each: the log shows many of them.
const NAMED: &str = concat!(module_path!(), "::named");

/// What is changed in one transaction. What was changed stays so if the next one fails, and the order holds.
const STEP: Step = Step::USUAL;

impl Sqlite {
    pub(super) fn reset(&mut self) -> anyhow::Result<ResetTimes> {
        self.read_the_clock();
        self.await_the_log().map_err(|failure| anyhow::anyhow!(failure.cause()))?;
        let now = self.clock.now();
        let connection = self.connection.as_mut().context("the store is not open")?;
        let mut reset = ResetTimes { now: Some(now), ..ResetTimes::default() };
        let Some((first, last)) = page::ends(connection)? else { return Ok(reset) };
        let later = Time::from_microsecond(now.as_microsecond() + 1).unwrap_or(Time::MAX);
        let mut next = Some(page::first_stored_at(connection, later, first, last)?);
        while let Some(from) = next {
            next = reset.some(connection, from, now)?;
        }
        self.last_stored_at = row::last_stored_at(connection)?.unwrap_or(Time::MIN);
        Ok(reset)
    }
}

impl ResetTimes {
    /// Changes the rows from `from` on, up to [`STEP`] of them. Returns where to go on.
    fn some(&mut self, connection: &mut Connection, from: i64, now: Time) -> anyhow::Result<Option<i64>> {
        let transaction = connection.transaction()?;
        let mut changes = Vec::new();
        let (mut last, mut bytes) = (None, 0);
        {
            let mut statement = transaction.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM entries WHERE seq >= ?1 ORDER BY seq LIMIT ?2"
            ))?;
            let mut rows = statement.query(params![from, STEP.entries])?;
            while let Some(row) = rows.next()? {
                let sequence: i64 = row.get(0)?;
                last = Some(sequence);
                // All of a row is written when its time is.
                bytes += ROW_BYTES + row::payload_bytes(row);
                match row::raw(row).and_then(|raw| raw.with_time(now)) {
                    Ok((before, _)) if before <= now => {}
                    Ok((before, checksum)) => {
                        let (first, _) = self.before.unwrap_or((before, before));
                        self.before = Some((first, before));
                        changes.push((sequence, checksum));
                    }
                    Err(unreadable) => {
                        self.unreadable += 1;
                        let error = &unreadable;
                        tracing::error!(target: NAMED, %error, "an unreadable row is left unchanged");
                    }
                }
                if bytes >= STEP.bytes {
                    break;
                }
            }
        }
        for (sequence, checksum) in &changes {
            let sql = "UPDATE entries SET stored_at = ?2, checksum = ?3 WHERE seq = ?1";
            transaction.prepare_cached(sql)?.execute(params![sequence, now.as_microsecond(), checksum])?;
        }
        let more = "SELECT seq FROM entries WHERE seq > ?1 ORDER BY seq LIMIT 1";
        let more = match last {
            Some(last) => transaction.query_row(more, [last], |row| row.get(0)).optional()?,
            None => None,
        };
        transaction.commit()?;
        self.entries += changes.len() as u64;
        Ok(more)
    }
}
