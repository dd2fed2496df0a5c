//! How many messages wait in RabbitMQ, for the metrics.

use std::time::Duration;

use lapin::{Channel, options::QueueDeclareOptions, types::FieldTable};
use transport::rabbitmq::{self, AmqpUrl};

use crate::{consume::Reason, metrics::Depth};

/// How often RabbitMQ is asked. Prometheus asks us every 15 s or so; people who watch a queue drain, more often.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long an answer may take before the number counts as not known.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps the numbers up to date for as long as it is polled, on a connection of its own: the one that consumes is closed
/// while the logger is down for long, and just then one wants to know.
pub(crate) async fn keep_known(amqp_url: AmqpUrl) {
    let depths = Depth::of_both();
    loop {
        if let Err(reason) = follow(&amqp_url, &depths).await {
            tracing::debug!(reason, "the depth of the queues is not known");
        }
        depths.iter().for_each(|depth| depth.set(None));
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Asks again and again, until there is no answer.
async fn follow(amqp_url: &AmqpUrl, depths: &[Depth]) -> Result<(), Reason> {
    let connection = rabbitmq::connect(amqp_url, "fourwire listener, depth of the queues").await?;
    let channel = tokio::time::timeout(ANSWER_TIMEOUT, connection.create_channel()).await??;
    loop {
        for depth in depths {
            let messages = tokio::time::timeout(ANSWER_TIMEOUT, messages(&channel, depth.queue)).await??;
            depth.set(Some(messages));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Declares nothing: a queue that is not there is an error, which ends the channel.
async fn messages(channel: &Channel, queue: &str) -> lapin::Result<u32> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    Ok(channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count())
}
