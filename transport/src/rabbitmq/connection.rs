//! What publisher and listener have in common: connecting, and publishing one message for sure.

use std::{future::Future, time::Duration};

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    tcp::OwnedTLSConfig,
};
use proto::Failure;

use super::{AmqpUrl, RABBITMQ, topology::refusal};
use crate::Tls;

/// How long connecting may take. Longer than elsewhere: RabbitMQ checks the user's password.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long declaring may take, and opening channels. A node that has just come back works off its log before it
/// answers; reconnecting would only add to its work.
pub const DECLARE_TIMEOUT: Duration = Duration::from_secs(10);

/// RabbitMQ's mark of a message that is to survive a restart.
pub(super) const PERSISTENT: u8 = 2;

/// Opens a connection to RabbitMQ: to the first of its nodes that takes one, in turn from one that is drawn. lapin's I/O
/// stops for publishes and acknowledgements alike while RabbitMQ is short of memory, so a consumer needs a connection of
/// its own.
///
/// # Errors
/// If RabbitMQ refuses, or does not answer in time.
pub async fn connect(url: &AmqpUrl, name: &str) -> Result<Connection, Failure> {
    let mut failed = Vec::new();
    for node in url.in_turn() {
        match connect_to(&node, name).await {
            Ok(connection) => return Ok(connection),
            Err(failure) => failed.push((node, failure)),
        }
    }
    let reasons = failed.iter().map(|(node, failure)| format!("{node:?}: {}", failure.cause()));
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    let several = failed.len() > 1;
    let (_, last) = failed.pop().expect("there is a node");
    Err(if several { last.because(reasons) } else { last })
}

async fn connect_to(node: &AmqpUrl, name: &str) -> Result<Connection, Failure> {
    in_time(
        node,
        CONNECT_TIMEOUT,
        Connection::connect_uri_with_config(
            node.uri().clone(),
            ConnectionProperties::default().with_connection_name(name.into()),
            // As they are now: they may have been read again.
            node.tls.as_ref().map_or_else(OwnedTLSConfig::default, Tls::amqp),
            lapin::runtime::default_runtime()
                .map_err(|error| Failure::unreachable(RABBITMQ).because(error))?,
        ),
    )
    .await
}

/// Publishes one message, and waits until RabbitMQ has confirmed it. The caller owns the channel, which is in
/// confirm mode, and has nothing else in flight on it.
///
/// # Errors
/// If it was not confirmed, or there was no queue for it.
pub async fn publish_confirmed(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), Failure> {
    let lost = |error| Failure::unknown(RABBITMQ).because(error);
    let properties = properties.with_delivery_mode(PERSISTENT);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
    match confirm.map_err(lost)?.await.map_err(lost)? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => Err(unroutable()),
        Confirmation::Nack(_) => Err(refused()),
        Confirmation::NotRequested => Err(Failure::unknown(RABBITMQ).because("no confirm mode")),
    }
}

/// A nack.
pub(super) fn refused() -> Failure {
    Failure::overloaded(RABBITMQ).because("a nack: the queue is full, or was just deleted")
}

pub(super) fn unroutable() -> Failure {
    Failure::unreachable("the queue in RabbitMQ").because("the message was returned")
}

pub(super) async fn confirming_channel(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// lapin has no timeout of its own for connecting: a silent peer would hold it for ever.
pub(super) async fn in_time<T>(
    url: &AmqpUrl,
    limit: Duration,
    work: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|error| refusal(url, error)),
        Err(_) => Err(Failure::unreachable(RABBITMQ).because("no answer in time")),
    }
}
