//! One of the publishers: it has a channel of its own, and nobody else uses that.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable},
};
use proto::{
    Failure, LogEntry, Outcome, json,
    rabbitmq::{CONTENT_TYPE, EXCHANGE, routing_key},
};
use tokio::sync::watch;

use super::{
    RABBITMQ, blocked,
    connection::{PERSISTENT, refused, unroutable},
    frames::{CONFIRM_BYTES, publish_bytes},
    place::{Flow, Place, patiently},
    topology::declare_bound_by,
};
use crate::{
    connection::Connection,
    gather::{Group, Groups, Parcel, TraceHeaders},
};

/// Takes groups and publishes them until something goes wrong; says what. Callers have their own deadline: a
/// confirm that comes after it is still waited for, so that it is not taken for that of a later message.
pub(super) async fn publisher(
    channel: Channel,
    place: &Place,
    groups: &Groups,
    state: &watch::Sender<Connection<Flow>>,
) -> Failure {
    loop {
        let Group { parcels, mut callers, room: _room, .. } = groups.next().await;
        if *state.borrow() == Connection::Up(Flow::Blocked) {
            // The alarm came while they waited for their turn: they are still here.
            callers.fail(&blocked());
            continue;
        }
        let mut published = std::pin::pin!(patiently(place, state, publish_group(&channel, place, &parcels)));
        let mut alarms = state.subscribe();
        let alarm = async { alarms.wait_for(|state| *state == Connection::Up(Flow::Blocked)).await.is_ok() };
        let result = tokio::select! {
            biased;
            result = &mut published => result,
            true = alarm => {
                // RabbitMQ has stopped in the middle of reading them, and may take them when the alarm is over. Nobody
                // need wait for that to hear that it is not known.
                let why = Failure::unknown(RABBITMQ).because("it takes no messages");
                std::mem::take(&mut callers).fail(&why);
                published.await
            }
        };
        match result {
            Ok(results) => callers.answer(results, None, RABBITMQ),
            Err(why) => {
                callers.fail(&Failure::unknown(RABBITMQ).because(why.cause()));
                return why;
            }
        }
    }
}

/// Publishes a group and waits for all its confirms; says for each entry, in order, what became of it.
async fn publish_group(
    channel: &Channel,
    place: &Place,
    group: &[Parcel],
) -> Result<Vec<Result<Outcome, Failure>>, lapin::Error> {
    let entries = || group.iter().flat_map(|parcel| parcel.entries.iter());
    let headers: Vec<Option<FieldTable>> = group.iter().map(trace_headers).collect();
    let parcels = group.iter().zip(&headers);
    let messages = parcels.flat_map(|(parcel, headers)| {
        parcel.entries.iter().map(move |entry| (entry, &parcel.trace, headers))
    });
    let publish = async |(entry, trace, headers): (&LogEntry, &TraceHeaders, &Option<FieldTable>)| {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let id = entry.id().to_string();
        let key = routing_key(entry.level());
        let body = json::entry_json(entry, None);
        place.wire.add_sent(publish_bytes(EXCHANGE, key, &id, trace, body.len()));
        let mut properties = BasicProperties::default()
            .with_message_id(id.into())
            .with_content_type(CONTENT_TYPE.into())
            .with_delivery_mode(PERSISTENT);
        if let Some(headers) = headers {
            properties = properties.with_headers(headers.clone());
        }
        channel.basic_publish(EXCHANGE.into(), key.into(), options, body.as_bytes(), properties).await
    };
    // All at once: lapin answers when a message has left, and its thread writes what is there in one go. Each is
    // numbered and queued in its first poll, so what one task polls in turn cannot get in each other's way.
    let confirms = try_join_all(messages.map(publish)).await?;
    let mut confirmations = Vec::with_capacity(confirms.len());
    let mut returned = HashSet::new();
    for confirm in confirms {
        let confirmation = confirm.await?;
        place.wire.add_received(CONFIRM_BYTES);
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

/// The headers that say in which span its messages are sent.
fn trace_headers(parcel: &Parcel) -> Option<FieldTable> {
    let mut headers = None;
    for (name, value) in &parcel.trace {
        let value = AMQPValue::LongString(value.as_str().into());
        headers.get_or_insert_with(FieldTable::default).insert(name.as_str().into(), value);
    }
    headers
}

#[cfg(feature = "faults")]
fn swap_neighbours(mut results: Vec<Result<Outcome, Failure>>) -> Vec<Result<Outcome, Failure>> {
    if crate::faults::Fault::SwapConfirms.is_on() {
        results.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
    results
}
