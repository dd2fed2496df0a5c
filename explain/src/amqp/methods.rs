//! The methods of AMQP 0-9-1 and their arguments, as the specification and RabbitMQ's extensions have them; and the
//! properties of a message.

use Argument::{Bits, Long, LongLong, LongText, Octet, Short, ShortText, Table};

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// A number of one byte, two, four or eight.
    Octet,
    Short,
    Long,
    LongLong,
    /// Text behind a length of one byte, or of four.
    ShortText,
    LongText,
    Table,
    /// Up to eight of them in a byte; the argument's name has the name of each.
    Bits,
}

/// A method.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) class: u64,
    pub(super) id: u64,
    pub(super) name: &'static str,
    pub(super) arguments: &'static [(&'static str, Argument)],
}

/// The method of these numbers.
pub(super) fn method(class: u64, id: u64) -> Option<&'static Method> {
    METHODS.iter().find(|method| (method.class, method.id) == (class, id))
}

/// Transactions and access are missing: nobody here uses them.
#[rustfmt::skip]
static METHODS: [Method; 58] = [
    Method { class: 10, id: 10, name: "connection.start", arguments: &[("version_major", Octet), ("version_minor", Octet), ("server_properties", Table), ("mechanisms", LongText), ("locales", LongText)] },
    Method { class: 10, id: 11, name: "connection.start-ok", arguments: &[("client_properties", Table), ("mechanism", ShortText), ("response", LongText), ("locale", ShortText)] },
    Method { class: 10, id: 20, name: "connection.secure", arguments: &[("challenge", LongText)] },
    Method { class: 10, id: 21, name: "connection.secure-ok", arguments: &[("response", LongText)] },
    Method { class: 10, id: 30, name: "connection.tune", arguments: &[("channel_max", Short), ("frame_max", Long), ("heartbeat", Short)] },
    Method { class: 10, id: 31, name: "connection.tune-ok", arguments: &[("channel_max", Short), ("frame_max", Long), ("heartbeat", Short)] },
    Method { class: 10, id: 40, name: "connection.open", arguments: &[("virtual_host", ShortText), ("reserved", ShortText), ("insist", Bits)] },
    Method { class: 10, id: 41, name: "connection.open-ok", arguments: &[("reserved", ShortText)] },
    Method { class: 10, id: 50, name: "connection.close", arguments: &[("reply_code", Short), ("reply_text", ShortText), ("class_id", Short), ("method_id", Short)] },
    Method { class: 10, id: 51, name: "connection.close-ok", arguments: &[] },
    Method { class: 10, id: 60, name: "connection.blocked", arguments: &[("reason", ShortText)] },
    Method { class: 10, id: 61, name: "connection.unblocked", arguments: &[] },
    Method { class: 10, id: 70, name: "connection.update-secret", arguments: &[("new_secret", LongText), ("reason", ShortText)] },
    Method { class: 10, id: 71, name: "connection.update-secret-ok", arguments: &[] },
    Method { class: 20, id: 10, name: "channel.open", arguments: &[("reserved", ShortText)] },
    Method { class: 20, id: 11, name: "channel.open-ok", arguments: &[("reserved", LongText)] },
    Method { class: 20, id: 20, name: "channel.flow", arguments: &[("active", Bits)] },
    Method { class: 20, id: 21, name: "channel.flow-ok", arguments: &[("active", Bits)] },
    Method { class: 20, id: 40, name: "channel.close", arguments: &[("reply_code", Short), ("reply_text", ShortText), ("class_id", Short), ("method_id", Short)] },
    Method { class: 20, id: 41, name: "channel.close-ok", arguments: &[] },
    Method { class: 40, id: 10, name: "exchange.declare", arguments: &[("reserved", Short), ("exchange", ShortText), ("type", ShortText), ("passive durable auto_delete internal nowait", Bits), ("arguments", Table)] },
    Method { class: 40, id: 11, name: "exchange.declare-ok", arguments: &[] },
    Method { class: 40, id: 20, name: "exchange.delete", arguments: &[("reserved", Short), ("exchange", ShortText), ("if_unused nowait", Bits)] },
    Method { class: 40, id: 21, name: "exchange.delete-ok", arguments: &[] },
    Method { class: 40, id: 30, name: "exchange.bind", arguments: &[("reserved", Short), ("destination", ShortText), ("source", ShortText), ("routing_key", ShortText), ("nowait", Bits), ("arguments", Table)] },
    Method { class: 40, id: 31, name: "exchange.bind-ok", arguments: &[] },
    Method { class: 40, id: 40, name: "exchange.unbind", arguments: &[("reserved", Short), ("destination", ShortText), ("source", ShortText), ("routing_key", ShortText), ("nowait", Bits), ("arguments", Table)] },
    Method { class: 40, id: 51, name: "exchange.unbind-ok", arguments: &[] },
    Method { class: 50, id: 10, name: "queue.declare", arguments: &[("reserved", Short), ("queue", ShortText), ("passive durable exclusive auto_delete nowait", Bits), ("arguments", Table)] },
    Method { class: 50, id: 11, name: "queue.declare-ok", arguments: &[("queue", ShortText), ("message_count", Long), ("consumer_count", Long)] },
    Method { class: 50, id: 20, name: "queue.bind", arguments: &[("reserved", Short), ("queue", ShortText), ("exchange", ShortText), ("routing_key", ShortText), ("nowait", Bits), ("arguments", Table)] },
    Method { class: 50, id: 21, name: "queue.bind-ok", arguments: &[] },
    Method { class: 50, id: 30, name: "queue.purge", arguments: &[("reserved", Short), ("queue", ShortText), ("nowait", Bits)] },
    Method { class: 50, id: 31, name: "queue.purge-ok", arguments: &[("message_count", Long)] },
    Method { class: 50, id: 40, name: "queue.delete", arguments: &[("reserved", Short), ("queue", ShortText), ("if_unused if_empty nowait", Bits)] },
    Method { class: 50, id: 41, name: "queue.delete-ok", arguments: &[("message_count", Long)] },
    Method { class: 50, id: 50, name: "queue.unbind", arguments: &[("reserved", Short), ("queue", ShortText), ("exchange", ShortText), ("routing_key", ShortText), ("arguments", Table)] },
    Method { class: 50, id: 51, name: "queue.unbind-ok", arguments: &[] },
    Method { class: 60, id: 10, name: "basic.qos", arguments: &[("reserved", Long), ("prefetch_count", Short), ("global", Bits)] },
    Method { class: 60, id: 11, name: "basic.qos-ok", arguments: &[] },
    Method { class: 60, id: 20, name: "basic.consume", arguments: &[("reserved", Short), ("queue", ShortText), ("consumer_tag", ShortText), ("no_local no_ack exclusive nowait", Bits), ("arguments", Table)] },
    Method { class: 60, id: 21, name: "basic.consume-ok", arguments: &[("consumer_tag", ShortText)] },
    Method { class: 60, id: 30, name: "basic.cancel", arguments: &[("consumer_tag", ShortText), ("nowait", Bits)] },
    Method { class: 60, id: 31, name: "basic.cancel-ok", arguments: &[("consumer_tag", ShortText)] },
    Method { class: 60, id: 40, name: "basic.publish", arguments: &[("reserved", Short), ("exchange", ShortText), ("routing_key", ShortText), ("mandatory immediate", Bits)] },
    Method { class: 60, id: 50, name: "basic.return", arguments: &[("reply_code", Short), ("reply_text", ShortText), ("exchange", ShortText), ("routing_key", ShortText)] },
    Method { class: 60, id: 60, name: "basic.deliver", arguments: &[("consumer_tag", ShortText), ("delivery_tag", LongLong), ("redelivered", Bits), ("exchange", ShortText), ("routing_key", ShortText)] },
    Method { class: 60, id: 70, name: "basic.get", arguments: &[("reserved", Short), ("queue", ShortText), ("no_ack", Bits)] },
    Method { class: 60, id: 71, name: "basic.get-ok", arguments: &[("delivery_tag", LongLong), ("redelivered", Bits), ("exchange", ShortText), ("routing_key", ShortText), ("message_count", Long)] },
    Method { class: 60, id: 72, name: "basic.get-empty", arguments: &[("reserved", ShortText)] },
    Method { class: 60, id: 80, name: "basic.ack", arguments: &[("delivery_tag", LongLong), ("multiple", Bits)] },
    Method { class: 60, id: 90, name: "basic.reject", arguments: &[("delivery_tag", LongLong), ("requeue", Bits)] },
    Method { class: 60, id: 100, name: "basic.recover-async", arguments: &[("requeue", Bits)] },
    Method { class: 60, id: 110, name: "basic.recover", arguments: &[("requeue", Bits)] },
    Method { class: 60, id: 111, name: "basic.recover-ok", arguments: &[] },
    Method { class: 60, id: 120, name: "basic.nack", arguments: &[("delivery_tag", LongLong), ("multiple requeue", Bits)] },
    Method { class: 85, id: 10, name: "confirm.select", arguments: &[("nowait", Bits)] },
    Method { class: 85, id: 11, name: "confirm.select-ok", arguments: &[] },
];

/// The properties of a message, from the highest of the flags that say which there are.
pub(super) const PROPERTIES: [(&str, Argument); 14] = [
    ("content_type", ShortText),
    ("content_encoding", ShortText),
    ("headers", Table),
    ("delivery_mode", Octet),
    ("priority", Octet),
    ("correlation_id", ShortText),
    ("reply_to", ShortText),
    ("expiration", ShortText),
    ("message_id", ShortText),
    ("timestamp", LongLong),
    ("type", ShortText),
    ("user_id", ShortText),
    ("app_id", ShortText),
    ("cluster_id", ShortText),
];
