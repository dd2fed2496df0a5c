//! The dead letters, for people: to look at them, and to put each back or away.
//!
//! RabbitMQ has no way to read a queue without taking from it. What is taken and not settled goes back when it is let go,
//! which counts as a delivery; RabbitMQ 4 drops a message that was delivered more than 20 times. So a letter that was
//! looked at often is renewed: published again to the end of its queue, and only then acknowledged.

use std::{collections::BTreeMap, time::Duration};

use lapin::{
    BasicProperties, Channel, Connection, Error, ErrorKind,
    message::Delivery,
    options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};
use proto::{
    Code, Failure,
    rabbitmq::{DEAD_AT_HEADER, DEAD_CODE_HEADER, DEAD_REASON_HEADER, EXCHANGE, name_of},
};

use super::{
    AmqpUrl, DECLARE_TIMEOUT, RABBITMQ, connect,
    connection::{confirming_channel, in_time},
    kept,
    properties::revived,
    publish_confirmed,
};

/// How long one step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// From so many deliveries on a letter is renewed: half of those after which RabbitMQ 4 drops it.
const WORN_DELIVERIES: i64 = 10;

/// The queue of the dead letters, on a connection of its own.
#[derive(Debug)]
pub struct DeadLetters {
    url: AmqpUrl,
    taking: Channel,
    publishing: Channel,
    connection: Connection,
}

/// One of them. It is back in the queue when it is let go, unless it was settled.
#[derive(Debug)]
pub struct DeadLetter {
    /// The message's id; that in its body, where it has none; else one that is made of it.
    pub id: String,
    /// The failure's code; RabbitMQ's word, where that moved it there by itself.
    pub code: String,
    /// Why it can never be stored.
    pub reason: String,
    /// Since when it is one, in seconds since 1970; `None` if nobody has said so.
    pub since: Option<u64>,
    delivery: Delivery,
}

impl DeadLetters {
    /// Connects.
    ///
    /// # Errors
    /// If RabbitMQ refuses, or does not answer in time.
    pub async fn open(url: &AmqpUrl) -> Result<Self, Failure> {
        let connection = connect(url, "fourwire dead").await?;
        let channels =
            async { Ok((connection.create_channel().await?, confirming_channel(&connection).await?)) };
        let (taking, publishing) = in_time(url, DECLARE_TIMEOUT, channels).await?;
        Ok(DeadLetters { url: url.clone(), taking, publishing, connection })
    }

    /// How many there are.
    ///
    /// # Errors
    /// If there is no such queue, or no answer in time.
    pub async fn count(&self) -> Result<u32, Failure> {
        let queue = &self.url.queues().dead_letters;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let declared = self.taking.queue_declare(queue.as_str().into(), options, FieldTable::default());
        match tokio::time::timeout(STEP_TIMEOUT, declared).await {
            Ok(Ok(declared)) => Ok(declared.message_count()),
            Ok(Err(error)) if is_not_found(&error) => {
                let message =
                    format!("there is no queue {queue} in the virtual host {}", self.url.virtual_host());
                Err(Failure::new(Code::NotFound, message))
            }
            Ok(Err(error)) => Err(lost(error)),
            Err(_) => Err(Failure::unreachable(RABBITMQ).because("no answer in time")),
        }
    }

    /// Takes the next one; `None` if there is none.
    ///
    /// # Errors
    /// If the connection is lost, or there is no answer in time.
    pub async fn next(&self) -> Result<Option<DeadLetter>, Failure> {
        let queue = self.url.queues().dead_letters.as_str();
        let got = self.taking.basic_get(queue.into(), BasicGetOptions { no_ack: false });
        let got = in_time(&self.url, STEP_TIMEOUT, got).await?;
        Ok(got.map(|message| DeadLetter::of(message.delivery)))
    }

    /// Publishes it as it was, to where it came from, and removes it once RabbitMQ has confirmed that.
    ///
    /// # Errors
    /// What is certain of it. In any case it is still among the dead letters, or in the queue, or both.
    pub async fn put_back(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let key = letter.routing_key();
        // A message that was published to the queue directly has not come through the exchange.
        let by_level = key.strip_prefix("log.").is_some_and(|level| !level.contains('.'));
        let queue = self.url.queues().entries.as_str();
        let (exchange, key) = if by_level { (EXCHANGE, key) } else { ("", queue) };
        self.publish(exchange, key, letter, revived(&letter.delivery.properties)).await?;
        self.remove(letter).await
    }

    /// Removes it.
    ///
    /// # Errors
    /// If the connection was lost: then it is still there.
    pub async fn remove(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let removed = letter.delivery.acker.ack(BasicAckOptions { multiple: false });
        let removed = in_time(&self.url, STEP_TIMEOUT, removed).await?;
        if removed { Ok(()) } else { Err(Failure::unreachable(RABBITMQ).because("the channel was lost")) }
    }

    /// Leaves it where it is. It is back in the queue once all are let go.
    ///
    /// # Errors
    /// If it had to be renewed, and that failed: it is still among the dead letters, perhaps twice.
    pub async fn leave(&self, letter: &DeadLetter) -> Result<(), Failure> {
        if letter.deliveries() < WORN_DELIVERIES {
            return Ok(());
        }
        let exchange = self.url.queues().dead_letters.as_str();
        let properties = kept(&letter.delivery.properties, BTreeMap::new());
        self.publish(exchange, letter.routing_key(), letter, properties).await?;
        self.remove(letter).await
    }

    /// Gives back what was left, in its order.
    ///
    /// # Errors
    /// If the connection was lost: RabbitMQ gives it back then.
    pub async fn close(self) -> Result<(), Failure> {
        // Said in so many words, it does not count as a delivery from RabbitMQ 4.3 on; a lost connection does.
        let all = BasicNackOptions { multiple: true, requeue: true };
        let given_back = async { self.taking.basic_nack(0, all).await };
        in_time(&self.url, STEP_TIMEOUT, given_back).await?;
        in_time(&self.url, STEP_TIMEOUT, self.connection.close(200, "done".into())).await
    }

    async fn publish(
        &self,
        exchange: &str,
        key: &str,
        letter: &DeadLetter,
        properties: BasicProperties,
    ) -> Result<(), Failure> {
        let published = publish_confirmed(&self.publishing, exchange, key, letter.body(), properties);
        match tokio::time::timeout(STEP_TIMEOUT, published).await {
            Ok(published) => published,
            Err(_) => Err(Failure::unknown(RABBITMQ).because("no confirm in time")),
        }
    }
}

impl DeadLetter {
    fn of(delivery: Delivery) -> Self {
        let headers = delivery.properties.headers().as_ref();
        let header = |name: &str| headers.and_then(|headers| headers.inner().get(name));
        let own = |name: &str| header(name).and_then(text);
        let deaths = header("x-death").and_then(AMQPValue::as_array);
        let last_death = deaths.and_then(|deaths| deaths.as_slice().first()?.as_field_table());
        let death = |name: &str| last_death.and_then(|death| death.inner().get(name));
        let code = own(DEAD_CODE_HEADER).or_else(|| death("reason").and_then(text));
        let code = code.unwrap_or_else(|| "unknown".to_owned());
        let reason = own(DEAD_REASON_HEADER).unwrap_or_else(|| in_words(&code).to_owned());
        let since = header(DEAD_AT_HEADER).or_else(|| death("time"));
        let since = since.and_then(AMQPValue::as_timestamp);
        let message_id = delivery.properties.message_id().as_ref().map(|id| id.as_str());
        let id = name_of(&delivery.data, message_id, delivery.routing_key.as_str());
        DeadLetter { id, code, reason, since, delivery }
    }

    /// What the message says.
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// The routing key that it was published with.
    pub fn routing_key(&self) -> &str {
        self.delivery.routing_key.as_str()
    }

    /// Its properties and headers, as name and text.
    pub fn properties(&self) -> Vec<(String, String)> {
        let of = &self.delivery.properties;
        let texts = [
            ("content_type", of.content_type()),
            ("content_encoding", of.content_encoding()),
            ("correlation_id", of.correlation_id()),
            ("reply_to", of.reply_to()),
            ("message_id", of.message_id()),
            ("type", of.kind()),
            ("app_id", of.app_id()),
            ("cluster_id", of.cluster_id()),
        ];
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?.to_string())));
        let priority = of.priority().map(|value| ("priority", value.to_string()));
        let timestamp = of.timestamp().map(|value| ("timestamp", value.to_string()));
        let plain = texts.chain(priority).chain(timestamp).map(|(name, value)| (name.to_owned(), value));
        let headers = of.headers().iter().flat_map(|headers| headers.inner());
        plain.chain(headers.map(|(name, value)| (format!("header {name}"), shown(value)))).collect()
    }

    fn deliveries(&self) -> i64 {
        let headers = self.delivery.properties.headers().as_ref();
        let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
        count.and_then(AMQPValue::as_long_long_int).unwrap_or_default()
    }
}

fn text(value: &AMQPValue) -> Option<String> {
    let short = || value.as_short_string().map(ToString::to_string);
    value.as_long_string().map(ToString::to_string).or_else(short)
}

/// A header's value for people. What holds others is only named: it may be nested deeply.
fn shown(value: &AMQPValue) -> String {
    match value {
        AMQPValue::FieldTable(table) => format!("{{{} fields}}", table.inner().len()),
        AMQPValue::FieldArray(array) => format!("[{} values]", array.as_slice().len()),
        AMQPValue::Void => "none".to_owned(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::DecimalValue(value) => format!("{} / 10^{}", value.value, value.scale),
        AMQPValue::ShortString(value) => value.to_string(),
        AMQPValue::LongString(value) => value.to_string(),
        AMQPValue::ByteArray(value) => format!("{} bytes", value.as_slice().len()),
    }
}

/// What RabbitMQ's own words mean.
fn in_words(code: &str) -> &'static str {
    match code {
        "delivery_limit" => {
            "its consumer crashed or lost the connection more than 20 times before it was stored"
        }
        "expired" => "it expired",
        "maxlen" => "the queue was full",
        "rejected" => "a consumer rejected it",
        _ => "no reason was given",
    }
}

fn is_not_found(error: &Error) -> bool {
    let not_found = AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND);
    matches!(error.kind(), ErrorKind::ProtocolError(refused) if *refused.kind() == not_found)
}

fn lost(error: Error) -> Failure {
    Failure::unreachable(RABBITMQ).because(error)
}
