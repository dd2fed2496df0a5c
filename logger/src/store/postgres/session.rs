//! A connection of the writer, with its settings and its statements.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{AsyncMessage, Client, Statement, error::Severity};

use super::{
    cause::Cause,
    prove,
    schema::{self, Schema},
    servers::Servers,
};

/// How long it may take to find the primary and log in, and then to prepare what is needed. A client's deadline is 5 s.
const OPEN: Duration = Duration::from_secs(3);

/// The same at start, when no client waits yet.
const START: Duration = Duration::from_secs(20);

/// For every connection: what a role or a database may have set otherwise.
pub(super) const SETTINGS: &str = "
    -- What is cut off is waited for no longer than this, by those who wait for the turn that it holds.
    SET idle_in_transaction_session_timeout = '3s';
    SET idle_session_timeout = 0;
    -- It would end a commit that waits for its standby, as a cancel does.
    SET client_connection_check_interval = 0;
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout';
    -- What is said unasked is read at a commit: see Session::was_warned.
    SET client_min_messages = warning;
    -- Every statement goes down an index, whatever the statistics of a young table say, and is planned once.
    SET enable_seqscan = off;
    SET enable_bitmapscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;
    SET plan_cache_mode = force_generic_plan;";

/// For the writer's. Neither is in force at a COMMIT: [`FINISH`] sees to it.
const WRITER_SETTINGS: &str = "
    -- How long others may have the turn.
    SET lock_timeout = '2s';
    SET statement_timeout = '3s';
    -- As it was found, and proved, to be: a reload of the server's settings does not change it.
    SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false);";

/// Takes the turn. Others who write wait here for their own.
const TAKE_TURN: &str = "SELECT last, last_stored_at FROM counter FOR UPDATE";

/// The database's clock, which is one for all loggers, and those of some ids that are there. A statement of its own, so
/// that what it sees is younger than the turn. Data that is longer than any that came is not sent: it is other data.
///
/// Each id is looked for by the index, one after the other: OFFSET 0 keeps the planner from turning that round, which
/// it would while the table is small, and the plan stays.
const LOOK: &str = "
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, there.*
    FROM (VALUES (1)) AS once LEFT JOIN (
        SELECT found.*
        FROM unnest($1::uuid[], $2::int[]) AS asked (id, bytes) CROSS JOIN LATERAL (
            SELECT e.id, e.name, e.level, CASE WHEN octet_length(e.data) <= asked.bytes THEN e.data END AS data, e.attempts
            FROM entries AS e WHERE e.id = asked.id OFFSET 0
        ) AS found
    ) AS there ON true";

const INSERT: &str = "
    INSERT INTO entries (seq, id, name, level, transport, created_at, stored_at, attempts, data, checksum)
    SELECT new.seq, new.id, new.name, new.level, new.transport, new.created_at, $10, new.attempts, new.data,
        new.checksum
    FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[],
        $9::bigint[]) AS new (seq, id, name, level, transport, created_at, attempts, data, checksum)";

const COUNT_AGAIN: &str = "
    UPDATE entries SET attempts = attempts + ($2::bigint[])[array_position($1::uuid[], id)]
    WHERE id = ANY ($1::uuid[])";

/// Gives the turn on at the commit. Written by every group, so that a commit that is answered always was one that
/// wrote: the standby has then all that this one has seen.
const ADVANCE: &str = "UPDATE counter SET last = $1, last_stored_at = $2, bytes = bytes + $3";

/// The last statement before a COMMIT, which no timeout may end: what it has done would not be known.
const FINISH: &str = "
    SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true),
        pg_notify('entries', $1)";

/// Whether an entry of a group is there, and so the group.
const WITNESS: &str = "SELECT seq, attempts FROM entries WHERE id = $1";

/// Writes the counter as it is.
const TOUCH: &str = "UPDATE counter SET last = last";

/// The statements of the writer.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) take_turn: Statement,
    pub(super) look: Statement,
    pub(super) insert: Statement,
    pub(super) count_again: Statement,
    pub(super) advance: Statement,
    pub(super) finish: Statement,
    pub(super) witness: Statement,
    pub(super) touch: Statement,
}

/// A connection to a database that keeps our promise. Dropped, it is closed at once, whatever the server does.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) statements: Statements,
    warned: Arc<AtomicBool>,
    _driver: AbortOnDrop,
}

impl Session {
    /// Opens one, and proves that what is committed there is synced. `schema` says whether an older one is brought up
    /// to date.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn open(servers: &Servers, schema: Schema) -> Result<Self, Cause> {
        let warned = Arc::new(AtomicBool::new(false));
        let told = {
            let warned = Arc::clone(&warned);
            move |message| note(&message, &warned)
        };
        let most = match schema {
            Schema::BringUpToDate => START,
            Schema::MustBeThere => OPEN,
        };
        let connected = timeout(most, servers.connect(told)).await;
        let (client, driver) = connected.map_err(|_| Cause::Silent("to a connection"))??;
        let mut session = Opening { client, driver: AbortOnDrop(driver) };
        let prepared = session.prepare(schema);
        let statements = match schema {
            // A large table takes its time to be changed, and so do other loggers that are at it.
            Schema::BringUpToDate => prepared.await,
            Schema::MustBeThere => {
                timeout(OPEN, prepared).await.unwrap_or(Err(Cause::Silent("to its settings")))
            }
        };
        let statements = statements?;
        Ok(Session { client: session.client, statements, warned, _driver: session.driver })
    }

    /// Whether the server has warned of something since this was last asked. At a commit a warning says that it was
    /// cancelled while it waited for a standby: committed here, and perhaps not there.
    pub(super) fn was_warned(&self) -> bool {
        self.warned.swap(false, Ordering::Relaxed)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_closed", &self.client.is_closed()).finish_non_exhaustive()
    }
}

/// A connection that is to become a session.
struct Opening {
    client: Client,
    driver: AbortOnDrop,
}

impl Opening {
    async fn prepare(&mut self, schema: Schema) -> Result<Statements, Cause> {
        let client = &mut self.client;
        client.batch_execute(SETTINGS).await?;
        prove::prove(client).await?;
        schema::look(client, schema).await?;
        client.batch_execute(WRITER_SETTINGS).await?;
        #[cfg(feature = "faults")]
        if crate::faults::Fault::SynchronousOff.is_on() {
            client.batch_execute("SET synchronous_commit = off").await?;
        }
        Statements::prepare(client).await
    }
}

/// Ends a connection's task with its owner.
pub(super) struct AbortOnDrop(pub(super) JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, Cause> {
        Ok(Statements {
            take_turn: client.prepare(TAKE_TURN).await?,
            look: client.prepare(LOOK).await?,
            insert: client.prepare(INSERT).await?,
            count_again: client.prepare(COUNT_AGAIN).await?,
            advance: client.prepare(ADVANCE).await?,
            finish: client.prepare(FINISH).await?,
            witness: client.prepare(WITNESS).await?,
            touch: client.prepare(TOUCH).await?,
        })
    }
}

/// Notes a warning, whatever it says: its words are in the language of the server, and it has no code of its own.
fn note(message: &AsyncMessage, warned: &AtomicBool) {
    let AsyncMessage::Notice(notice) = message else { return };
    if notice.parsed_severity() == Some(Severity::Warning) {
        tracing::warn!(warning = %notice, "the database warns");
        warned.store(true, Ordering::Relaxed);
    }
}
