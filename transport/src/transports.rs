//! The four transports as one: whichever is asked for gets the same deadline, span and measure of time.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use proto::{Batch, BatchMode, Certainty, Code, Direct, Failure, LogEntry, Outcome, PerTransport, Transport};
use spans::{KeyValue, attribute};
use tokio::sync::Semaphore;
use tracing::{Instrument, field::display};

use crate::{
    Receipts, Settings,
    admission::Admission,
    grpc::Grpc,
    http::Http,
    metrics::{self, CallTimes},
    rabbitmq::{Depths, Rabbitmq},
    rpc::Rpc,
    traced,
};

/// A call waits for room for at most this part of its deadline: the rest is for the call itself.
const PATIENCE_PART: u32 = 2;

/// Most reads at a time; others wait for their turn. The logger answers a few at once, and each may take 12 MiB.
const READS: usize = 8;

/// What became of a batch, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// One result for each entry, in the order of the batch. All are `Ok` after [`BatchMode::AllOrNone`].
    pub results: Batch<Result<Outcome, Failure>>,
    /// From handing the entries to the transport to the answer: without the wait for room.
    pub took: Duration,
    /// In the logger, from the writer's queue to the commit, in microseconds; `None` if it is not known.
    pub store_us: Option<u64>,
}

impl Delivered {
    /// The outcomes of a batch of which all entries are accepted.
    ///
    /// # Errors
    /// The failure of the first that is not.
    pub fn outcomes(self) -> Result<Batch<Outcome>, Failure> {
        self.results.all()
    }
}

/// The four clients. They connect in the background or on demand.
#[derive(Debug)]
pub struct Transports {
    http: Http,
    rpc: Rpc,
    rabbitmq: Rabbitmq,
    grpc: Grpc,
    deadline: Duration,
    in_flight: PerTransport<Admission>,
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
            in_flight: PerTransport::new(|_| Admission::default()),
            reads: Semaphore::new(READS),
            times: CallTimes::new(),
        }
    }

    /// Delivers a batch, of one entry or many.
    ///
    /// # Errors
    /// What is certain of all its entries, within the deadline. It is logged here; the caller need not.
    pub async fn write(
        &self,
        transport: Transport,
        batch: Batch<LogEntry>,
        mode: BatchMode,
    ) -> Result<Delivered, Failure> {
        let span = traced::delivery(transport, &batch);
        let begun = Instant::now();
        let mut handed_over = None;
        let context = tracing::debug_span!("deliver", %transport, entries = batch.len());
        let in_time = {
            // Pinned where it is: each layer around it would move it.
            let admitted = pin!(async {
                let _room = self.in_flight[transport].admit(&batch, self.patience()).await?;
                handed_over = Some(Instant::now());
                // Boxed, since it is several times as large as all that is kept of a call which only waits.
                Box::pin(self.hand_over(transport, &batch, mode)).await
            });
            span.around(tokio::time::timeout(self.deadline, admitted).instrument(context)).await
        };
        let answer = in_time.unwrap_or_else(|_| Err(past_the_deadline(peer(transport))));
        let ending = match &answer {
            Ok(receipts) => receipts.ending(),
            Err(failure) => Err(failure.code),
        };
        let wait = handed_over.map_or_else(|| begun.elapsed(), |at| at - begun);
        let took = handed_over.map(|at| at.elapsed());
        self.times.record(transport, ending, wait, took);
        let word = ending.map_or_else(Code::as_str, Outcome::as_str);
        match answer {
            Ok(Receipts { results, store_us }) => {
                span.note(|| [KeyValue::new(attribute::OUTCOME, word)]);
                log_success(transport, &batch, word);
                Ok(Delivered { results, took: took.unwrap_or_default(), store_us })
            }
            Err(failure) => {
                span.fail(word);
                log_failure(transport, &batch, &failure);
                Err(failure)
            }
        }
    }

    /// The one place that picks a client.
    async fn hand_over(
        &self,
        transport: Transport,
        batch: &Batch<LogEntry>,
        mode: BatchMode,
    ) -> Result<Receipts, Failure> {
        match transport {
            Transport::Http => self.http.write(batch, mode).await,
            Transport::Rpc => self.rpc.write(batch, mode).await,
            Transport::Rabbitmq => self.rabbitmq.write(batch, mode).await,
            Transport::Grpc => self.grpc.write(batch, mode).await,
        }
    }

    /// Asks the logger over a direct transport whether it could store an entry now. It waits for room as a delivery does,
    /// and is none: nothing counts it.
    ///
    /// # Errors
    /// What an entry would be refused with, within the deadline.
    pub async fn ping(&self, direct: Direct) -> Result<(), Failure> {
        let transport = Transport::from(direct);
        let asked = async {
            let _room = self.in_flight[transport].admit(&[], self.patience()).await?;
            match direct {
                Direct::Http => self.http.ping().await,
                Direct::Rpc => self.rpc.ping().await,
                Direct::Grpc => self.grpc.ping().await,
            }
        };
        let in_time = tokio::time::timeout(self.deadline, asked).await;
        let answer = in_time.unwrap_or_else(|_| Err(past_the_deadline(peer(transport))));
        answer.inspect_err(|failure| log_failure(transport, &[], failure))
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
        let asked = async {
            let turn = tokio::time::timeout(self.patience(), self.reads.acquire());
            let _turn = turn.await.map_err(|_| Failure::overloaded("the broker"))?;
            self.http.read(path_and_query).await
        };
        let in_time = tokio::time::timeout(self.deadline, asked).await;
        let answer = in_time.unwrap_or_else(|_| Err(past_the_deadline(peer(Transport::Http))));
        answer
            .map_err(Failure::about_reading)
            .inspect_err(|failure| log_failure(Transport::Http, &[], failure))
    }

    /// Sets the gauges of a transport in the metrics: call it before they are shown.
    pub fn set_gauges(&self, transport: Transport) {
        metrics::set_gauges(transport, &self.in_flight[transport], self.reachable(transport));
    }

    /// How long a call waits for room.
    fn patience(&self) -> Duration {
        self.deadline / PATIENCE_PART
    }
}

/// Who is at the other end of a transport.
fn peer(transport: Transport) -> &'static str {
    match transport {
        Transport::Http | Transport::Rpc | Transport::Grpc => "the logger",
        Transport::Rabbitmq => "RabbitMQ",
    }
}

fn past_the_deadline(peer: &str) -> Failure {
    Failure::unknown(peer).because("past the deadline")
}

fn log_success(transport: Transport, batch: &Batch<LogEntry>, outcome: &str) {
    tracing::debug!(
        %transport, entries = batch.len(), entry_id = %batch.first().id(),
        trace_id = spans::current_id().map(display), outcome, "delivered"
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
