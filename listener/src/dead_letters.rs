//! Where deliveries go that can never be stored: a queue of their own, each with its reason.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Connection,
    message::Delivery,
    options::ConfirmSelectOptions,
    types::{AMQPValue, FieldTable},
};
use proto::{
    Failure,
    rabbitmq::{DEAD_CODE_HEADER, DEAD_LETTER, DEAD_REASON_HEADER},
};
use trace::TraceId;
use tracing::field::display;
use transport::rabbitmq::{self, AmqpUrl};

use crate::spans::entry_id;

/// How long one attempt may take, and how long to wait before the next.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_millis(500);

/// Publishes dead letters, on a connection of its own: while RabbitMQ is short of memory it stops reading from
/// connections that publish, and acknowledgements must go on.
#[derive(Debug)]
pub struct DeadLetters {
    amqp_url: AmqpUrl,
    open: Option<(Connection, Channel)>,
}

impl DeadLetters {
    pub(crate) fn new(amqp_url: AmqpUrl) -> Self {
        DeadLetters { amqp_url, open: None }
    }

    /// Publishes a copy of `delivery` with the reason why it can never be stored. Returns when RabbitMQ has
    /// confirmed it, and not before. The log has it with its id and its trace, as far as there are such.
    pub(crate) async fn put(&mut self, delivery: &Delivery, failure: &Failure, trace_id: Option<TraceId>) {
        let key = delivery.routing_key.as_str();
        let (entry_id, trace_id) = (entry_id(delivery).map(display), trace_id.map(display));
        loop {
            let attempt = tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt(delivery, failure));
            match attempt.await {
                Ok(Ok(())) => {
                    let (code, reason) = (failure.code, &failure.message);
                    return tracing::warn!(entry_id, trace_id, %code, reason, key, "dead letter");
                }
                Ok(Err(error)) => tracing::warn!(%error, "cannot publish a dead letter; trying again"),
                Err(_) => tracing::warn!("RabbitMQ does not confirm a dead letter; trying again"),
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    async fn attempt(&mut self, delivery: &Delivery, failure: &Failure) -> Result<(), Failure> {
        // Put back when it is confirmed, and not if this is given up: nothing else may be in flight on the channel.
        let (connection, channel) = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let properties = explained(&delivery.properties, failure);
        let key = delivery.routing_key.as_str();
        rabbitmq::publish_confirmed(&channel, DEAD_LETTER, key, &delivery.data, properties).await?;
        self.open = Some((connection, channel));
        Ok(())
    }

    async fn connect(&self) -> Result<(Connection, Channel), Failure> {
        let lost = |error| Failure::unreachable("RabbitMQ").because(error);
        let connection = rabbitmq::connect(&self.amqp_url, "fourwire listener, dead letters").await?;
        let channel = connection.create_channel().await.map_err(lost)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(lost)?;
        Ok((connection, channel))
    }
}

/// The properties of the delivery, and why it is dead.
fn explained(properties: &BasicProperties, failure: &Failure) -> BasicProperties {
    let mut headers = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    headers.insert(DEAD_CODE_HEADER.into(), text(failure.code.as_str()));
    headers.insert(DEAD_REASON_HEADER.into(), text(&failure.message));
    let mut explained = BasicProperties::default().with_headers(headers);
    if let Some(id) = properties.message_id() {
        explained = explained.with_message_id(id.clone());
    }
    if let Some(content_type) = properties.content_type() {
        explained = explained.with_content_type(content_type.clone());
    }
    explained
}
