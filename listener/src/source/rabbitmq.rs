//! RabbitMQ as the source, over AMQP: the only module of the listener that names lapin.

mod dead_letters;

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Connection, message,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;
use transport::rabbitmq::{self, AmqpUrl, DECLARE_TIMEOUT, Depths, declare_topology};

pub(crate) use self::dead_letters::DeadLetterQueue;
use super::Reason;

/// How long an acknowledgement may take to leave.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a channel is checked where nothing else would notice its loss.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How long RabbitMQ may take to count messages before the number is not known.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that takes the deliveries of a queue, over a channel of its own.
#[derive(Debug)]
pub(crate) struct Session {
    channel: Channel,
    queue: String,
    _connection: Connection,
}

impl Session {
    /// Connects, and declares what there must be.
    ///
    /// # Errors
    /// If RabbitMQ cannot be reached, refuses, or takes longer than 10 s.
    pub(crate) async fn open(amqp_url: &AmqpUrl) -> Result<Self, Reason> {
        let connected = rabbitmq::connect(amqp_url, "fourwire listener").await;
        let connection =
            connected.map_err(|failure| format!("{}: {}", failure.happened(), failure.cause()))?;
        let queues = amqp_url.queues();
        let prepared = async {
            let channel = connection.create_channel().await?;
            declare_topology(&channel, queues).await?;
            Ok::<_, lapin::Error>(channel)
        };
        let channel = timeout(DECLARE_TIMEOUT, prepared).await??;
        Ok(Session { channel, queue: queues.entries.clone(), _connection: connection })
    }

    /// Subscribes, with a prefetch of its own, which RabbitMQ keeps for as long as the subscription lasts. Not
    /// cancel-safe: the deliveries would reach nobody.
    ///
    /// # Errors
    /// If RabbitMQ refuses, or the connection is lost.
    pub(crate) async fn subscribe(&self, prefetch: u16) -> Result<Subscription, Reason> {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions { no_ack: false, ..BasicConsumeOptions::default() };
        let queue = self.queue.as_str().into();
        let consumer = self.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        Ok(Subscription { channel: self.channel.clone(), consumer, prefetch, is_ending: false })
    }

    /// Returns once the channel is lost.
    pub(crate) async fn lost(&self) -> Reason {
        lost(&self.channel).await;
        "the channel was lost".into()
    }
}

/// Returns once the channel is lost. lapin may never end a wait for an answer on it.
async fn lost(channel: &Channel) {
    while channel.status().connected() {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What RabbitMQ delivers to.
#[derive(Debug)]
pub(crate) struct Subscription {
    channel: Channel,
    consumer: lapin::Consumer,
    prefetch: u16,
    is_ending: bool,
}

impl Subscription {
    /// Whether it was cancelled: what was under way then still comes.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// Cancels it.
    pub(crate) fn cancel(&mut self) {
        self.is_ending = true;
        let cancelled = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        // It leaves at once; RabbitMQ's answer ends the consumer's stream, as an error does.
        let _ = cancelled.now_or_never();
    }

    /// Asks RabbitMQ on the channel of the subscription, and waits for the answer: what the queue had delivered by then has
    /// come before it, however slow the link is. Has no deadline but the heartbeats of the connection.
    ///
    /// # Errors
    /// If RabbitMQ refuses, or the connection is lost.
    pub(crate) fn flush(&self) -> impl Future<Output = Result<(), Reason>> + Send + use<> {
        let (channel, queue, prefetch) = (self.channel.clone(), self.consumer.queue(), self.prefetch);
        async move {
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
            // The queue answers after it has handed its messages to the channel; the channel may pass that on first.
            channel.queue_declare(queue, passive, FieldTable::default()).await?;
            // The channel itself answers: in its order, after what it had been handed. It stays as it is.
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            Ok(())
        }
    }

    /// Waits for a delivery; `None` once it was cancelled and nothing more comes. Nothing is lost if it is given up.
    ///
    /// # Errors
    /// If the subscription or the connection was lost.
    pub(crate) async fn next(&mut self) -> Result<Option<Delivery>, Reason> {
        match self.consumer.next().await {
            Some(delivery) => Ok(Some(Delivery(delivery?))),
            None if self.is_ending => Ok(None),
            None => Err("RabbitMQ ended the subscription".into()),
        }
    }
}

/// A message that RabbitMQ has delivered. It delivers it again unless it is acknowledged.
#[derive(Debug)]
pub(crate) struct Delivery(message::Delivery);

impl Delivery {
    /// What was published.
    pub(crate) fn body(&self) -> &[u8] {
        &self.0.data
    }

    /// Its routing key.
    pub(crate) fn key(&self) -> &str {
        self.0.routing_key.as_str()
    }

    /// The id that its publisher gave it.
    pub(crate) fn message_id(&self) -> Option<&str> {
        self.0.properties.message_id().as_ref().map(|id| id.as_str())
    }

    /// The text of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers()?.inner().get(name)?.as_long_string()?;
        str::from_utf8(value.as_bytes()).ok()
    }

    /// How often it was delivered before and lost, by RabbitMQ's count.
    pub(crate) fn losses(&self) -> i64 {
        // What is new may have the header from its sender.
        if !self.0.redelivered {
            return 0;
        }
        let count = self.headers().and_then(|headers| headers.inner().get("x-delivery-count"));
        count.and_then(AMQPValue::as_long_long_int).unwrap_or_default()
    }

    fn headers(&self) -> Option<&FieldTable> {
        self.0.properties.headers().as_ref()
    }

    /// Acknowledges it; with all that came before it on its channel, if `with_all_before`.
    ///
    /// # Errors
    /// If the channel was lost before: RabbitMQ delivers it again.
    pub(crate) async fn acknowledge(&self, with_all_before: bool) -> Result<(), Reason> {
        // lapin may wait forever when the connection is lost in the middle of it.
        let acknowledged = self.0.acker.ack(BasicAckOptions { multiple: with_all_before });
        if timeout(ACK_TIMEOUT, acknowledged).await?? {
            return Ok(());
        }
        Err("the channel was lost before the acknowledgement: RabbitMQ will redeliver".into())
    }

    /// Whether it can still be acknowledged.
    pub(crate) fn is_open(&self) -> bool {
        self.0.acker.usable()
    }

    /// Whether its channel was lost: RabbitMQ has it back.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.acker.poisoned()
    }

    /// A delivery of this size, with a count of losses by RabbitMQ (`redelivered`) or claimed by its publisher.
    #[cfg(test)]
    pub(crate) fn mock(bytes: usize, redelivered: bool, count: Option<i64>) -> Self {
        let mut headers = FieldTable::default();
        if let Some(count) = count {
            headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(count));
        }
        let properties = lapin::BasicProperties::default().with_headers(headers);
        let mock =
            message::Delivery::mock(1, "logs_topic".into(), "log.INFO".into(), redelivered, vec![0; bytes]);
        Delivery(message::Delivery { properties, ..mock })
    }
}

/// A connection that counts messages and consumers.
#[derive(Debug)]
pub(crate) struct QueueWatch<'a> {
    channel: Channel,
    amqp_url: &'a AmqpUrl,
    _connection: Connection,
}

impl<'a> QueueWatch<'a> {
    /// # Errors
    /// If RabbitMQ cannot be reached.
    pub(crate) async fn open(amqp_url: &'a AmqpUrl) -> Result<Self, Reason> {
        let connection = rabbitmq::connect(amqp_url, "fourwire listener, depth of the queues").await?;
        let channel = timeout(COUNT_TIMEOUT, connection.create_channel()).await??;
        Ok(QueueWatch { channel, amqp_url, _connection: connection })
    }

    /// Counts. It declares the queues: one that is not there would be an error, which ends the channel.
    ///
    /// # Errors
    /// If RabbitMQ does not answer within 5 s, or the connection is lost.
    pub(crate) async fn count(&self) -> Result<Depths, Reason> {
        let declared = declare_topology(&self.channel, self.amqp_url.queues());
        Ok(timeout(COUNT_TIMEOUT, declared).await??)
    }
}
