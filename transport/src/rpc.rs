//! `rpc`: tarpc over TCP, many calls at a time on a few kept connections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gathered::Gathered;
use proto::{
    Batch, BatchMode, BatchReceipt, EntryDraft, Failure, LogEntry, Receipt, Transport,
    limits::IN_FLIGHT_ENTRIES,
    rpc::{Calls, LogRpcClient, VERSION, connect},
};
use tarpc::{
    client::{self, RpcError},
    context::Context,
};
use tokio::{sync::OnceCell, task::JoinSet};

pub use crate::address::RpcAddr;
use crate::{
    HANDSHAKE_TIMEOUT, LOGGER, Receipts, Settings,
    dial::Dialer,
    endpoints::LoggerAddress,
    kept::{Driver, Kept, Peer},
    receipts::{NoBatchCall, pong},
    wire::Wire,
};

/// One connection's end.
type Client = LogRpcClient<Calls>;

/// The logger, as an open connection has found it.
#[derive(Debug, Clone)]
struct Tarpc {
    client: Client,
    /// Set once it is known to have a call for batches.
    takes_batches: Arc<OnceCell<()>>,
}

/// The client.
#[derive(Debug)]
pub struct Rpc {
    kept: Kept<Tarpc>,
    deadline: Duration,
    came_by: Option<Transport>,
}

impl Rpc {
    /// Makes the client; it dials in the background, again and again.
    pub fn new(settings: &Settings) -> Self {
        Self::to(&settings.endpoints.first(), settings, &Arc::default())
    }

    /// The same for a logger of several, whose bytes are counted together.
    pub(crate) fn to(logger: &LoggerAddress, settings: &Settings, wire: &Arc<Wire>) -> Self {
        let kept = Kept::new(logger, settings, wire);
        Rpc { kept, deadline: settings.deadline, came_by: settings.came_by }
    }

    /// Delivers entries: one alone by `write`, more by `write_batch`.
    ///
    /// # Errors
    /// What is certain of all of them.
    pub async fn write(&self, batch: &Batch<LogEntry>, mode: BatchMode) -> Result<Receipts, Failure> {
        self.write_until(batch, mode, self.deadline()).await
    }

    /// The same for a caller that waits until then: the logger is told.
    pub(crate) async fn write_until(
        &self,
        batch: &Batch<LogEntry>,
        mode: BatchMode,
        until: tokio::time::Instant,
    ) -> Result<Receipts, Failure> {
        match batch.as_one() {
            Some(entry) => Receipts::of_one(self.write_one(entry, until.into_std()).await, mode),
            None => Receipts::of_many(self.write_many(batch, mode, until.into_std()).await?, batch, LOGGER),
        }
    }

    /// Asks the logger whether it could store an entry now.
    ///
    /// # Errors
    /// What an entry would be refused with.
    pub async fn ping(&self) -> Result<(), Failure> {
        pong(self.write_many(&[], BatchMode::Each, self.deadline().into_std()).await)
    }

    /// Whether there is a connection to the logger.
    pub fn reachable(&self) -> bool {
        self.kept.reachable()
    }

    /// Waits until each connection is there, or could not be made at the first attempt.
    pub async fn tried(&self) {
        self.kept.tried().await;
    }

    async fn write_one(&self, entry: &LogEntry, until: Instant) -> Result<Receipt, Failure> {
        let Tarpc { client, .. } = self.kept.next()?;
        client.write(in_trace(until), self.draft(entry)).await.map_err(failure)?
    }

    async fn write_many(
        &self,
        entries: &[LogEntry],
        mode: BatchMode,
        until: Instant,
    ) -> Result<BatchReceipt, Failure> {
        let Tarpc { client, takes_batches } = self.kept.next()?;
        takes_batches.get_or_try_init(|| self.ask_for_batches()).await?;
        let drafts = entries.iter().map(|entry| self.draft(entry)).collect();
        client.write_batch(in_trace(until), drafts, mode).await.map_err(failure)?
    }

    /// Finds out whether the logger has a call for batches. tarpc has no answer to a call that is not known: the
    /// connection ends, and with it whatever else is under way on it. So it is asked on a connection of its own, with a
    /// batch without entries, before the first batch is sent on another.
    async fn ask_for_batches(&self) -> Result<(), Failure> {
        let asked = async {
            // Whether it can be reached shows on the other connections.
            let Ok((Tarpc { client, .. }, _driver)) = self.kept.another().await else { return true };
            let none = std::iter::empty().collect();
            let answer = client.write_batch(within(HANDSHAKE_TIMEOUT), none, BatchMode::Each);
            !matches!(answer.await, Err(RpcError::Shutdown | RpcError::Channel(_)))
        };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, asked).await {
            Ok(false) => Err(NoBatchCall::of(LOGGER)),
            Ok(true) | Err(_) => Ok(()),
        }
    }

    fn deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.deadline
    }

    fn draft(&self, entry: &LogEntry) -> EntryDraft {
        let transport = self.came_by.map(|transport| transport.as_str().to_owned());
        EntryDraft { transport, ..EntryDraft::from(entry) }
    }
}

/// The context of a call that is made in the current span.
fn in_trace(until: Instant) -> Context {
    let mut context = Context::current();
    context.deadline = until;
    context.trace_context = spans::with_current(|span| span.into());
    context
}

/// What an error of the protocol says of the entry. tarpc does not tell whether the request had been sent.
fn failure(error: RpcError) -> Failure {
    Failure::unknown(LOGGER).because(error)
}

impl Peer for Tarpc {
    async fn dial(dialer: &Dialer, address: &RpcAddr) -> Result<(Self, Driver), String> {
        let stream = dialer
            .dial(&address.host, address.port, address.is_encrypted())
            .await
            .map_err(|error| error.to_string())?;
        let mut config = client::Config::default();
        // Admission has counted before: a second, lower limit would hold calls up where no deadline sees them.
        config.max_in_flight_requests = IN_FLIGHT_ENTRIES;
        config.pending_request_buffer = IN_FLIGHT_ENTRIES;
        let (client, dispatch) = connect(config, Gathered::new(stream));
        let mut driver = JoinSet::new();
        driver.spawn(async move { dispatch.await.err().map_or("closed".into(), |error| error.to_string()) });
        let version = client.version(within(HANDSHAKE_TIMEOUT));
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, version).await {
            Ok(Ok(VERSION)) => Ok((Tarpc { client, takes_batches: Arc::default() }, driver)),
            Ok(Ok(other)) => {
                Err(format!("the logger speaks version {other}, not {VERSION}: use the same release of both"))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it took too long to say its version".to_owned()),
        }
    }

    async fn is_alive(&self, limit: Duration) -> bool {
        let answer = self.client.version(within(limit));
        matches!(tokio::time::timeout(limit, answer).await, Ok(Ok(_)))
    }
}

fn within(timeout: Duration) -> Context {
    let mut context = Context::current();
    context.deadline = Instant::now() + timeout;
    context
}
