//! What the parts can do with nothing around them: RabbitMQ for one client that only publishes, and the disk for one that
//! only syncs. The broker's `rabbitmq`, and a lone caller's latency, are compared with them.

use std::{
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};

use crate::cell::Latencies;

/// Messages in flight: as many as callers wait in the cell that it is compared with.
const IN_FLIGHT: usize = crate::workload::BASE_CALLERS;

/// How long RabbitMQ may take for what is in flight in the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A queue of the same kind as ours.
const QUEUE: &str = "bare";

/// Publishes persistent messages for a while, each confirmed, to a queue that nobody reads; says how many a second.
///
/// # Errors
/// If RabbitMQ does not take one.
pub async fn publish(amqp_url: &str, payload_bytes: usize, duration: Duration) -> anyhow::Result<f64> {
    let published = tokio::time::timeout(duration + PATIENCE, publish_for(amqp_url, payload_bytes, duration));
    published.await.context("RabbitMQ does not confirm what a bare publisher sends")?
}

async fn publish_for(amqp_url: &str, payload_bytes: usize, duration: Duration) -> anyhow::Result<f64> {
    let (connection, channel) = open(amqp_url, QUEUE).await?;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let body = vec![b'x'; payload_bytes];
    let mut confirms = FuturesUnordered::new();
    let (begun, mut confirmed) = (Instant::now(), 0_u64);
    while begun.elapsed() < duration || !confirms.is_empty() {
        while confirms.len() < IN_FLIGHT && begun.elapsed() < duration {
            let properties = BasicProperties::default().with_delivery_mode(2);
            let sent = channel.basic_publish("".into(), QUEUE.into(), options, &body, properties);
            confirms.push(async { sent.await?.await });
        }
        let confirm = confirms.next().await.context("at least one is in flight")??;
        ensure!(matches!(confirm, Confirmation::Ack(None)), "RabbitMQ did not take a message: {confirm:?}");
        confirmed += 1;
    }
    let rate = confirmed as f64 / begun.elapsed().as_secs_f64();
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    connection.close(200, "".into()).await?;
    Ok(rate)
}

/// Writes a page and syncs it, as the store does at the least for a commit, some times over.
///
/// # Errors
/// If the file cannot be written.
pub fn sync(directory: &Path, took: &mut Latencies) -> anyhow::Result<()> {
    const TIMES: usize = 100;
    const PAGE: [u8; 4096] = [1; 4096];
    let file = tempfile::tempfile_in(directory)?;
    for _ in 0..TIMES {
        let begun = Instant::now();
        file.write_all_at(&PAGE, 0)?;
        file.sync_all()?;
        took.add(begun.elapsed());
    }
    Ok(())
}

/// A connection of its own, and a channel in confirm mode, with a durable quorum queue of that name.
///
/// # Errors
/// If RabbitMQ refuses, or the connection is lost.
pub async fn open(amqp_url: &str, queue: &str) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
    Ok((connection, channel))
}
