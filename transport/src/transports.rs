//! The four transports as one: whichever is asked for gets the same deadline, span and measure of time.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use proto::{BatchMode, BatchReceipt, Certainty, Code, Failure, LogEntry, Outcome, Receipt, Transport};
use spans::{KeyValue, attribute};
use tokio::sync::Semaphore;
use tracing::{Instrument, field::display};

use crate::{
    admission::Admission,
    grpc::{Grpc, GrpcUrl},
    http::{Http, HttpUrl},
    metrics::{self, CallTimes},
    rabbitmq::{AmqpUrl, Depths, Rabbitmq},
    rpc::{Rpc, RpcAddr},
    tls::Tls,
    traced::{self, Form},
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
    times: CallTimes,
}

impl Transports {
    /// Makes the four clients. Must be called within a tokio runtime, after the recorder of the metrics is installed.
    pub fn new(settings: &Settings) -> Self {
        metrics::describe();
        Transports {
            http: Http::new(settings),
            rpc: Rpc::new(settings),
            rabbitmq: Rabbitmq::new(settings),
            grpc: Grpc::new(settings),
            deadline: settings.deadline,
            in_flight: Default::default(),
            reads: Semaphore::new(READS),
            times: CallTimes::new(),
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
        let entry = std::slice::from_ref(entry);
        self.deliver(transport, Form::One, entry, |receipt| receipt.outcome, delivery).await
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
        self.deliver(transport, Form::Batch, entries, best_outcome, delivery).await
    }

    /// Asks the logger over a direct transport whether it could store an entry now, by a batch without entries: a logger
    /// that could refuses it as empty, and one that could not by what an entry would be refused with.
    ///
    /// # Errors
    /// As [`Transports::write`] for an entry.
    pub async fn ping(&self, transport: Transport) -> Result<(), Failure> {
        match self.write_batch(transport, &[], BatchMode::Each).await {
            Err(failure) if failure.code != Code::BadBatch => Err(failure),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether the transport's last word was that its peer is there. It sends nothing; but where the last word was that
    /// it is not, the transport goes on looking by itself.
    pub fn reachable(&self, transport: Transport) -> bool {
        match transport {
            Transport::Http => self.http.reachable(),
            Transport::Rpc => self.rpc.reachable(),
            Transport::Rabbitmq => self.rabbitmq.reachable(),
            Transport::Grpc => self.grpc.reachable(),
        }
    }

    /// Waits until a transport that connects by itself has tried to, for the first time. The others connect on demand.
    pub async fn tried(&self, transport: Transport) {
        match transport {
            Transport::Rpc => self.rpc.tried().await,
            Transport::Rabbitmq => self.rabbitmq.tried().await,
            Transport::Http | Transport::Grpc => {}
        }
    }

    /// How many messages wait in RabbitMQ; `None` if it has not said so lately.
    pub fn depths(&self) -> Option<Depths> {
        self.rabbitmq.depths()
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
        let answer =
            answer.unwrap_or_else(|_| Err(Failure::unknown("the logger").because("past the deadline")));
        answer
            .map_err(Failure::about_reading)
            .inspect_err(|failure| log_failure(Transport::Http, &[], failure))
    }

    /// Sets the gauges of a transport in the metrics: call it before they are shown.
    pub fn set_gauges(&self, transport: Transport) {
        let admission = &self.in_flight[transport as usize];
        metrics::set_gauges(transport, admission, self.reachable(transport));
    }

    async fn deliver<T>(
        &self,
        transport: Transport,
        form: Form,
        entries: &[LogEntry],
        outcome: impl FnOnce(&T) -> Outcome,
        delivery: impl AsyncFnOnce() -> Result<T, Failure>,
    ) -> Result<Delivered<T>, Failure> {
        let span = traced::delivery(transport, form, entries);
        let begun = Instant::now();
        let mut handed_over = None;
        let context = tracing::debug_span!("deliver", %transport, entries = entries.len());
        let result = {
            // Pinned where it is: each layer around it would move it.
            let admitted = pin!(async {
                let patience = self.deadline / PATIENCE_PART;
                let _room = self.in_flight[transport as usize].admit(entries, patience).await?;
                handed_over = Some(Instant::now());
                // Boxed, since it is several times as large as all that is kept of a call which only waits.
                Box::pin(delivery()).await
            });
            span.around(tokio::time::timeout(self.deadline, admitted).instrument(context)).await
        };
        let result =
            result.unwrap_or_else(|_| Err(Failure::unknown(peer(transport)).because("past the deadline")));
        let ending = result.as_ref().map(outcome).map_err(|failure| failure.code);
        let wait = handed_over.map_or_else(|| begun.elapsed(), |at| at - begun);
        let took = handed_over.map(|at| at.elapsed());
        self.times.record(transport, ending, wait, took);
        let word = match ending {
            Ok(outcome) => outcome.as_str(),
            Err(code) => code.as_str(),
        };
        match result {
            Ok(receipt) => {
                span.note(|| [KeyValue::new(attribute::OUTCOME, word)]);
                log_success(transport, entries, word);
                Ok(Delivered { receipt, took: took.unwrap_or_default() })
            }
            Err(failure) => {
                span.fail(word);
                log_failure(transport, entries, &failure);
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

fn best_outcome(receipt: &BatchReceipt) -> Outcome {
    let accepted = receipt.results.iter().filter_map(|result| result.as_ref().ok().copied());
    Outcome::best(accepted).unwrap_or(Outcome::Duplicate)
}

fn log_success(transport: Transport, entries: &[LogEntry], outcome: &str) {
    let Some(first) = entries.first() else { return };
    tracing::debug!(
        %transport, entries = entries.len(), entry_id = %first.id(), trace_id = spans::current_id().map(display),
        outcome, "delivered"
    );
}

/// The one place where a failed delivery is logged, with its cause, the id of its first entry, and its trace.
fn log_failure(transport: Transport, entries: &[LogEntry], failure: &Failure) {
    let (code, cause) = (failure.code, failure.cause());
    // Nobody's entry: a reader was told, or a probe found nobody there.
    let Some(first) = entries.first() else {
        return tracing::debug!(%transport, %code, cause, "no answer");
    };
    let (entries, entry_id) = (entries.len(), display(first.id()));
    let trace_id = spans::current_id().map(display);
    match failure.certainty() {
        // Under overload a line for each would cost more than the refusal; the metrics count them.
        _ if code == Code::Overloaded => {
            tracing::debug!(%transport, entries, entry_id, trace_id, %code, cause, "not delivered");
        }
        Certainty::Rejected => {
            tracing::debug!(%transport, entries, entry_id, trace_id, %code, cause, "refused");
        }
        Certainty::NotStored => {
            tracing::warn!(%transport, entries, entry_id, trace_id, %code, cause, "not delivered");
        }
        Certainty::Unknown => {
            tracing::warn!(%transport, entries, entry_id, trace_id, %code, cause, "outcome unknown");
        }
    }
}
