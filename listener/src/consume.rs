//! Takes deliveries from RabbitMQ in batches, and acknowledges a batch once all of it is settled.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;
use lapin::{
    Channel, Connection,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use proto::{
    Failure, LogEntry,
    limits::BODY_BYTES,
    rabbitmq::{QUEUE, parse_message},
};
use service::Shutdown;
use transport::rabbitmq::{self, AmqpUrl, DECLARE_TIMEOUT};

use crate::{dead_letters::DeadLetters, hand_over::HandOver, state::State};

/// Most bytes of a batch: half of what the logger takes in one request, since an entry grows on the wire.
const BATCH_BYTES: usize = BODY_BYTES / 2;

/// How long an acknowledgement may take to leave.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// From this many lost deliveries on, a message is handled alone: if it is what kills the listener, it shall
/// not take its neighbours along to the dead letters.
const SUSPECT_DELIVERIES: i64 = 2;

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
}

/// Why consuming ended.
type Reason = Box<dyn std::error::Error + Send + Sync>;

impl Consumer {
    pub(crate) fn new(
        amqp_url: AmqpUrl,
        prefetch: u16,
        hand_over: HandOver,
        dead_letters: DeadLetters,
        state: Arc<State>,
    ) -> Self {
        Consumer { amqp_url, prefetch, hand_over, dead_letters, state, unsettled: None }
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
            self.state.set_held(0);
            if let Err(reason) = result {
                tracing::warn!(reason, "not consuming; connecting again");
                let wait = waits.next().unwrap_or_default();
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

    async fn consume(&mut self, shutdown: &Shutdown, backoff: &mut ExponentialBackoff) -> Result<(), Reason> {
        let connection = rabbitmq::connect(&self.amqp_url, "fourwire listener").await.map_err(with_cause)?;
        let deliveries = tokio::time::timeout(DECLARE_TIMEOUT, subscribe(&connection, self.prefetch));
        let mut deliveries = Batches::new(deliveries.await??, usize::from(self.prefetch / 2));
        tracing::info!(prefetch = self.prefetch, "consuming");
        self.state.set_consuming(true);
        *backoff = waits();
        loop {
            let batch = tokio::select! {
                () = shutdown.begun() => return Ok(()),
                batch = deliveries.next() => batch?,
            };
            self.state.set_held(batch.len());
            #[cfg(feature = "faults")]
            if crate::faults::Fault::AckOnReceipt.is_on() {
                acknowledge(&batch).await?;
                self.settle(&batch).await;
                continue;
            }
            if tokio::time::timeout(HOLD_LIMIT, self.settle(&batch)).await.is_err() {
                self.unsettled = decode(&batch).0.into_iter().find(|(at, _)| has_own_id(&batch[*at]));
                return Err("nothing could be stored for so long that the batch goes back to RabbitMQ".into());
            }
            acknowledge(&batch).await?;
            self.state.set_held(0);
        }
    }

    /// Brings every delivery of a batch to where it may be acknowledged: stored, or among the dead letters.
    async fn settle(&mut self, batch: &[Delivery]) {
        let (entries, mut dead) = decode(batch);
        dead.extend(self.hand_over.store(entries).await);
        metrics::counter!("listener_stored_total").increment((batch.len() - dead.len()) as u64);
        for (position, failure) in dead {
            metrics::counter!("listener_dead_letters_total", "code" => failure.code.as_str()).increment(1);
            self.dead_letters.put(&batch[position], &failure).await;
        }
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
            Ok(entry) => entries.push((position, entry)),
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
    rabbitmq::declare_topology(&channel).await?;
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

/// Deliveries, as many at a time as have gathered.
struct Batches {
    deliveries: lapin::Consumer,
    limit: usize,
    /// What is to come alone, and was found behind others.
    aside: Option<Delivery>,
}

impl Batches {
    fn new(deliveries: lapin::Consumer, limit: usize) -> Self {
        Batches { deliveries, limit, aside: None }
    }

    /// Waits for a delivery, and takes what has gathered behind it.
    async fn next(&mut self) -> Result<Vec<Delivery>, Reason> {
        let first = match self.aside.take() {
            Some(delivery) => delivery,
            None => self.deliveries.next().await.ok_or("RabbitMQ ended the subscription")??,
        };
        if is_suspect(&first) {
            return Ok(vec![first]);
        }
        let mut bytes = first.data.len();
        let mut batch = vec![first];
        while batch.len() < self.limit && bytes < BATCH_BYTES {
            let Some(Some(delivery)) = self.deliveries.next().now_or_never() else { break };
            let delivery = delivery?;
            bytes += delivery.data.len();
            if is_suspect(&delivery) || bytes > BATCH_BYTES {
                self.aside = Some(delivery);
                break;
            }
            batch.push(delivery);
        }
        Ok(batch)
    }
}

fn is_suspect(delivery: &Delivery) -> bool {
    let headers = delivery.properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    count.and_then(lapin::types::AMQPValue::as_long_long_int).is_some_and(|count| count >= SUSPECT_DELIVERIES)
}

/// Waits from 50 ms to 1 s, with jitter, for ever.
fn waits() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_jitter()
        .without_max_times()
        .build()
}

fn with_cause(failure: Failure) -> Reason {
    format!("{}: {}", failure.message, failure.cause()).into()
}
