//! One of the publishers: it has a channel of its own, and nobody else uses that.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable, ShortString},
};
use proto::{
    Failure, LogEntry, Outcome, json,
    rabbitmq::{CONTENT_TYPE, EXCHANGE, routing_key},
};
use tokio::sync::watch;
use uuid::Uuid;

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
    let mut returned: HashMap<ShortString, usize> = HashMap::new();
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
        if let Some(id) = message.and_then(|message| message.delivery.properties.message_id().clone()) {
            *returned.entry(id).or_default() += 1;
        }
    }
    if !returned.is_empty() {
        // The queue was deleted under us: the next entry shall find it.
        declare_bound_by(channel, place.url.queues(), place.binding_key).await?;
    }
    let ids: Vec<Uuid> = group.iter().flat_map(|parcel| parcel.entries.iter()).map(LogEntry::id).collect();
    let results = judged(&ids, &confirmations, &returned);
    #[cfg(feature = "faults")]
    let results = swap_neighbours(results);
    Ok(results)
}

/// What became of the entries with these ids, in order. A confirmation says whether RabbitMQ acknowledged the message;
/// it is `None` without confirm mode. `returned` counts the messages that came back, by their id.
fn judged(
    ids: &[Uuid],
    confirmations: &[Option<bool>],
    returned: &HashMap<ShortString, usize>,
) -> Vec<Result<Outcome, Failure>> {
    let judge = |(id, acknowledged): (&Uuid, &Option<bool>)| match acknowledged {
        Some(true) => match returned.get(id.to_string().as_str()) {
            None => Ok(Outcome::Queued),
            Some(count) if *count == ids.iter().filter(|other| *other == id).count() => Err(unroutable()),
            // The group has the id twice, and the queue came back in between: which message was returned is not known.
            Some(_) => Err(Failure::unknown(RABBITMQ).because("not all messages with this id came back")),
        },
        Some(false) => Err(refused()),
        None => Err(Failure::unknown(RABBITMQ).because("no confirm mode")),
    };
    ids.iter().zip(confirmations).map(judge).collect()
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

#[cfg(test)]
mod tests {
    use proto::Certainty;

    use super::*;

    fn certain(results: Vec<Result<Outcome, Failure>>) -> Vec<Result<Outcome, Certainty>> {
        results.into_iter().map(|result| result.map_err(|failure| failure.certainty())).collect()
    }

    #[test]
    fn an_id_of_which_one_message_of_two_came_back_is_unknown() {
        const NOT_STORED: Result<Outcome, Certainty> = Err(Certainty::NotStored);
        const UNKNOWN: Result<Outcome, Certainty> = Err(Certainty::Unknown);
        const QUEUED: Result<Outcome, Certainty> = Ok(Outcome::Queued);
        let [once, twice, queued] = [1, 2, 3].map(Uuid::from_u128);
        let (ids, acknowledged) = ([once, twice, twice, queued], [Some(true); 4]);
        let one_each = HashMap::from([once, twice].map(|id| (id.to_string().into(), 1)));
        let results = certain(judged(&ids, &acknowledged, &one_each));
        assert_eq!(results, [NOT_STORED, UNKNOWN, UNKNOWN, QUEUED]);
        let both = HashMap::from([(twice.to_string().into(), 2)]);
        let results = certain(judged(&ids, &acknowledged, &both));
        assert_eq!(results, [QUEUED, NOT_STORED, NOT_STORED, QUEUED]);
        let results = certain(judged(&[once, queued], &[Some(false), None], &HashMap::new()));
        assert_eq!(results, [NOT_STORED, UNKNOWN]);
    }
}
