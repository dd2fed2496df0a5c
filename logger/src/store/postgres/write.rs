//! One group, one transaction, two round trips: the first takes the turn and looks at what is there, the second writes
//! what was decided. Each leaves as one.

use std::time::Duration;

use proto::Time;
use tokio::time::timeout;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    cause::Cause,
    row::ROW_BYTES,
    session::Session,
    turn::{self, Plan, Turn},
};
use crate::store::{Answer, Batch, checksum, decide};

/// How long the first may take: others may have the turn for two seconds.
const FIRST: Duration = Duration::from_secs(3);

/// How long the second may take, the commit with its sync included. Then it is looked up.
const SECOND: Duration = Duration::from_secs(4);

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// A group that is committed.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) answers: Vec<Answer>,
    /// The number of the newest entry.
    pub(super) last: i64,
}

/// A group that is not.
#[derive(Debug)]
pub(super) enum Broken {
    /// Certainly not stored.
    NotStored(Cause),
    /// The commit is on its way, and nothing was heard of it.
    AtCommit {
        /// Why.
        cause: Cause,
        /// What the group is answered with if it was committed.
        then: Committed,
        /// What shows whether it was.
        witness: Witness,
    },
}

/// What shows whether a transaction was committed: it is all or none, so one row of it is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Witness {
    /// This entry has this number.
    Stored {
        /// Its id.
        id: Uuid,
        /// The number.
        sequence: i64,
    },
    /// This entry has come so often.
    Counted {
        /// Its id.
        id: Uuid,
        /// That often, or more.
        attempts: i64,
    },
    /// It has changed nothing.
    Nothing,
}

/// Commits a group. One without entries is committed and synced too, and changes nothing: so it shows whether one with
/// entries would be.
///
/// # Errors
/// How far it came.
pub(super) async fn commit(session: &Session, group: &[Batch]) -> Result<Committed, Broken> {
    let seen = timeout(FIRST, take_turn(session, group)).await;
    let seen =
        seen.unwrap_or(Err(Cause::Silent("to the look at what is there"))).map_err(Broken::NotStored)?;
    let mut turn = Turn::new(&seen.there).map_err(Broken::NotStored)?;
    let Ok(answers) = decide::decide(&mut turn, group);
    let plan = turn.plan();
    let stored_at = if plan.new.is_empty() { seen.last_stored_at } else { seen.now.max(seen.last_stored_at) };
    let last = seen.last + plan.new.len() as i64;
    let witness = match (plan.new.first(), plan.again.first()) {
        (Some(new), _) => Witness::Stored { id: new.arrival.entry.id(), sequence: seen.last + 1 },
        (None, Some(again)) => Witness::Counted { id: again.id, attempts: again.attempts },
        (None, None) => Witness::Nothing,
    };
    let then = Committed { answers, last };
    // What was said before is not about this commit.
    session.was_warned();
    let written = timeout(SECOND, write(session, &plan, seen.last, stored_at)).await;
    match written.unwrap_or(Err(Cause::Silent("to the commit"))) {
        Ok(()) if session.was_warned() => Err(Broken::AtCommit { cause: Cause::Warned, then, witness }),
        Ok(()) => Ok(then),
        Err(cause) if cause.is_refusal() => Err(Broken::NotStored(cause)),
        Err(cause) => Err(Broken::AtCommit { cause, then, witness }),
    }
}

/// What was seen when the turn was taken.
struct Seen {
    last: i64,
    last_stored_at: Time,
    now: Time,
    there: Vec<Row>,
}

async fn take_turn(session: &Session, group: &[Batch]) -> Result<Seen, Cause> {
    let Session { client, statements, .. } = session;
    let (ids, bytes) = turn::asked(group);
    // In this order: the look is younger than the turn.
    let (begun, turn, there) = tokio::join! {
        biased;
        client.batch_execute(BEGIN),
        client.query_one(&statements.take_turn, &[]),
        async { client.query(&statements.look, &[&ids, &bytes]).await },
    };
    let seen = begun.and_then(|()| Ok((turn?, there?)));
    let (turn, there) = match seen {
        Ok(seen) => seen,
        Err(error) => {
            let cause = Cause::from(error);
            if cause.is_refusal() {
                // The turn is given back, if it was taken.
                client.batch_execute("ROLLBACK").await?;
            }
            return Err(cause);
        }
    };
    let time = |us: i64| Time::from_microsecond(us).unwrap_or(Time::MAX);
    let now = there.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    Ok(Seen { last: turn.try_get(0)?, last_stored_at: time(turn.try_get(1)?), now: time(now), there })
}

async fn write(session: &Session, plan: &Plan<'_>, last: i64, stored_at: Time) -> Result<(), Cause> {
    let Session { client, statements, .. } = session;
    let stored_at_us = stored_at.as_microsecond();
    let new_last = last + plan.new.len() as i64;
    let bytes: i64 = plan.new.iter().map(|new| ROW_BYTES + new.arrival.entry.payload_bytes() as i64).sum();
    let insert = async {
        if plan.new.is_empty() {
            return Ok(0);
        }
        let Columns { seq, id, name, level, transport, created_at, attempts, data, checksum } =
            Columns::of(plan, last, stored_at_us);
        client
            .execute(
                &statements.insert,
                &[
                    &seq,
                    &id,
                    &name,
                    &level,
                    &transport,
                    &created_at,
                    &attempts,
                    &data,
                    &checksum,
                    &stored_at_us,
                ],
            )
            .await
    };
    let count_again = async {
        if plan.again.is_empty() {
            return Ok(0);
        }
        let (ids, more): (Vec<Uuid>, Vec<i64>) =
            plan.again.iter().map(|again| (again.id, again.more)).unzip();
        client.execute(&statements.count_again, &[&ids, &more]).await
    };
    let news = new_last.to_string();
    let (inserted, counted, advanced, finished, committed) = tokio::join! {
        biased;
        insert,
        count_again,
        async { client.execute(&statements.advance, &[&new_last, &stored_at_us, &bytes]).await },
        async { client.execute(&statements.finish, &[&news]).await },
        client.batch_execute("COMMIT"),
    };
    // After one that was refused, the COMMIT has rolled back.
    let (inserted, counted) = (inserted?, counted?);
    advanced?;
    finished?;
    committed?;
    debug_assert_eq!((inserted, counted), (plan.new.len() as u64, plan.again.len() as u64));
    Ok(())
}

/// Whether a transaction was committed of which nothing was heard. It takes the turn first, which the lost one holds
/// until it has ended; and it writes, so that what it has seen is at the standby when it is answered.
///
/// # Errors
/// Why it cannot be told.
pub(super) async fn look_up(session: &Session, witness: Witness) -> Result<bool, Cause> {
    let Session { client, statements, .. } = session;
    let id = match witness {
        Witness::Stored { id, .. } | Witness::Counted { id, .. } => id,
        Witness::Nothing => Uuid::nil(),
    };
    session.was_warned();
    let nothing_new = String::new();
    let (begun, turn, found, touched, finished, committed) = tokio::join! {
        biased;
        client.batch_execute(BEGIN),
        client.query_one(&statements.take_turn, &[]),
        async { client.query_opt(&statements.witness, &[&id]).await },
        client.execute(&statements.touch, &[]),
        async { client.execute(&statements.finish, &[&nothing_new]).await },
        client.batch_execute("COMMIT"),
    };
    begun?;
    turn?;
    let found = found?;
    touched?;
    finished?;
    committed?;
    if session.was_warned() {
        return Err(Cause::Warned);
    }
    let found = found.map(|row| Ok::<(i64, i64), Cause>((row.try_get(0)?, row.try_get(1)?))).transpose()?;
    Ok(match (witness, found) {
        (Witness::Stored { sequence, .. }, Some((found, _))) => found == sequence,
        (Witness::Counted { attempts, .. }, Some((_, found))) => found >= attempts,
        (Witness::Nothing, _) => true,
        (Witness::Stored { .. } | Witness::Counted { .. }, None) => false,
    })
}

/// New rows, column by column.
#[derive(Default)]
struct Columns<'a> {
    seq: Vec<i64>,
    id: Vec<Uuid>,
    name: Vec<&'a str>,
    level: Vec<&'static str>,
    transport: Vec<&'static str>,
    created_at: Vec<i64>,
    attempts: Vec<i64>,
    data: Vec<&'a str>,
    checksum: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn of(plan: &Plan<'a>, last: i64, stored_at_us: i64) -> Self {
        let mut columns = Columns::default();
        for (sequence, new) in (last + 1..).zip(&plan.new) {
            let entry = &new.arrival.entry;
            columns.seq.push(sequence);
            columns.id.push(entry.id());
            columns.name.push(entry.name());
            columns.level.push(entry.level().as_str());
            columns.transport.push(new.arrival.came_by.as_str());
            columns.created_at.push(entry.created_at().as_microsecond());
            columns.attempts.push(new.attempts);
            columns.data.push(entry.data());
            columns.checksum.push(i64::from(checksum::of_arrival(new.arrival, stored_at_us)));
        }
        columns
    }
}
