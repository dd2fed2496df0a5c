//! `rpc` to a logger in Go: net/rpc, many calls at a time on a few kept connections, each with one entry.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use proto::{
    Batch, BatchMode, Failure, LogEntry, Outcome, Receipt, Transport,
    limits::{IN_FLIGHT_CALLS, IN_FLIGHT_ENTRIES},
    netrpc::{Ask, Calls, Responses, failure, is_no_such_call},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    HANDSHAKE_TIMEOUT, Receipts, Settings,
    address::RpcAddr,
    backoff::Attempts,
    connection::{Connection, NOT_YET},
    dial::{Dialer, Stream},
    metrics::reconnects,
    receipts::NoBatchCall,
    tls::Protocol,
    wire::Wire,
};

/// Connections to the logger, as over tarpc.
const CONNECTIONS: usize = 2;

/// How often a connection is tried, and how long the answer may take: net/rpc has no keepalive of its own.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// What is read at a time.
const READ_BYTES: usize = 8 * 1024;

/// Calls that are ready go out together, up to about so many bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// Who is at the other end, in messages.
const LOGGER: &str = "the logger";

/// Where its address is.
const SETTING: &str = "LOGGER_RPC_ADDR";

/// The client.
#[derive(Debug)]
pub struct NetRpc {
    connections: Vec<watch::Receiver<Connection<Peer>>>,
    turn: AtomicUsize,
    came_by: Option<Transport>,
    wire: Arc<Wire>,
    _supervisors: JoinSet<()>,
}

/// Where an open connection takes its calls from.
#[derive(Debug, Clone)]
struct Peer(mpsc::Sender<Outgoing>);

/// A call that is to be sent.
#[derive(Debug)]
struct Outgoing {
    question: Question,
    answer: oneshot::Sender<Ending>,
}

#[derive(Debug)]
enum Question {
    Write(Box<LogEntry>, Option<Transport>),
    Ping,
    Alive,
}

/// How a call has ended; none is given where it was sent, and the connection was lost.
#[derive(Debug)]
enum Ending {
    Answered(Result<(), String>),
    NotSent,
}

/// The calls that are sent and not answered, by their numbers.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<u64, oneshot::Sender<Ending>>>);

impl NetRpc {
    /// Makes the client; it dials in the background, again and again.
    pub fn new(settings: &Settings) -> Self {
        let mut supervisors = JoinSet::new();
        let wire = Arc::default();
        let dialer = Dialer::new(settings.tls.as_ref(), Protocol::Rpc).counting(&wire);
        let connections = (0..CONNECTIONS).map(|_| {
            let (publish, connection) = watch::channel(Connection::Connecting);
            let address = settings.endpoints.logger_rpc_addr.clone();
            supervisors.spawn(keep_connected(dialer.clone(), address, publish, Arc::clone(&wire)));
            connection
        });
        NetRpc {
            connections: connections.collect(),
            turn: AtomicUsize::new(0),
            came_by: settings.came_by,
            wire,
            _supervisors: supervisors,
        }
    }

    /// Delivers an entry. There is no call for more.
    ///
    /// # Errors
    /// What is certain of all entries.
    pub async fn write(&self, batch: &Batch<LogEntry>, mode: BatchMode) -> Result<Receipts, Failure> {
        let Some(entry) = batch.as_one() else { return Err(NoBatchCall::of(LOGGER)) };
        let question = Question::Write(Box::new(entry.clone()), self.came_by);
        let answer = self.call(question).await;
        let stored = answer.and_then(|answer| match answer {
            Ok(()) => Ok(Receipt { outcome: Outcome::Stored, store_us: None }),
            Err(text) => Err(failure(&text, LOGGER, SETTING)),
        });
        Receipts::of_one(stored, mode)
    }

    /// Asks the logger whether it could store an entry now. One that cannot be asked is there.
    ///
    /// # Errors
    /// What an entry would be refused with.
    pub async fn ping(&self) -> Result<(), Failure> {
        match self.call(Question::Ping).await? {
            Err(text) if !is_no_such_call(&text) => Err(failure(&text, LOGGER, SETTING)),
            Ok(()) | Err(_) => Ok(()),
        }
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

    /// What was answered: nothing, or the text of an error.
    async fn call(&self, question: Question) -> Result<Result<(), String>, Failure> {
        let not_sent =
            || Failure::unreachable(LOGGER).because("the connection was lost before the call was sent");
        match self.connection()?.ask(question).await {
            Ok(Ending::Answered(answer)) => Ok(answer),
            Ok(Ending::NotSent) => Err(not_sent()),
            Err(_) => Err(Failure::unknown(LOGGER).because("the connection was lost")),
        }
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
}

impl Peer {
    /// # Errors
    /// If the connection is lost after the call was sent.
    async fn ask(&self, question: Question) -> Result<Ending, oneshot::error::RecvError> {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Outgoing { question, answer }).await.is_err() {
            return Ok(Ending::NotSent);
        }
        answered.await
    }

    /// Whether an answer comes in time, whatever it is.
    async fn is_alive(&self, limit: Duration) -> bool {
        let asked = tokio::time::timeout(limit, self.ask(Question::Alive));
        matches!(asked.await, Ok(Ok(Ending::Answered(_))))
    }
}

impl Waiting {
    fn add(&self, number: u64, answer: oneshot::Sender<Ending>) {
        let mut waiting = self.lock();
        if waiting.len() >= IN_FLIGHT_ENTRIES {
            // Those of callers that wait no longer, and of a logger that answers other calls alone.
            waiting.retain(|_, answer| !answer.is_closed());
        }
        waiting.insert(number, answer);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Ending>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dials, publishes the connection, waits until it is lost, and begins again.
async fn keep_connected(
    dialer: Dialer,
    address: RpcAddr,
    publish: watch::Sender<Connection<Peer>>,
    wire: Arc<Wire>,
) {
    let mut attempts = Attempts::new(LOGGER, reconnects(Transport::Rpc));
    loop {
        let reason = match dial(&dialer, &address).await {
            Ok((peer, driver)) => {
                attempts.succeeded();
                publish.send_modify(|connection| *connection = Connection::Up(peer.clone()));
                lost(peer, driver, &wire).await
            }
            Err(reason) => reason,
        };
        publish.send_modify(|connection| *connection = Connection::Down(reason.clone()));
        tokio::time::sleep(attempts.failed(&reason)).await;
    }
}

/// What drives a connection; it ends when the connection does, with the reason.
type Driver = JoinSet<String>;

async fn dial(dialer: &Dialer, address: &RpcAddr) -> Result<(Peer, Driver), String> {
    let stream = dialer
        .dial(&address.host, address.port, address.is_encrypted())
        .await
        .map_err(|error| error.to_string())?;
    let (calls, queue) = mpsc::channel(IN_FLIGHT_CALLS);
    let mut driver = JoinSet::new();
    driver.spawn(drive(stream, queue));
    let peer = Peer(calls);
    if peer.is_alive(HANDSHAKE_TIMEOUT).await {
        return Ok((peer, driver));
    }
    // It may have said why; if it is silent, it will not.
    let ended = tokio::time::timeout(Duration::from_millis(100), driver.join_next()).await.ok().flatten();
    let reason =
        ended.map_or_else(|| "no answer".to_owned(), |ended| ended.unwrap_or_else(|error| error.to_string()));
    Err(format!("{reason}: is there a server of Go's net/rpc at LOGGER_RPC_ADDR?"))
}

/// Waits until the connection ends, or stays silent for too long; says why.
async fn lost(peer: Peer, mut driver: Driver, wire: &Wire) -> String {
    let silent = async {
        loop {
            tokio::time::sleep(KEEPALIVE_INTERVAL).await;
            // Its bytes are nobody else's.
            let _call = wire.call();
            if !peer.is_alive(KEEPALIVE_TIMEOUT).await {
                return "no answer to keepalive".to_owned();
            }
        }
    };
    tokio::select! {
        ended = driver.join_next() => {
            ended.map_or_else(|| "closed".to_owned(), |ended| ended.unwrap_or_else(|error| error.to_string()))
        }
        reason = silent => reason,
    }
}

/// Sends calls and reads answers until the connection is lost; says why.
async fn drive(stream: Stream, mut calls: mpsc::Receiver<Outgoing>) -> String {
    let (reader, writer) = tokio::io::split(stream);
    let waiting = Waiting::default();
    let reason = tokio::select! {
        reason = read_answers(reader, &waiting) => reason,
        reason = write_calls(writer, &mut calls, &waiting) => reason,
    };
    calls.close();
    while let Ok(Outgoing { answer, .. }) = calls.try_recv() {
        let _ = answer.send(Ending::NotSent);
    }
    reason
}

async fn write_calls(
    mut writer: impl AsyncWrite + Unpin,
    calls: &mut mpsc::Receiver<Outgoing>,
    waiting: &Waiting,
) -> String {
    let (mut sent, mut out, mut number) = (Calls::default(), Vec::new(), 0);
    while let Some(first) = calls.recv().await {
        // After one turn of the others, what many callers have ready is there together.
        tokio::task::yield_now().await;
        let mut next = Some(first);
        while let Some(Outgoing { question, answer }) = next {
            let ask = match &question {
                Question::Write(entry, came_by) => Ask::Write(entry, *came_by),
                Question::Ping => Ask::Ping,
                Question::Alive => Ask::Alive,
            };
            // Nobody waits for it any more.
            if !answer.is_closed() {
                sent.put(number, ask, &mut out);
                waiting.add(number, answer);
                number += 1;
            }
            next = if out.len() < WRITE_BYTES { calls.try_recv().ok() } else { None };
        }
        let written = async {
            writer.write_all(&out).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return error.to_string();
        }
        out.clear();
    }
    "not needed any more".to_owned()
}

async fn read_answers(mut reader: impl AsyncRead + Unpin, waiting: &Waiting) -> String {
    let (mut responses, mut received) = (Responses::default(), BytesMut::new());
    loop {
        loop {
            match responses.next(&mut received) {
                Ok(Some(answer)) => {
                    let caller = waiting.lock().remove(&answer.seq);
                    // It may have stopped waiting.
                    let _ = caller.map(|caller| caller.send(Ending::Answered(answer.result)));
                }
                Ok(None) => break,
                Err(error) => return error.to_string(),
            }
        }
        received.reserve(READ_BYTES);
        match reader.read_buf(&mut received).await {
            Ok(0) => return "the logger has closed it".to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}
