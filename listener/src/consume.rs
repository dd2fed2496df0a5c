//! Takes deliveries from RabbitMQ in batches, and acknowledges a batch once all of it is settled.

use std::{sync::Arc, time::Duration};

use ::metrics::Counter;
use jiff::Timestamp;
use lapin::{Connection, options::BasicAckOptions};
use proto::{Failure, LogEntry, rabbitmq::parse_message};
use service::Shutdown;
use transport::{
    Waits,
    rabbitmq::{self, AmqpUrl, DECLARE_TIMEOUT},
};

use crate::{
    dead_letters::{DeadLetters, Letter, Line},
    hand_over::HandOver,
    intake::{Intake, Seen},
    metrics,
    pace::HELD_BYTES,
    state::{Held, State, Waiting},
    traced::BatchSpans,
};

/// The first wait before connecting again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long an acknowledgement may take to leave.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a batch may be held while the logger is down. RabbitMQ closes the channel of a delivery that is
/// not acknowledged within 30 minutes.
const HOLD_LIMIT: Duration = Duration::from_secs(600);

/// How often the logger is asked while nothing comes: what comes when it is down would be held for nothing.
const ASK_INTERVAL: Duration = Duration::from_secs(2);

/// How often it is looked whether there is room again.
const ROOM_INTERVAL: Duration = Duration::from_millis(200);

/// Takes deliveries, batch after batch.
#[derive(Debug)]
pub struct Consumer {
    amqp_url: AmqpUrl,
    prefetch: u16,
    hand_over: HandOver,
    state: Arc<State>,
    /// An entry that could not be stored while its batch was held.
    unsettled: Option<Positioned<LogEntry>>,
    /// Whether consuming ended, or an attempt failed, since it last began.
    interrupted: bool,
    /// Whether the log has been told of a level that is not known.
    told_of_levels: bool,
    assumed_levels: Counter,
}

/// Why consuming ended.
pub(crate) type Reason = Box<dyn std::error::Error + Send + Sync>;

impl Consumer {
    /// Call it after the recorder of the metrics is installed.
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
                    tracing::warn!(reason, "not consuming; connecting again");
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
        let connection = rabbitmq::connect(&self.amqp_url, "fourwire listener").await.map_err(with_cause)?;
        let intake = tokio::time::timeout(DECLARE_TIMEOUT, self.prepare(&connection));
        let mut intake = intake.await??;
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
                let prefetch = tokio::time::timeout(DECLARE_TIMEOUT, intake.subscribe()).await??;
                self.tell_of_subscription(prefetch);
                *backoff = waits();
            }
            let batch = tokio::select! {
                biased;
                () = shutdown.begun() => {
                    // Those that are dead already need not be delivered again.
                    line.emptied().await;
                    return Ok(());
                }
                () = self.state.lost() => return Err("RabbitMQ delivers nothing, though messages wait: was the queue declared anew?".into()),
                () = refusals.begin() => {
                    // Those that wait take up the prefetch, as below; `watch` counts on it.
                    intake.end();
                    continue;
                }
                batch = intake.next() => batch?,
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

    async fn prepare(&self, connection: &Connection) -> Result<Intake, lapin::Error> {
        let channel = connection.create_channel().await?;
        let queues = self.amqp_url.queues();
        rabbitmq::declare_topology(&channel, queues).await?;
        Ok(Intake::new(channel, &queues.entries, self.prefetch, Arc::clone(&self.state)))
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

    /// Waits until what is held leaves room for more.
    async fn room(&self) {
        while self.state.held_bytes() > HELD_BYTES {
            self.state.set_waiting(Some(Waiting::Room));
            tokio::time::sleep(ROOM_INTERVAL).await;
        }
    }

    /// Brings every delivery of a batch to where it may be acknowledged: stored, or in the line of the dead letters.
    async fn take_care_of(
        &mut self,
        batch: Vec<Held>,
        intake: &mut Intake,
        line: &Line,
    ) -> Result<(), Reason> {
        let seen: Vec<Seen> = batch.iter().map(|held| Seen::of(held)).collect();
        #[cfg(feature = "faults")]
        let on_receipt = crate::faults::Fault::AckOnReceipt.is_on();
        #[cfg(not(feature = "faults"))]
        let on_receipt = false;
        if on_receipt {
            acknowledge(&batch, true).await?;
        }
        let spans = BatchSpans::of(&batch, &self.amqp_url.queues().entries);
        let (entries, mut dead) = self.decode(&batch);
        // That of a batch before.
        let _ = futures_util::FutureExt::now_or_never(self.hand_over.trouble());
        let stored = spans.hand_over.around(self.hand_over.store(entries));
        let refused = tokio::select! {
            // RabbitMQ has the batch back: the next consumer settles it.
            reason = intake.gather(self.hand_over.trouble()) => return Err(reason),
            refused = tokio::time::timeout(HOLD_LIMIT, stored) => refused,
        };
        let Ok(refused) = refused else {
            let (entries, _) = self.decode(&batch);
            self.unsettled = entries.into_iter().find(|(at, _)| has_own_id(&batch[*at]));
            return Err("nothing could be stored for so long that the batch goes back to RabbitMQ".into());
        };
        dead.extend(refused);
        dead.sort_by_key(|(position, _)| *position);
        let (mut stored, mut letters) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut dead = dead.into_iter().peekable();
        for (position, held) in batch.into_iter().enumerate() {
            match dead.next_if(|(at, _)| *at == position) {
                Some((_, failure)) => {
                    let trace_id = spans.dead(position, &failure);
                    letters.push(Letter { held, failure, trace_id });
                }
                None => stored.push(held),
            }
        }
        drop(spans);
        // In one frame, unless there is one before them that may not be acknowledged yet.
        let all = letters.is_empty() && line.is_acknowledged();
        if !on_receipt {
            acknowledge(&stored, all).await?;
        }
        // What is not acknowledged comes again, and is counted then.
        metrics::stored().increment(stored.len() as u64);
        drop(stored);
        let any_dead = !letters.is_empty();
        let put = async {
            for letter in letters {
                line.put(letter).await;
            }
        };
        tokio::select! {
            reason = intake.gather(std::future::pending()) => return Err(reason),
            () = put => {}
        }
        intake.learn(&seen);
        if any_dead && self.state.dead_letters_refused() {
            // Those that wait take up the prefetch: another subscription has one of its own.
            intake.end();
        }
        Ok(())
    }

    fn decode(&mut self, batch: &[Held]) -> (Vec<Positioned<LogEntry>>, Vec<Positioned<Failure>>) {
        let (mut entries, mut dead) = (Vec::new(), Vec::new());
        for (position, delivery) in batch.iter().enumerate() {
            let message_id = delivery.properties.message_id().as_ref().map(|id| id.as_str());
            let key = delivery.routing_key.as_str();
            match parse_message(&delivery.data, message_id, key, Timestamp::now()) {
                Ok(message) => {
                    if message.level_is_assumed {
                        self.tell_of_level(key);
                    }
                    entries.push((position, message.entry));
                }
                Err(failure) => dead.push((position, failure)),
            }
        }
        (entries, dead)
    }

    fn tell_of_level(&mut self, key: &str) {
        self.assumed_levels.increment(1);
        // One who sends many is told once; the metric counts them.
        if !std::mem::replace(&mut self.told_of_levels, true) {
            tracing::warn!(
                key,
                "a routing key names no level that is known: what comes with such is stored as info"
            );
        }
    }
}

/// An entry, and its position in the batch of deliveries.
pub(crate) type Positioned<T> = (usize, T);

/// Whether the entry of a delivery will have the same id when it is delivered again.
fn has_own_id(delivery: &Held) -> bool {
    delivery.properties.message_id().is_some()
}

/// Acknowledges deliveries: in one frame, if none that came before the last of them is to be left.
async fn acknowledge(batch: &[Held], all: bool) -> Result<(), Reason> {
    // A channel's deliveries come in order, so the last stands for all before it.
    let single = if all { batch.len().saturating_sub(1) } else { 0 };
    for delivery in &batch[single..] {
        // lapin may wait for ever when the connection is lost in the middle of it.
        let acknowledged = delivery.acker.ack(BasicAckOptions { multiple: all });
        match tokio::time::timeout(ACK_TIMEOUT, acknowledged).await?? {
            true => {}
            false => {
                return Err(
                    "the channel was lost before the acknowledgement: RabbitMQ will deliver again".into()
                );
            }
        }
    }
    Ok(())
}

fn waits() -> Waits {
    Waits::new(FIRST_WAIT, LONGEST_WAIT)
}

fn with_cause(failure: Failure) -> Reason {
    format!("{}: {}", failure.message, failure.cause()).into()
}
