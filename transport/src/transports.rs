//! The four transports as one: whichever is asked for gets the same deadline, span and measure of time.

use std::{sync::Arc, time::Duration};

use proto::{
    Batch, BatchMode, Code, Direct, Failure, Indirect, LogEntry, Outcome, PerTransport, Receipt, Transport,
    json::WireBytes,
};
use serde::Deserialize;
use spans::{KeyValue, attribute};
use tokio::{sync::Semaphore, time::Instant};
use tracing::Instrument;

use crate::{
    LOGGER, Receipts, Settings,
    about::{About, log_no_answer},
    admission::{Admission, Caller},
    gather::{Patience, Queue, past_the_deadline},
    loggers::{Asked, LoggerState, Loggers},
    metrics::{self, CallTimes},
    rabbitmq::{Depths, RABBITMQ, Rabbitmq},
    stage::Stage,
    traced,
    wire::Wire,
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
    /// What passed on the wire; `None` if other calls over the same transport were under way meanwhile.
    pub bytes: Option<WireBytes>,
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

/// How a batch goes on, from here.
enum Way<'a> {
    /// In a call of its own, from the task of its caller.
    Call(Direct),
    /// With what else has gathered, in a call of the stage.
    Stage(&'a Queue),
    /// With what else has gathered, or alone, by one of RabbitMQ's publishers: a channel belongs to one task.
    Publishers(Caller),
}

impl Way<'_> {
    /// Who takes room for the call.
    fn caller(&self) -> Caller {
        match self {
            Way::Call(_) => Caller::Itself,
            Way::Stage(_) => Caller::Stage,
            Way::Publishers(caller) => *caller,
        }
    }
}

/// The four clients. They connect in the background or on demand.
#[derive(Debug)]
pub struct Transports {
    loggers: Arc<Loggers>,
    stages: [Stage; Direct::ALL.len()],
    rabbitmq: Rabbitmq,
    coalesce: bool,
    deadline: Duration,
    kept: bool,
    in_flight: PerTransport<Admission>,
    reads: Semaphore,
    times: CallTimes,
}

impl Transports {
    /// Makes the four clients. Must be called within a tokio runtime, after the recorder of the metrics is installed.
    pub fn new(settings: &Settings) -> Self {
        metrics::describe();
        let in_flight = PerTransport::new(|_| Admission::default());
        let loggers = Arc::new(Loggers::new(settings));
        let stage = |of: Direct| Stage::new(of, &loggers, &in_flight[of.into()], settings.coalesce);
        Transports {
            stages: Direct::ALL.map(stage),
            rabbitmq: Rabbitmq::admitted_by(settings, &in_flight[Transport::Rabbitmq]),
            loggers,
            coalesce: settings.coalesce,
            deadline: settings.deadline,
            kept: settings.came_by.is_some(),
            in_flight,
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
        let call = self.wire(transport).call();
        let about = About { transport, entries: batch.len(), first: batch.first().id(), kept: self.kept };
        let context = tracing::debug_span!("deliver", %transport, entries = batch.len());
        let delivered = async {
            let way = self.way(transport, &batch);
            let room = self.in_flight[transport].admit(&batch, way.caller(), self.patience()).await?;
            handed_over = Some(Instant::now());
            let until = begun + self.deadline;
            let patience = Patience { to_be_sent: begun + self.patience(), until };
            match way {
                // Boxed, since it is several times as large as all that is kept of a call which only waits.
                Way::Call(direct) => {
                    let _room = room;
                    Box::pin(self.loggers.write(direct, &batch, mode, until)).await
                }
                Way::Stage(queue) => {
                    // One entry, which is answered as it would be in a call of its own.
                    let Receipts { results, store_us } = queue.deliver(batch, Some(room), patience).await?;
                    let own = results.first().clone().map(|outcome| Receipt { outcome, store_us });
                    Receipts::of_one(own, mode)
                }
                Way::Publishers(_) => {
                    self.rabbitmq.publish(batch, Some(room), patience).await?.in_mode(mode, RABBITMQ)
                }
            }
        };
        let answer = span.around(delivered.instrument(context)).await;
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
                about.log_success(word);
                let bytes = call.bytes();
                Ok(Delivered { results, took: took.unwrap_or_default(), store_us, bytes })
            }
            Err(failure) => {
                span.fail(word);
                about.log_failure(&failure);
                Err(failure)
            }
        }
    }

    /// How a batch goes: in a call of its own, or along with others.
    fn way(&self, transport: Transport, batch: &Batch<LogEntry>) -> Way<'_> {
        match Direct::try_from(transport) {
            Ok(direct) => {
                let stage = &self.stages[direct as usize];
                let queue = stage.queue_for(batch, &self.in_flight[transport], &self.loggers);
                queue.map_or(Way::Call(direct), Way::Stage)
            }
            Err(Indirect::Rabbitmq) if self.coalesce => Way::Publishers(Caller::Stage),
            Err(Indirect::Rabbitmq) => Way::Publishers(Caller::Itself),
        }
    }

    /// Asks the logger over a direct transport whether it could store an entry now. It waits for room as a delivery does,
    /// and is none: nothing counts it.
    ///
    /// # Errors
    /// What an entry would be refused with, within the deadline.
    pub async fn ping(&self, direct: Direct) -> Result<(), Failure> {
        let transport = Transport::from(direct);
        let _call = self.wire(transport).call();
        let asked = async {
            let _room = self.in_flight[transport].admit(&[], Caller::Itself, self.patience()).await?;
            self.loggers.ping(direct).await
        };
        let in_time = tokio::time::timeout(self.deadline, asked).await;
        let answer = in_time.unwrap_or_else(|_| Err(past_the_deadline(peer(transport))));
        answer.inspect_err(|failure| log_no_answer(transport, failure))
    }

    /// Asks each logger for itself: its address, and whether it could store an entry now.
    pub async fn ping_each(&self, direct: Direct) -> Vec<(String, Result<(), Failure>)> {
        let _call = self.wire(direct.into()).call();
        self.loggers.ping_each(direct, self.deadline).await
    }

    /// Whether the transport's last word was that its peer is there. It sends nothing; but where the last word was that
    /// it is not, the transport goes on looking by itself.
    pub fn reachable(&self, transport: Transport) -> bool {
        match Direct::try_from(transport) {
            Ok(direct) => self.loggers.reachable(direct),
            Err(Indirect::Rabbitmq) => self.rabbitmq.reachable(),
        }
    }

    /// Waits until a transport that connects by itself has tried to, for the first time. The others connect on demand.
    pub async fn tried(&self, transport: Transport) {
        match transport {
            Transport::Rpc => self.loggers.tried().await,
            Transport::Rabbitmq => self.rabbitmq.tried().await,
            Transport::Http | Transport::Grpc => {}
        }
    }

    /// How many messages wait in RabbitMQ; `None` if it has not said so lately.
    pub fn depths(&self) -> Option<Depths> {
        self.rabbitmq.depths()
    }

    /// Reads from a logger over HTTP: the status and the body that it answers to GET.
    ///
    /// # Errors
    /// If it cannot be reached, does not answer within the deadline, or is asked by too many.
    pub async fn read(&self, path_and_query: &str) -> Result<(u16, bytes::Bytes), Failure> {
        let _call = self.wire(Transport::Http).call();
        let asked = async {
            let turn = tokio::time::timeout(self.patience(), self.reads.acquire());
            let _turn = turn.await.map_err(|_| Failure::overloaded("the broker"))?;
            self.loggers.read(path_and_query).await
        };
        let in_time = tokio::time::timeout(self.deadline, asked).await;
        let answer = in_time.unwrap_or_else(|_| Err(past_the_deadline(peer(Transport::Http))));
        answer.map_err(Failure::about_reading).inspect_err(|failure| log_no_answer(Transport::Http, failure))
    }

    /// Sets the gauges of a transport in the metrics: call it before they are shown.
    pub fn set_gauges(&self, transport: Transport) {
        let bytes = self.wire(transport).total();
        metrics::set_gauges(transport, &self.in_flight[transport], bytes, self.reachable(transport));
        if let Ok(direct) = Direct::try_from(transport) {
            self.loggers.set_gauges(direct);
        }
    }

    /// How each logger is, as its clients see it.
    pub fn loggers(&self) -> Vec<LoggerState> {
        self.loggers.states()
    }

    /// Asks each logger how it is, over connections of their own: it is no transport's last word.
    pub async fn ask_loggers<T: for<'de> Deserialize<'de>>(&self) -> Vec<Asked<T>> {
        self.loggers.ask().await
    }

    /// What has passed on a transport's connections since the start; over `rabbitmq` in the frames of messages and their
    /// confirms alone.
    pub fn wire_bytes(&self, transport: Transport) -> WireBytes {
        self.wire(transport).total()
    }

    fn wire(&self, transport: Transport) -> &Wire {
        match Direct::try_from(transport) {
            Ok(direct) => self.loggers.wire(direct),
            Err(Indirect::Rabbitmq) => self.rabbitmq.wire(),
        }
    }

    /// How long a call waits for room.
    fn patience(&self) -> Duration {
        self.deadline / PATIENCE_PART
    }
}

/// Who is at the other end of a transport.
fn peer(transport: Transport) -> &'static str {
    match transport {
        Transport::Http | Transport::Rpc | Transport::Grpc => LOGGER,
        Transport::Rabbitmq => RABBITMQ,
    }
}

#[cfg(test)]
mod tests;
