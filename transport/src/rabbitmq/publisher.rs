//! One of the publishers: it has a channel of its own, and nobody else uses that.

use std::{collections::HashSet, sync::Arc};

use futures_util::future::try_join_all;
use lapin::{BasicProperties, Channel, Confirmation, options::BasicPublishOptions, types::FieldTable};
use proto::{
    Batch, Failure, LogEntry, Outcome, json,
    rabbitmq::{CONTENT_TYPE, EXCHANGE, routing_key},
};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::{
    RABBITMQ, blocked,
    connection::{PERSISTENT, refused, unroutable},
    session::{Flow, Place, patiently},
    topology::declare_bound_by,
};
use crate::connection::Connection;

/// What became of the entries of a job, in their order.
type Results = Batch<Result<Outcome, Failure>>;

/// Most entries that a publisher takes at a time, unless one batch has more.
const GROUP_ENTRIES: usize = 64;

/// Entries on their way to a publisher.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) entries: Batch<LogEntry>,
    /// Those of its messages, if the trace that they belong to has to be told.
    pub(super) headers: Option<FieldTable>,
    pub(super) reply: Reply,
}

type Reply = oneshot::Sender<Result<Results, Failure>>;

pub(super) type Jobs = Arc<Mutex<mpsc::Receiver<Job>>>;

/// What is published at once.
#[derive(Debug)]
struct Messages {
    entries: Batch<LogEntry>,
    headers: Option<FieldTable>,
}

/// Takes jobs and publishes them until something goes wrong; says what. Callers have their own deadline: a
/// confirm that comes after it is still waited for, so that it is not taken for that of a later message.
pub(super) async fn publisher(
    channel: Channel,
    place: &Place,
    jobs: &Jobs,
    state: &watch::Sender<Connection<Flow>>,
) -> Failure {
    loop {
        let (group, mut replies) = gather(jobs).await;
        if *state.borrow() == Connection::Up(Flow::Blocked) {
            // The alarm came while they waited for their turn: they are still here.
            fail(replies, &blocked());
            continue;
        }
        let mut published = std::pin::pin!(patiently(place, state, publish_group(&channel, place, &group)));
        let mut alarms = state.subscribe();
        let alarm = async { alarms.wait_for(|state| *state == Connection::Up(Flow::Blocked)).await.is_ok() };
        let result = tokio::select! {
            biased;
            result = &mut published => result,
            true = alarm => {
                // RabbitMQ has stopped in the middle of reading them, and may take them when the alarm is over. Nobody
                // need wait for that to hear that it is not known.
                fail(std::mem::take(&mut replies), &Failure::unknown(RABBITMQ).because("it takes no messages"));
                published.await
            }
        };
        match result {
            Ok(results) => answer(&group, replies, results),
            Err(why) => {
                fail(replies, &Failure::unknown(RABBITMQ).because(why.cause()));
                return why;
            }
        }
    }
}

/// Waits for a job, and takes what has gathered behind it.
async fn gather(jobs: &Jobs) -> (Vec<Messages>, Vec<Reply>) {
    let mut jobs = jobs.lock().await;
    let (mut group, mut replies) = (Vec::new(), Vec::new());
    let mut entries = 0;
    while entries < GROUP_ENTRIES {
        let next = if group.is_empty() { jobs.recv().await } else { jobs.try_recv().ok() };
        let Some(job) = next else { break };
        // Nobody waits for the answer any more: it has not been sent, so it need not be.
        if !job.reply.is_closed() {
            entries += job.entries.len();
            group.push(Messages { entries: job.entries, headers: job.headers });
            replies.push(job.reply);
        }
    }
    if group.is_empty() {
        // The client was dropped; so will this task be.
        std::future::pending::<()>().await;
    }
    (group, replies)
}

/// Publishes a group and waits for all its confirms; says for each entry, in order, what became of it.
async fn publish_group(
    channel: &Channel,
    place: &Place,
    group: &[Messages],
) -> Result<Vec<Result<Outcome, Failure>>, lapin::Error> {
    let entries = || group.iter().flat_map(|job| job.entries.iter());
    let messages = group.iter().flat_map(|job| job.entries.iter().map(|entry| (entry, &job.headers)));
    let publish = async |(entry, headers): (&LogEntry, &Option<FieldTable>)| {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let mut properties = BasicProperties::default()
            .with_message_id(entry.id().to_string().into())
            .with_content_type(CONTENT_TYPE.into())
            .with_delivery_mode(PERSISTENT);
        if let Some(headers) = headers {
            properties = properties.with_headers(headers.clone());
        }
        let body = json::entry_json(entry, None);
        let key = routing_key(entry.level()).into();
        channel.basic_publish(EXCHANGE.into(), key, options, body.as_bytes(), properties).await
    };
    // All at once: lapin answers when a message has left, and its thread writes what is there in one go. Each is
    // numbered and queued in its first poll, so what one task polls in turn cannot get in each other's way.
    let confirms = try_join_all(messages.map(publish)).await?;
    let mut confirmations = Vec::with_capacity(confirms.len());
    let mut returned = HashSet::new();
    for confirm in confirms {
        let confirmation = confirm.await?;
        let acknowledged = match &confirmation {
            Confirmation::Ack(_) => Some(true),
            Confirmation::Nack(_) => Some(false),
            Confirmation::NotRequested => None,
        };
        confirmations.push(acknowledged);
        let message = confirmation.take_message();
        returned.extend(message.and_then(|message| message.delivery.properties.message_id().clone()));
    }
    if !returned.is_empty() {
        // The queue was deleted under us: the next entry shall find it.
        declare_bound_by(channel, place.url.queues(), place.binding_key).await?;
    }
    let judge = |(entry, acknowledged): (&LogEntry, Option<bool>)| match acknowledged {
        Some(true) if returned.contains(entry.id().to_string().as_str()) => Err(unroutable()),
        Some(true) => Ok(Outcome::Queued),
        Some(false) => Err(refused()),
        None => Err(Failure::unknown(RABBITMQ).because("no confirm mode")),
    };
    let results = entries().zip(confirmations).map(judge).collect();
    #[cfg(feature = "faults")]
    let results = swap_neighbours(results);
    Ok(results)
}

#[cfg(feature = "faults")]
fn swap_neighbours(mut results: Vec<Result<Outcome, Failure>>) -> Vec<Result<Outcome, Failure>> {
    if crate::faults::Fault::SwapConfirms.is_on() {
        results.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
    results
}

fn answer(group: &[Messages], replies: Vec<Reply>, results: Vec<Result<Outcome, Failure>>) {
    let mut results = results.into_iter();
    let lost = || Err(Failure::unknown(RABBITMQ).because("too few confirms"));
    for (messages, reply) in group.iter().zip(replies) {
        let own = messages.entries.map_each(|_| results.next().unwrap_or_else(lost));
        // A caller that has given up needs no answer.
        let _ = reply.send(Ok(own));
    }
}

fn fail(replies: Vec<Reply>, why: &Failure) {
    for reply in replies {
        let _ = reply.send(Err(why.clone()));
    }
}
