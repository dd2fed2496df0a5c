//! Takes deliveries from RabbitMQ in batches, and acknowledges a batch once all of it is settled.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use lapin::{
    Channel, Connection,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use proto::{
    Failure, LogEntry,
    rabbitmq::{QUEUE, parse_message},
};
use service::Shutdown;
use transport::{
    Waits,
    rabbitmq::{self, AmqpUrl, DECLARE_TIMEOUT},
};

use crate::{
    batches::Batches, dead_letters::DeadLetters, hand_over::HandOver, metrics, spans::BatchSpans,
    state::State,
};

/// The first wait before connecting again, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long an acknowledgement may take to leave.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a batch may be held while the logger is down. RabbitMQ closes the channel of a delivery that is
/// not acknowledged within 30 minutes.
const HOLD_LIMIT: Duration = Duration::from_secs(600);

/// Takes deliveries, batch after batch.
#[derive(Debug)]
pub struct Consumer {
    amqp_url: AmqpUrl,
    prefetch: u16,
    hand_over: HandOver,
    dead_letters: DeadLetters,
    state: Arc<State>,
    /// An entry that could not be stored while its batch was held.
    unsettled: Option<Positioned<LogEntry>>,
    /// Whether consuming ended, or an attempt failed, since it last began.
    interrupted: bool,
}

/// Why consuming ended.
pub(crate) type Reason = Box<dyn std::error::Error + Send + Sync>;

impl Consumer {
    pub(crate) fn new(
        amqp_url: AmqpUrl,
        prefetch: u16,
        hand_over: HandOver,
        dead_letters: DeadLetters,
        state: Arc<State>,
    ) -> Self {
        Consumer { amqp_url, prefetch, hand_over, dead_letters, state, unsettled: None, interrupted: false }
    }

    /// Takes deliveries until `shutdown`, and connects again whenever the connection is lost.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        let mut waits = waits();
        while !shutdown.has_begun() {
            // What is not taken need not be given back: an outage of the logger must not use up deliveries.
            tokio::select! {
                () = shutdown.begun() => break,
                () = self.logger_stores() => {}
            }
            let result = self.consume(&shutdown, &mut waits).await;
            self.state.set_consuming(false);
            if let Err(reason) = result {
                tracing::warn!(reason, "not consuming; connecting again");
                self.interrupted = true;
                let wait = waits.next_wait();
                let _ = tokio::time::timeout(wait, shutdown.begun()).await;
            }
        }
    }

    /// Waits until the logger answers and, if it has refused a batch for too long, until it stores an entry of
    /// that: it will be delivered again, and its id makes that safe.
    async fn logger_stores(&mut self) {
        self.hand_over.logger_answers().await;
        if let Some(entry) = &self.unsettled {
            self.hand_over.store(vec![entry.clone()]).await;
        }
        self.unsettled = None;
    }

    async fn consume(&mut self, shutdown: &Shutdown, backoff: &mut Waits) -> Result<(), Reason> {
        let connection = rabbitmq::connect(&self.amqp_url, "fourwire listener").await.map_err(with_cause)?;
        let deliveries = tokio::time::timeout(DECLARE_TIMEOUT, subscribe(&connection, self.prefetch));
        let (limit, state) = (usize::from(self.prefetch / 2), Arc::clone(&self.state));
        let mut deliveries = Batches::new(deliveries.await??, limit, state);
        tracing::info!(prefetch = self.prefetch, "consuming");
        self.state.set_consuming(true);
        if std::mem::replace(&mut self.interrupted, false) {
            metrics::reconnects().increment(1);
        }
        *backoff = waits();
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.begun() => return Ok(()),
                batch = deliveries.next() => batch?,
            };
            #[cfg(feature = "faults")]
            if crate::faults::Fault::AckOnReceipt.is_on() {
                acknowledge(&batch).await?;
                deliveries.acknowledged();
                let stored = self.settle(&batch).await;
                metrics::stored().increment(stored as u64);
                continue;
            }
            let settled = tokio::select! {
                // RabbitMQ has the batch back: whoever takes it now settles it.
                reason = deliveries.gather() => return Err(reason),
                settled = tokio::time::timeout(HOLD_LIMIT, self.settle(&batch)) => settled,
            };
            let Ok(stored) = settled else {
                self.unsettled = decode(&batch).0.into_iter().find(|(at, _)| has_own_id(&batch[*at]));
                return Err("nothing could be stored for so long that the batch goes back to RabbitMQ".into());
            };
            acknowledge(&batch).await?;
            deliveries.acknowledged();
            // What is not acknowledged comes again, and is counted then.
            metrics::stored().increment(stored as u64);
        }
    }

    /// Brings every delivery of a batch to where it may be acknowledged: stored, or among the dead letters. Returns how
    /// many are stored.
    async fn settle(&mut self, batch: &[Delivery]) -> usize {
        let spans = BatchSpans::of(batch);
        let (entries, mut dead) = decode(batch);
        dead.extend(spans.hand_over.around(self.hand_over.store(entries)).await);
        let stored = batch.len() - dead.len();
        for (position, failure) in dead {
            let trace_id = spans.dead(position, &failure);
            self.dead_letters.put(&batch[position], &failure, trace_id).await;
            metrics::dead_letters(failure.code).increment(1);
        }
        stored
    }
}

/// An entry, and its position in the batch of deliveries.
pub(crate) type Positioned<T> = (usize, T);

fn decode(batch: &[Delivery]) -> (Vec<Positioned<LogEntry>>, Vec<Positioned<Failure>>) {
    let (mut entries, mut dead) = (Vec::new(), Vec::new());
    for (position, delivery) in batch.iter().enumerate() {
        let message_id = delivery.properties.message_id().as_ref().map(|id| id.as_str());
        let key = delivery.routing_key.as_str();
        match parse_message(&delivery.data, message_id, key, Timestamp::now()) {
            Ok(message) => entries.push((position, message.entry)),
            Err(failure) => dead.push((position, failure)),
        }
    }
    (entries, dead)
}

/// Whether the entry of a delivery will have the same id when it is delivered again.
fn has_own_id(delivery: &Delivery) -> bool {
    delivery.properties.message_id().is_some()
}

async fn subscribe(connection: &Connection, prefetch: u16) -> Result<lapin::Consumer, lapin::Error> {
    let channel: Channel = connection.create_channel().await?;
    rabbitmq::declare_topology(&channel, &proto::rabbitmq::Queues::default()).await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions { no_ack: false, ..BasicConsumeOptions::default() };
    channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await
}

async fn acknowledge(batch: &[Delivery]) -> Result<(), Reason> {
    // All up to the last are settled, and a channel's deliveries come in order: one frame will do.
    let Some(last) = batch.last() else { return Ok(()) };
    // lapin may wait for ever when the connection is lost in the middle of it.
    let acknowledged = tokio::time::timeout(ACK_TIMEOUT, last.acker.ack(BasicAckOptions { multiple: true }));
    match acknowledged.await?? {
        true => Ok(()),
        false => Err("the channel was lost before the acknowledgement: RabbitMQ will deliver again".into()),
    }
}

fn waits() -> Waits {
    Waits::new(FIRST_WAIT, LONGEST_WAIT)
}

fn with_cause(failure: Failure) -> Reason {
    format!("{}: {}", failure.message, failure.cause()).into()
}
