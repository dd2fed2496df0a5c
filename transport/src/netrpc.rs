//! `rpc` to a logger in Go: net/rpc, many calls at a time on a few kept connections, each with one entry.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    HANDSHAKE_TIMEOUT, LOGGER, Receipts, Settings,
    address::RpcAddr,
    dial::{Dialer, Stream},
    endpoints::LoggerAddress,
    kept::{Driver, Kept, Peer},
    receipts::NoBatchCall,
    wire::Wire,
};

/// What is read at a time.
const READ_BYTES: usize = 8 * 1024;

/// Calls that are ready go out together, up to about so many bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// Where its address is.
const SETTING: &str = "LOGGER_RPC_ADDR";

/// The client.
#[derive(Debug)]
pub struct NetRpc {
    kept: Kept<GoServer>,
    came_by: Option<Transport>,
}

/// Where an open connection takes its calls from.
#[derive(Debug, Clone)]
struct GoServer(mpsc::Sender<Outgoing>);

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
    /// Makes the client; it dials in the background, again and again. The bytes of several loggers are counted together.
    pub(crate) fn to(logger: &LoggerAddress, settings: &Settings, wire: &Arc<Wire>) -> Self {
        NetRpc { kept: Kept::new(logger, settings, wire), came_by: settings.came_by }
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
        self.kept.reachable()
    }

    /// Waits until each connection is there, or could not be made at the first attempt.
    pub async fn tried(&self) {
        self.kept.tried().await;
    }

    /// What was answered: nothing, or the text of an error.
    async fn call(&self, question: Question) -> Result<Result<(), String>, Failure> {
        let not_sent =
            || Failure::unreachable(LOGGER).because("the connection was lost before the call was sent");
        match self.kept.next()?.ask(question).await {
            Ok(Ending::Answered(answer)) => Ok(answer),
            Ok(Ending::NotSent) => Err(not_sent()),
            Err(_) => Err(Failure::unknown(LOGGER).because("the connection was lost")),
        }
    }
}

impl GoServer {
    /// # Errors
    /// If the connection is lost after the call was sent.
    async fn ask(&self, question: Question) -> Result<Ending, oneshot::error::RecvError> {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Outgoing { question, answer }).await.is_err() {
            return Ok(Ending::NotSent);
        }
        answered.await
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

impl Peer for GoServer {
    async fn dial(dialer: &Dialer, address: &RpcAddr) -> Result<(Self, Driver), String> {
        let stream = dialer
            .dial(&address.host, address.port, address.is_encrypted())
            .await
            .map_err(|error| error.to_string())?;
        let (calls, queue) = mpsc::channel(IN_FLIGHT_CALLS);
        let mut driver = JoinSet::new();
        driver.spawn(drive(stream, queue));
        let peer = GoServer(calls);
        if peer.is_alive(HANDSHAKE_TIMEOUT).await {
            return Ok((peer, driver));
        }
        // It may have said why; if it is silent, it will not.
        let ended = tokio::time::timeout(Duration::from_millis(100), driver.join_next()).await.ok().flatten();
        let reason = ended
            .map_or_else(|| "no answer".to_owned(), |ended| ended.unwrap_or_else(|error| error.to_string()));
        Err(format!("{reason}: is there a server of Go's net/rpc at LOGGER_RPC_ADDR?"))
    }

    async fn is_alive(&self, limit: Duration) -> bool {
        let asked = tokio::time::timeout(limit, self.ask(Question::Alive));
        matches!(asked.await, Ok(Ok(Ending::Answered(_))))
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
