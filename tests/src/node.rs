//! A RabbitMQ node of a trial's own, which the trial may break.

use std::time::{Duration, Instant};

use lapin::{BasicProperties, Confirmation, options::BasicPublishOptions};
use rig::Node;

/// How long it may take until it is ready, on a machine that is compiling at the same time.
pub const START_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a fresh client's attempt to publish may take before the next one begins.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts one, and waits until it takes messages.
///
/// # Errors
/// If it does not.
pub async fn start() -> anyhow::Result<Node> {
    let node = Node::start().await?;
    takes_messages(node.amqp()).await?;
    Ok(node)
}

/// Waits until a fresh client of the node at `amqp` has had a message confirmed; says when that was.
///
/// # Errors
/// If it takes too long.
pub async fn takes_messages(amqp: String) -> anyhow::Result<Instant> {
    let confirmed = async || {
        // A node that is starting, frozen or short of memory may take the connection and say nothing.
        let confirmation = tokio::time::timeout(ATTEMPT_TIMEOUT, publish_afresh(&amqp)).await;
        matches!(confirmation, Ok(Ok(Confirmation::Ack(None)))).then(Instant::now)
    };
    rig::eventually("the node takes messages", START_TIMEOUT, confirmed).await
}

/// Connects, and publishes to a queue of the same kind as ours, in the same way.
async fn publish_afresh(amqp: &str) -> lapin::Result<Confirmation> {
    const QUEUE: &str = "fresh";
    let (_connection, channel) = compare::bare::open(&format!("{amqp}/%2f"), QUEUE).await?;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish("".into(), QUEUE.into(), options, b"", properties).await?.await
}
