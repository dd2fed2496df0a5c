//! The properties of a message that is published again, to the dead letters or back.

use std::collections::BTreeMap;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use proto::rabbitmq::{DEAD_AT_HEADER, DEAD_CODE_HEADER, DEAD_REASON_HEADER};

/// How deep headers may be nested in what we publish: those below are left out. What reads them may be as helpless as
/// lapin is, whose parser recurs.
const NESTING: usize = 32;

/// Headers that would send a copy elsewhere, or that RabbitMQ sets itself: what it says of the former message is not true
/// of the new one.
const NOT_AGAIN: [&str; 4] = ["CC", "BCC", "x-delivery-count", "x-acquired-count"];

/// Headers that a dead letter has, and the message that it was had not: ours, and what RabbitMQ adds when it moves one
/// there by itself.
const OF_THE_DEAD: [&str; 10] = [
    DEAD_CODE_HEADER,
    DEAD_REASON_HEADER,
    DEAD_AT_HEADER,
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
];

/// All properties of a message, for another one with the same body and `added` headers besides. Left out are the user,
/// whose word RabbitMQ takes from that user alone; the expiration, since it would vanish; and the headers that send copies
/// elsewhere.
pub fn kept(of: &BasicProperties, added: BTreeMap<ShortString, AMQPValue>) -> BasicProperties {
    let headers = of.headers().iter().flat_map(|headers| headers.inner());
    let headers = headers.filter(|(name, _)| !NOT_AGAIN.contains(&name.as_str()));
    let mut headers: BTreeMap<ShortString, AMQPValue> =
        headers.filter_map(|(name, value)| Some((name.clone(), shallow(value, NESTING)?))).collect();
    headers.extend(added);
    with_headers(of, headers)
}

/// The properties that a dead letter had before it was one.
pub(super) fn revived(of: &BasicProperties) -> BasicProperties {
    let headers = of.headers().iter().flat_map(|headers| headers.inner());
    let of_the_dead = |name: &str| OF_THE_DEAD.contains(&name) || NOT_AGAIN.contains(&name);
    let headers = headers.filter(|(name, _)| !of_the_dead(name.as_str()));
    with_headers(of, headers.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn with_headers(of: &BasicProperties, headers: BTreeMap<ShortString, AMQPValue>) -> BasicProperties {
    /// `None` cannot be given to lapin's builder.
    fn set<T: Clone>(
        properties: BasicProperties,
        value: &Option<T>,
        with: fn(BasicProperties, T) -> BasicProperties,
    ) -> BasicProperties {
        value.iter().cloned().fold(properties, with)
    }
    let mut properties = BasicProperties::default();
    properties = set(properties, of.content_type(), BasicProperties::with_content_type);
    properties = set(properties, of.content_encoding(), BasicProperties::with_content_encoding);
    properties = set(properties, of.delivery_mode(), BasicProperties::with_delivery_mode);
    properties = set(properties, of.priority(), BasicProperties::with_priority);
    properties = set(properties, of.correlation_id(), BasicProperties::with_correlation_id);
    properties = set(properties, of.reply_to(), BasicProperties::with_reply_to);
    properties = set(properties, of.message_id(), BasicProperties::with_message_id);
    properties = set(properties, of.timestamp(), BasicProperties::with_timestamp);
    properties = set(properties, of.kind(), BasicProperties::with_type);
    properties = set(properties, of.app_id(), BasicProperties::with_app_id);
    properties = set(properties, of.cluster_id(), BasicProperties::with_cluster_id);
    if headers.is_empty() { properties } else { properties.with_headers(FieldTable::from(headers)) }
}

/// A value without what is nested deeper than so many levels; `None` if it is nothing but that.
fn shallow(value: &AMQPValue, levels: usize) -> Option<AMQPValue> {
    let inside = levels.checked_sub(1);
    if let Some(table) = value.as_field_table() {
        let inside = inside?;
        let kept = table.inner().iter();
        let kept = kept.filter_map(|(name, value)| Some((name.clone(), shallow(value, inside)?)));
        return Some(AMQPValue::FieldTable(kept.collect::<BTreeMap<_, _>>().into()));
    }
    if let Some(array) = value.as_array() {
        let inside = inside?;
        let kept = array.as_slice().iter().filter_map(|value| shallow(value, inside));
        return Some(AMQPValue::FieldArray(kept.collect::<Vec<_>>().into()));
    }
    Some(value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> AMQPValue {
        AMQPValue::LongString(value.into())
    }

    fn headers(names: &[&str]) -> FieldTable {
        let named = |name: &&str| (ShortString::from(*name), text("value"));
        FieldTable::from(names.iter().map(named).collect::<BTreeMap<_, _>>())
    }

    fn all() -> BasicProperties {
        BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_content_encoding("gzip".into())
            .with_delivery_mode(1)
            .with_priority(7)
            .with_correlation_id("correlation".into())
            .with_reply_to("reply".into())
            .with_message_id("order-4711".into())
            .with_timestamp(1_700_000_000)
            .with_type("order".into())
            .with_app_id("shop".into())
            .with_cluster_id("cluster".into())
    }

    #[test]
    fn all_properties_are_kept_but_those_that_would_change_what_becomes_of_it() {
        let own = ["tenant", "CC", "BCC", "x-delivery-count", "x-death"];
        let message =
            all().with_headers(headers(&own)).with_user_id("guest".into()).with_expiration("1".into());
        let added = BTreeMap::from([(DEAD_CODE_HEADER.into(), text("value"))]);
        let dead = kept(&message, added);
        assert_eq!(dead, all().with_headers(headers(&["tenant", "x-death", DEAD_CODE_HEADER])));
        assert_eq!(revived(&dead), all().with_headers(headers(&["tenant"])));
        assert_eq!(revived(&kept(&all(), BTreeMap::new())), all());
    }

    #[test]
    fn what_is_nested_too_deep_is_left_out() {
        let nested = |levels: usize| {
            (0..levels).fold(text("value"), |inner, level| match level % 2 {
                0 => AMQPValue::FieldTable(BTreeMap::from([(ShortString::from("in"), inner)]).into()),
                _ => AMQPValue::FieldArray(vec![inner].into()),
            })
        };
        fn depth(value: &AMQPValue) -> usize {
            let table = value.as_field_table().map(|table| table.inner().values().next());
            let held = table.or_else(|| value.as_array().map(|array| array.as_slice().first()));
            held.map_or(0, |inner| 1 + inner.map_or(0, depth))
        }
        for levels in [1, NESTING, NESTING + 1, 300] {
            let own = BasicProperties::default()
                .with_headers(BTreeMap::from([(ShortString::from("deep"), nested(levels))]).into());
            let kept = kept(&own, BTreeMap::new());
            let value = &kept.headers().as_ref().expect("headers").inner()["deep"];
            assert_eq!(depth(value), levels.min(NESTING), "{levels}");
        }
    }
}
