//! `rpc`: tarpc over TCP, many calls at a time on a few kept connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
use tokio::{
    sync::{OnceCell, watch},
    task::JoinSet,
};

pub use crate::address::RpcAddr;
use crate::{
    HANDSHAKE_TIMEOUT, Receipts, Settings,
    backoff::Attempts,
    connection::{Connection, NOT_YET},
    dial::Dialer,
    metrics::reconnects,
    receipts::{NoBatchCall, pong},
    tls::Protocol,
    wire::Wire,
};

/// Connections to the logger. Two, so that one large batch does not hold up every other call.
const CONNECTIONS: usize = 2;

/// How often a connection is tried, and how long the answer may take: tarpc has no keepalive of its own.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Who is at the other end, in messages.
const LOGGER: &str = "the logger";

/// One connection's end.
type Client = LogRpcClient<Calls>;

/// The logger, as an open connection has found it.
#[derive(Debug, Clone)]
struct Peer {
    client: Client,
    /// Set once it is known to have a call for batches.
    takes_batches: Arc<OnceCell<()>>,
}

/// The client.
#[derive(Debug)]
pub struct Rpc {
    connections: Vec<watch::Receiver<Connection<Peer>>>,
    dialer: Dialer,
    address: RpcAddr,
    turn: AtomicUsize,
    deadline: Duration,
    came_by: Option<Transport>,
    wire: Arc<Wire>,
    _supervisors: JoinSet<()>,
}

impl Rpc {
    /// Makes the client; it dials in the background, again and again.
    pub fn new(settings: &Settings) -> Self {
        let mut supervisors = JoinSet::new();
        let wire = Arc::default();
        let dialer = Dialer::new(settings.tls.as_ref(), Protocol::Rpc).counting(&wire);
        let connections = (0..CONNECTIONS)
            .map(|_| {
                let (publish, connection) = watch::channel(Connection::Connecting);
                let address = settings.endpoints.logger_rpc_addr.clone();
                supervisors.spawn(keep_connected(dialer.clone(), address, publish, Arc::clone(&wire)));
                connection
            })
            .collect();
        Rpc {
            connections,
            dialer,
            address: settings.endpoints.logger_rpc_addr.clone(),
            turn: AtomicUsize::new(0),
            deadline: settings.deadline,
            came_by: settings.came_by,
            wire,
            _supervisors: supervisors,
        }
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
        self.connections.iter().any(|connection| connection.borrow().is_up())
    }

    /// What passes on its connections.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Waits until each connection is there, or could not be made at the first attempt.
    pub async fn tried(&self) {
        for connection in &self.connections {
            // Without its supervisor, which ends with this client alone, there would be no more attempts.
            let _ = connection.clone().wait_for(Connection::was_tried).await;
        }
    }

    async fn write_one(&self, entry: &LogEntry, until: Instant) -> Result<Receipt, Failure> {
        let Peer { client, .. } = self.connection()?;
        client.write(in_trace(until), self.draft(entry)).await.map_err(failure)?
    }

    async fn write_many(
        &self,
        entries: &[LogEntry],
        mode: BatchMode,
        until: Instant,
    ) -> Result<BatchReceipt, Failure> {
        let Peer { client, takes_batches } = self.connection()?;
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
            let Ok((client, _dispatch)) = dial(&self.dialer, &self.address).await else { return true };
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

    /// The next connection in turn that is open.
    fn connection(&self) -> Result<Peer, Failure> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut lost = None;
        for offset in 0..CONNECTIONS {
            match &*self.connections[turn.wrapping_add(offset) % CONNECTIONS].borrow() {
                Connection::Up(peer) => return Ok(peer.clone()),
                Connection::Down(reason) => lost = Some(reason.clone()),
                Connection::Connecting => {}
            }
        }
        Err(Failure::unreachable(LOGGER).because(lost.unwrap_or_else(|| NOT_YET.to_owned())))
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

/// Dials, publishes the connection, waits until it is lost, and begins again: tarpc does not reconnect.
async fn keep_connected(
    dialer: Dialer,
    address: RpcAddr,
    publish: watch::Sender<Connection<Peer>>,
    wire: Arc<Wire>,
) {
    let mut attempts = Attempts::new(LOGGER, reconnects(Transport::Rpc));
    loop {
        let reason = match dial(&dialer, &address).await {
            Ok((client, dispatch)) => {
                attempts.succeeded();
                let peer = Peer { client: client.clone(), takes_batches: Arc::default() };
                publish.send_modify(|connection| *connection = Connection::Up(peer));
                lost(client, dispatch, &wire).await
            }
            Err(reason) => reason,
        };
        publish.send_modify(|connection| *connection = Connection::Down(reason.clone()));
        tokio::time::sleep(attempts.failed(&reason)).await;
    }
}

/// What drives a connection; it ends when the connection does.
type Dispatch = JoinSet<String>;

async fn dial(dialer: &Dialer, address: &RpcAddr) -> Result<(Client, Dispatch), String> {
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
        Ok(Ok(VERSION)) => Ok((client, driver)),
        Ok(Ok(other)) => {
            Err(format!("the logger speaks version {other}, not {VERSION}: use the same release of both"))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it took too long to say its version".to_owned()),
    }
}

/// Waits until the connection ends, or stays silent for too long; says why.
async fn lost(client: Client, mut dispatch: Dispatch, wire: &Wire) -> String {
    let silent = async {
        loop {
            tokio::time::sleep(KEEPALIVE_INTERVAL).await;
            // Its bytes are nobody else's.
            let _call = wire.call();
            let answer = client.version(within(KEEPALIVE_TIMEOUT));
            if !matches!(tokio::time::timeout(KEEPALIVE_TIMEOUT, answer).await, Ok(Ok(_))) {
                return "no answer to keepalive".to_owned();
            }
        }
    };
    tokio::select! {
        ended = dispatch.join_next() => {
            ended.map_or_else(|| "closed".to_owned(), |ended| ended.unwrap_or_else(|error| error.to_string()))
        }
        reason = silent => reason,
    }
}

fn within(timeout: Duration) -> Context {
    let mut context = Context::current();
    context.deadline = Instant::now() + timeout;
    context
}
