//! Consumes log entries, hands each to the logger, and acknowledges what is settled.

use std::{collections::BTreeMap, env, time::Duration};

use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;

const QUEUE: &str = "logs.entries";
const DEAD: &str = "logs.dead";
const PREFETCH: u16 = 64;
const TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(300);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Why an entry is not stored.
enum NotStored {
    /// It never can be.
    Never(String),
    /// The logger could not, or nobody knows whether it did.
    Now(String),
}

struct Logger {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Logger {
    async fn store(&self, entry: &Value) -> Result<(), NotStored> {
        let now = |error: &dyn std::fmt::Display| NotStored::Now(error.to_string());
        let request =
            Request::post(&self.url).body(Full::from(entry.to_string())).map_err(|error| now(&error))?;
        let called = async {
            let response = self.client.request(request).await.map_err(|error| now(&error))?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|error| now(&error))?;
            Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        let (status, body) = tokio::time::timeout(TIMEOUT, called).await.map_err(|error| now(&error))??;
        match status {
            // `stored`, or `duplicate`: an attempt before this one had arrived.
            202 => Ok(()),
            408 | 429 => Err(now(&status)),
            400..=499 => Err(NotStored::Never(body)),
            _ => Err(now(&status)),
        }
    }
}

fn entry_of(delivery: &Delivery) -> Result<Value, NotStored> {
    let never = |why: &str| NotStored::Never(why.to_owned());
    let mut entry: Value =
        serde_json::from_slice(&delivery.data).map_err(|_| never("the body is not JSON"))?;
    let has_name = entry["name"].as_str().is_some_and(|name| !name.is_empty());
    if !has_name || entry.get("data").is_none() {
        return Err(never("the body is no entry: it needs name and data"));
    }
    if let (Value::Null, Some(id)) = (&entry["id"], delivery.properties.message_id()) {
        // Without an id a redelivery would be stored a second time.
        entry["id"] = id.as_str().into();
    }
    Ok(entry)
}

async fn set_aside(channel: &Channel, delivery: &Delivery, why: &str) -> Result<(), Failure> {
    let why: String = why.chars().take(300).collect();
    let headers = BTreeMap::from([("x-reason".into(), AMQPValue::LongString(why.into()))]);
    let properties = BasicProperties::default().with_delivery_mode(2).with_headers(FieldTable::from(headers));
    let (key, options) = (delivery.routing_key.clone(), BasicPublishOptions::default());
    let confirm = channel.basic_publish(DEAD.into(), key, options, &delivery.data, properties).await?.await?;
    match confirm {
        Confirmation::Ack(None) => Ok(()),
        refused => Err(format!("the dead letter was not taken: {refused:?}").into()),
    }
}

async fn handle(channel: &Channel, logger: &Logger, delivery: &Delivery) -> Result<(), Failure> {
    loop {
        let stored = match entry_of(delivery) {
            Ok(entry) => logger.store(&entry).await,
            Err(why) => Err(why),
        };
        match stored {
            Ok(()) => break,
            Err(NotStored::Never(why)) => {
                eprintln!("dead letter: {why}");
                tokio::time::timeout(TIMEOUT, set_aside(channel, delivery, &why)).await??;
                break;
            }
            Err(NotStored::Now(why)) => {
                eprintln!("not stored: {why}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // Only now may RabbitMQ forget it. An acknowledgement that is not sent in time is of a lost connection: lapin may
    // not notice by itself.
    tokio::time::timeout(TIMEOUT, delivery.acker.ack(BasicAckOptions::default())).await??;
    Ok(())
}

async fn consume(url: &str, logger: &Logger) -> Result<(), Failure> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    // A channel of its own for what is confirmed: confirms of two tasks must not mix.
    let dead = connection.create_channel().await?;
    dead.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?;
    while let Some(delivery) = consumer.next().await {
        handle(&dead, logger, &delivery?).await?;
    }
    Err("the consumer was cancelled".into())
}

#[tokio::main]
pub async fn main() {
    let url = env::var("AMQP_URL").expect("AMQP_URL is set");
    let logger = Logger {
        client: Client::builder(TokioExecutor::new()).build_http(),
        url: env::var("LOGGER_HTTP_URL").expect("LOGGER_HTTP_URL is set") + "/log",
    };
    loop {
        if let Err(error) = consume(&url, &logger).await {
            // What was not acknowledged is delivered again.
            eprintln!("RabbitMQ is lost: {error}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
