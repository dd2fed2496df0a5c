//! Our own end of RabbitMQ: publishes, counts, and takes what lies in a queue.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeleteOptions,
    },
    types::AMQPValue,
};
use proto::rabbitmq::{DEAD_LETTER, EXCHANGE, QUEUE, Queues};
use serde_json::Value;
use transport::rabbitmq::{Depths, declare_topology};

use crate::{verdict::Trouble, words::text};

/// A queue of the checks' own that is soon full.
pub const SMALL_QUEUE: &str = "small";

/// The text of a header between quotes; of one that is no text, its type.
pub fn header_text(value: &AMQPValue) -> String {
    value
        .as_long_string()
        .map_or_else(|| value.get_type().to_string(), |text| format!("{:?}", text.to_string()))
}

/// How long RabbitMQ may take for anything.
const STEP: Duration = Duration::from_secs(20);

/// A connection of the check's own.
#[derive(Debug)]
pub struct Amqp {
    _connection: Connection,
    channel: Channel,
}

impl Amqp {
    /// Connects, with confirms.
    ///
    /// # Errors
    /// If RabbitMQ refuses, or does not answer in time.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let opened = async {
            let connection = Connection::connect(url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            anyhow::Ok(Amqp { _connection: connection, channel })
        };
        tokio::time::timeout(STEP, opened).await?
    }

    /// The channel, for what is not in here.
    pub const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Declares what publisher and listener of Fourwire declare, and says how many messages there are.
    ///
    /// # Errors
    /// If RabbitMQ refuses.
    pub async fn depths(&self) -> anyhow::Result<Depths> {
        Ok(tokio::time::timeout(STEP, declare_topology(&self.channel, &Queues::default())).await??)
    }

    /// Deletes everything that checks and services declare.
    ///
    /// # Errors
    /// If RabbitMQ refuses.
    pub async fn clear(&self) -> anyhow::Result<()> {
        let cleared = async {
            for queue in [QUEUE, DEAD_LETTER, SMALL_QUEUE] {
                self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
            }
            for exchange in [EXCHANGE, DEAD_LETTER] {
                self.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(STEP, cleared).await?
    }

    /// Publishes a body to the exchange of entries, persistent, and waits for the confirm.
    ///
    /// # Errors
    /// If it is not confirmed.
    pub async fn publish(&self, key: &str, id: &str, body: &[u8]) -> anyhow::Result<()> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(id.into())
            .with_content_type("application/json".into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let published = async {
            anyhow::Ok(
                self.channel
                    .basic_publish(EXCHANGE.into(), key.into(), options, body, properties)
                    .await?
                    .await?,
            )
        };
        let confirmed = tokio::time::timeout(STEP, published).await??;
        if !matches!(confirmed, lapin::Confirmation::Ack(None)) {
            Err(Trouble(text!(
                "RabbitMQ did not take a message: {confirmed:?}",
                "RabbitMQ не принял сообщение: {confirmed:?}"
            )))?;
        }
        Ok(())
    }

    /// Publishes an entry as the broker does.
    ///
    /// # Errors
    /// As [`Amqp::publish`].
    pub async fn publish_entry(&self, entry: &Value) -> anyhow::Result<()> {
        let level = entry["level"].as_str().unwrap_or("info").to_uppercase();
        let id = entry["id"].as_str().unwrap_or_default();
        self.publish(&format!("log.{level}"), id, entry.to_string().as_bytes()).await
    }

    /// Takes up to so many messages off a queue.
    ///
    /// # Errors
    /// If there is no such queue.
    pub async fn take(&self, queue: &str, most: usize) -> anyhow::Result<Vec<BasicGetMessage>> {
        let mut messages = Vec::new();
        while messages.len() < most {
            let get = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
            let Some(message) = tokio::time::timeout(STEP, get).await?? else { break };
            messages.push(message);
        }
        Ok(messages)
    }
}
