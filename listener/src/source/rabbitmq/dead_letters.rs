//! Where dead letters go: a queue that is published to, and not consumed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lapin::{
    BasicProperties, Channel, Connection,
    options::ConfirmSelectOptions,
    types::{AMQPValue, ShortString},
};
use proto::{
    Code, Failure,
    rabbitmq::{DEAD_AT_HEADER, DEAD_CODE_HEADER, DEAD_REASON_HEADER},
};
use tokio::time::timeout;
use transport::rabbitmq::{self, AmqpUrl, DECLARE_TIMEOUT};

use super::{Delivery, lost};

/// Publishes dead letters, on a connection of its own: while RabbitMQ is short of memory it stops reading from
/// connections that publish, and acknowledgements must go on.
#[derive(Debug)]
pub(crate) struct DeadLetterQueue {
    amqp_url: AmqpUrl,
    open: Option<(Connection, Channel)>,
}

impl DeadLetterQueue {
    pub(crate) fn new(amqp_url: AmqpUrl) -> Self {
        DeadLetterQueue { amqp_url, open: None }
    }

    /// Publishes a copy of a delivery, with the reason why it can never be stored, and waits for its confirm for as long as
    /// the channel is open: until then the copy may arrive. May be given up, but another copy beside it may be the result.
    ///
    /// # Errors
    /// Why RabbitMQ has not confirmed it; `overloaded` where the queue is full.
    pub(crate) async fn publish(&mut self, delivery: &Delivery, failure: &Failure) -> Result<(), Failure> {
        // Put back when it is confirmed, and not if this is given up: nothing else may be in flight on the channel.
        let (connection, channel) = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let Delivery(delivery) = delivery;
        let properties = explained(&delivery.properties, failure);
        let (exchange, key) = (&*self.amqp_url.queues().dead_letters, delivery.routing_key.as_str());
        let confirmed = rabbitmq::publish_confirmed(&channel, exchange, key, &delivery.data, properties);
        let published = tokio::select! {
            published = confirmed => published,
            () = lost(&channel) => {
                Err(Failure::unknown("RabbitMQ").because("the channel was lost before the confirm"))
            }
        };
        // A nack is an answer: the channel is as good as before.
        if published.is_ok() || published.as_ref().is_err_and(|refused| refused.code == Code::Overloaded) {
            self.open = Some((connection, channel));
        }
        published
    }

    async fn connect(&self) -> Result<(Connection, Channel), Failure> {
        let refused = |error: lapin::Error| Failure::unreachable("RabbitMQ").because(error);
        let connection = rabbitmq::connect(&self.amqp_url, "fourwire listener, dead letters").await?;
        let opened = async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        let opened = timeout(DECLARE_TIMEOUT, opened).await;
        let in_time = opened.map_err(|_| Failure::unreachable("RabbitMQ").because("no channel in time"))?;
        Ok((connection, in_time.map_err(refused)?))
    }
}

/// The properties of the delivery, and why and since when it is dead.
fn explained(properties: &BasicProperties, failure: &Failure) -> BasicProperties {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    let ours = [
        (DEAD_CODE_HEADER, text(failure.code.as_str())),
        (DEAD_REASON_HEADER, text(&failure.message())),
        (DEAD_AT_HEADER, AMQPValue::Timestamp(now)),
    ];
    let ours: BTreeMap<ShortString, AMQPValue> =
        ours.into_iter().map(|(name, value)| (name.into(), value)).collect();
    rabbitmq::kept(properties, ours)
}
