//! The four transports as one: whichever is asked for gets the same deadline, span and measure of time.

use std::time::{Duration, Instant};

use proto::{BatchMode, BatchReceipt, Certainty, Code, Failure, LogEntry, Outcome, Receipt, Transport};
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::{
    admission::Admission,
    grpc::{Grpc, GrpcUrl},
    http::{Http, HttpUrl},
    rabbitmq::{AmqpUrl, Rabbitmq},
    rpc::{Rpc, RpcAddr},
    tls::Tls,
};

/// A call waits for room for at most this part of its deadline: the rest is for the call itself.
const PATIENCE_PART: u32 = 2;

/// Most reads at a time; others wait for their turn. The logger answers a few at once, and each may take 12 MiB.
const READS: usize = 8;

/// Where the logger and RabbitMQ are, and how long a call may take.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The logger's HTTP address.
    pub logger_http_url: HttpUrl,
    /// The logger's rpc address.
    pub logger_rpc_addr: RpcAddr,
    /// The logger's gRPC address.
    pub logger_grpc_url: GrpcUrl,
    /// RabbitMQ; `None`: nothing is sent by `rabbitmq`.
    pub amqp_url: Option<AmqpUrl>,
    /// With what the encrypted addresses are called.
    pub tls: Option<Tls>,
    /// No call takes longer; past it the outcome is unknown.
    pub deadline: Duration,
    /// By which transport the entries came, where it is not the one that hands them over: the listener's case.
    pub came_by: Option<Transport>,
}

/// An answer, and the time from handing the entries to the transport to it: without the wait for room.
#[derive(Debug, Clone, Copy)]
pub struct Delivered<T> {
    /// What was answered.
    pub receipt: T,
    /// How long it took.
    pub took: Duration,
}

/// The four clients. They connect in the background or on demand.
#[derive(Debug)]
pub struct Transports {
    http: Http,
    rpc: Rpc,
    rabbitmq: Rabbitmq,
    grpc: Grpc,
    deadline: Duration,
    in_flight: [Admission; Transport::ALL.len()],
    reads: Semaphore,
}

impl Transports {
    /// Makes the four clients. Must be called within a tokio runtime.
    pub fn new(settings: &Settings) -> Self {
        Transports {
            http: Http::new(settings),
            rpc: Rpc::new(settings),
            rabbitmq: Rabbitmq::new(settings),
            grpc: Grpc::new(settings),
            deadline: settings.deadline,
            in_flight: Default::default(),
            reads: Semaphore::new(READS),
        }
    }

    /// Delivers one entry.
    ///
    /// # Errors
    /// What is certain of the entry, within the deadline. It is logged here; the caller need not.
    pub async fn write(&self, transport: Transport, entry: &LogEntry) -> Result<Delivered<Receipt>, Failure> {
        let delivery = async || match transport {
            Transport::Http => self.http.write(entry).await,
            Transport::Rpc => self.rpc.write(entry).await,
            Transport::Rabbitmq => self.rabbitmq.write(entry).await,
            Transport::Grpc => self.grpc.write(entry).await,
        };
        self.deliver(transport, std::slice::from_ref(entry), |receipt| receipt.outcome, delivery).await
    }

    /// Delivers a batch.
    ///
    /// # Errors
    /// As [`Transports::write`], for all entries alike.
    pub async fn write_batch(
        &self,
        transport: Transport,
        entries: &[LogEntry],
        mode: BatchMode,
    ) -> Result<Delivered<BatchReceipt>, Failure> {
        let delivery = async || match transport {
            Transport::Http => self.http.write_batch(entries, mode).await,
            Transport::Rpc => self.rpc.write_batch(entries, mode).await,
            Transport::Rabbitmq => self.rabbitmq.write_batch(entries, mode).await,
            Transport::Grpc => self.grpc.write_batch(entries, mode).await,
        };
        self.deliver(transport, entries, best_outcome, delivery).await
    }

    /// Whether the transport's last word was that its peer is there. It sends nothing.
    pub fn reachable(&self, transport: Transport) -> bool {
        match transport {
            Transport::Http => self.http.reachable(),
            Transport::Rpc => self.rpc.reachable(),
            Transport::Rabbitmq => self.rabbitmq.reachable(),
            Transport::Grpc => self.grpc.reachable(),
        }
    }

    /// Reads from the logger over HTTP: the status and the body that it answers to GET.
    ///
    /// # Errors
    /// If it cannot be reached, does not answer within the deadline, or is asked by too many.
    pub async fn read(&self, path_and_query: &str) -> Result<(u16, bytes::Bytes), Failure> {
        let read = async {
            let turn = tokio::time::timeout(self.deadline / PATIENCE_PART, self.reads.acquire());
            let _turn = turn.await.map_err(|_| Failure::overloaded("the broker"))?;
            self.http.read(path_and_query).await
        };
        let answer = tokio::time::timeout(self.deadline, read).await;
        let answer = answer.unwrap_or_else(|_| Err(Failure::unreachable("the logger")));
        answer.inspect_err(|failure| log_failure(Transport::Http, 0, failure))
    }

    async fn deliver<T>(
        &self,
        transport: Transport,
        entries: &[LogEntry],
        outcome: impl FnOnce(&T) -> Outcome,
        delivery: impl AsyncFnOnce() -> Result<T, Failure>,
    ) -> Result<Delivered<T>, Failure> {
        let span = tracing::debug_span!("deliver", %transport, entries = entries.len());
        let begun = Instant::now();
        let mut handed_over = None;
        let admitted = async {
            let patience = self.deadline / PATIENCE_PART;
            let _room = self.in_flight[transport as usize].admit(entries, patience).await?;
            handed_over = Some(Instant::now());
            // Boxed, since it is several times as large as all that is kept of a call which only waits.
            Box::pin(delivery()).await
        };
        let result = tokio::time::timeout(self.deadline, admitted)
            .instrument(span)
            .await
            .unwrap_or_else(|_| Err(Failure::unknown(peer(transport)).because("past the deadline")));
        let word = match &result {
            Ok(receipt) => outcome(receipt).as_str(),
            Err(failure) => failure.code.as_str(),
        };
        let labels = [("transport", transport.as_str()), ("outcome", word)];
        metrics::histogram!("transport_wait_seconds", &labels)
            .record(handed_over.map_or_else(|| begun.elapsed(), |at| at - begun).as_secs_f64());
        let took = handed_over.map(|at| at.elapsed());
        if let Some(took) = took {
            metrics::histogram!("transport_seconds", &labels).record(took.as_secs_f64());
        }
        match result {
            Ok(receipt) => Ok(Delivered { receipt, took: took.unwrap_or_default() }),
            Err(failure) => {
                log_failure(transport, entries.len(), &failure);
                Err(failure)
            }
        }
    }
}

/// Who is at the other end of a transport.
fn peer(transport: Transport) -> &'static str {
    match transport {
        Transport::Http | Transport::Rpc | Transport::Grpc => "the logger",
        Transport::Rabbitmq => "RabbitMQ",
    }
}

/// A batch counts as stored if any of its entries is new.
fn best_outcome(receipt: &BatchReceipt) -> Outcome {
    let mut outcomes = receipt.results.iter().filter_map(|result| result.as_ref().ok());
    outcomes.find(|outcome| **outcome != Outcome::Duplicate).copied().unwrap_or(Outcome::Duplicate)
}

/// The one place where a failed delivery is logged, with its cause.
fn log_failure(transport: Transport, entries: usize, failure: &Failure) {
    let (code, cause) = (failure.code, failure.cause());
    match failure.certainty() {
        // Nobody's entry: a reader was told, or a probe found nobody there.
        _ if entries == 0 => tracing::debug!(%transport, %code, cause, "no answer"),
        // Under overload a line for each would cost more than the refusal; `transport_wait_seconds` counts them.
        _ if code == Code::Overloaded => tracing::debug!(%transport, entries, %code, cause, "not delivered"),
        Certainty::Rejected => tracing::debug!(%transport, entries, %code, cause, "refused"),
        Certainty::NotStored => tracing::warn!(%transport, entries, %code, cause, "not delivered"),
        Certainty::Unknown => tracing::warn!(%transport, entries, %code, cause, "outcome unknown"),
    }
}
