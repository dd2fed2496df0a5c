//! Consumes deliveries in batches, and acknowledges a batch once all of it is settled.

mod batch;

use std::{sync::Arc, time::Duration};

use ::metrics::Counter;
use proto::LogEntry;
use service::Shutdown;
use tokio::time::timeout;
use transport::{
    Waits,
    rabbitmq::{AmqpUrl, DECLARE_TIMEOUT},
};

use crate::{
    dead_letters::{DeadLetters, Line},
    hand_over::{HandOver, Positioned},
    intake::Intake,
    metrics,
    pace::UNACKED_BYTES,
    source::{Reason, Session},
    state::{State, Waiting},
};

/// The first wait before connecting again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How often the logger is pinged while nothing arrives: deliveries that arrive when it is down would only wait unacked.
const ASK_INTERVAL: Duration = Duration::from_secs(2);

/// Why a subscription is not trusted any more.
const PASSED_OVER: &str =
    "RabbitMQ delivers nothing though messages are ready: was the queue deleted and redeclared?";

/// The log shows few of the lines of an outage that is still the same.
const REPEATED: &str = concat!(module_path!(), "::repeated");

/// How often it is looked whether there is room again.
const ROOM_INTERVAL: Duration = Duration::from_millis(200);

/// Takes deliveries, batch after batch.
#[derive(Debug)]
pub struct Consumer {
    amqp_url: AmqpUrl,
    prefetch: u16,
    hand_over: HandOver,
    state: Arc<State>,
    /// An entry that could not be stored while its batch was kept.
    unsettled: Option<Positioned<LogEntry>>,
    /// Whether consuming ended, or an attempt failed, since it last began.
    interrupted: bool,
    /// Whether an unknown level has been logged.
    told_of_levels: bool,
    assumed_levels: Counter,
}

impl Consumer {
    /// Call it after the metrics recorder is installed.
    pub(crate) fn new(amqp_url: AmqpUrl, prefetch: u16, hand_over: HandOver, state: Arc<State>) -> Self {
        Consumer {
            amqp_url,
            prefetch,
            hand_over,
            state,
            unsettled: None,
            interrupted: false,
            told_of_levels: false,
            assumed_levels: metrics::assumed_levels(),
        }
    }

    /// Takes deliveries until `shutdown`, and connects again whenever the connection is lost.
    pub(crate) async fn run(mut self, dead_letters: DeadLetters, shutdown: Shutdown) {
        let (line, work) = dead_letters.begin(shutdown.clone());
        let consuming = async {
            let mut waits = waits();
            while !shutdown.has_begun() {
                // What is not taken need not be given back: an outage of the logger must not use up deliveries.
                tokio::select! {
                    () = shutdown.begun() => break,
                    () = self.logger_stores() => {}
                }
                self.state.set_waiting(Some(Waiting::Rabbitmq));
                let result = self.consume(&line, &shutdown, &mut waits).await;
                self.state.set_waiting(Some(Waiting::Rabbitmq));
                if let Err(reason) = result {
                    tracing::warn!(target: REPEATED, reason, "not consuming; reconnecting");
                    self.interrupted = true;
                    let wait = waits.next_wait();
                    let _ = tokio::time::timeout(wait, shutdown.begun()).await;
                }
            }
            drop(line);
        };
        tokio::join!(consuming, work);
    }

    /// Waits until the logger could store an entry and, if it has refused a batch for too long, until it stores an entry
    /// of that: it will be delivered again, and its id makes that safe.
    async fn logger_stores(&mut self) {
        self.state.set_waiting(Some(Waiting::Logger));
        self.hand_over.logger_stores().await;
        if let Some(entry) = &self.unsettled {
            self.hand_over.store(vec![entry.clone()]).await;
        }
        self.unsettled = None;
    }

    async fn consume(&mut self, line: &Line, shutdown: &Shutdown, backoff: &mut Waits) -> Result<(), Reason> {
        let session = Session::open(&self.amqp_url).await?;
        let mut intake = Intake::new(session, self.prefetch, Arc::clone(&self.state));
        line.begin_channel();
        let mut logger_is_well = true;
        let mut refusals = self.state.refusals();
        loop {
            if intake.is_over() {
                if !logger_is_well {
                    tokio::select! {
                        () = shutdown.begun() => {}
                        reason = intake.gather(std::future::pending()) => return Err(reason),
                        () = self.hand_over.logger_stores() => logger_is_well = true,
                    }
                }
                tokio::select! {
                    () = shutdown.begun() => {}
                    reason = intake.gather(std::future::pending()) => return Err(reason),
                    () = self.room() => {}
                }
                if shutdown.has_begun() {
                    line.emptied().await;
                    return Ok(());
                }
                let prefetch = timeout(DECLARE_TIMEOUT, intake.subscribe()).await??;
                self.tell_of_subscription(prefetch);
                *backoff = waits();
            }
            let flushed = intake.flush();
            let batch = tokio::select! {
                biased;
                () = shutdown.begun() => {
                    // Those that are dead already need not be delivered again.
                    line.emptied().await;
                    return Ok(());
                }
                () = self.state.lost() => return Err(PASSED_OVER.into()),
                () = refusals.begin() => {
                    // Those that wait take up the prefetch, as below; `watch` counts on it.
                    intake.end();
                    continue;
                }
                batch = intake.next() => batch?,
                // Behind it: what has come is taken first.
                reason = self.passed_over(flushed) => return Err(reason),
                () = self.hand_over.logger_fails(ASK_INTERVAL) => {
                    logger_is_well = false;
                    intake.pause(Waiting::Logger);
                    continue;
                }
            };
            if !batch.is_empty() {
                self.take_care_of(batch, &mut intake, line).await?;
            }
        }
    }

    /// Returns once it is certain that RabbitMQ delivers nothing to the subscription though messages are ready: they were
    /// for a while, and then what was on its way has been `flushed` out, and nothing has come.
    async fn passed_over(&self, flushed: impl Future<Output = Result<(), Reason>>) -> Reason {
        let stood = self.state.suspicion().await;
        tracing::debug!("messages are ready and none comes: asking whether one is on its way");
        if let Err(reason) = flushed.await {
            return reason;
        }
        // The client library has put what came before the answer where it is taken from, and it is looked for once more.
        tokio::task::yield_now().await;
        if self.state.intake() == stood {
            return PASSED_OVER.into();
        }
        std::future::pending().await
    }

    fn tell_of_subscription(&mut self, prefetch: u16) {
        // It grows from one: the log need not have each step.
        match prefetch {
            1 => tracing::info!(most = self.prefetch, "consuming"),
            _ => tracing::debug!(prefetch, "consuming"),
        }
        if std::mem::replace(&mut self.interrupted, false) {
            metrics::reconnects().increment(1);
        }
    }

    /// Waits until what is unacked leaves room for more.
    async fn room(&self) {
        while self.state.unacked_bytes() > UNACKED_BYTES {
            self.state.set_waiting(Some(Waiting::Room));
            tokio::time::sleep(ROOM_INTERVAL).await;
        }
    }
}

fn waits() -> Waits {
    Waits::new(FIRST_WAIT, LONGEST_WAIT)
}
