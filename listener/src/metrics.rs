//! The metrics of the listener: the only place with their names, besides those of `transport` and `service`.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use proto::Code;

const STORED: &str = "listener_stored_total";
const DEAD_LETTERS: &str = "listener_dead_letters_total";
const RECONNECTS: &str = "listener_reconnects_total";
const UNACKED: &str = "listener_unacked_deliveries";
const UNACKED_BYTES: &str = "listener_unacked_bytes";
const DEAD_LETTERS_REFUSED: &str = "listener_dead_letters_refused";
const ASSUMED_LEVELS: &str = "listener_assumed_levels_total";
const CONSUMING: &str = "listener_consuming";
const QUEUE_MESSAGES: &str = "rabbitmq_queue_messages";

/// Says of each what it is, and begins to count.
pub(crate) fn begin(dead_codes: impl Iterator<Item = Code>) {
    describe_counter!(
        STORED,
        Unit::Count,
        "Deliveries acknowledged because the logger has stored them, now or before"
    );
    describe_counter!(
        DEAD_LETTERS,
        Unit::Count,
        "Deliveries dead-lettered because they can never be stored, by reason"
    );
    describe_counter!(RECONNECTS, Unit::Count, "Times that consuming resumed after an interruption");
    describe_gauge!(UNACKED, Unit::Count, "Unacked deliveries");
    describe_gauge!(UNACKED_BYTES, Unit::Bytes, "Approximate memory of unacked deliveries");
    describe_gauge!(
        DEAD_LETTERS_REFUSED,
        Unit::Count,
        "1 if the dead-letter queue accepts no messages: it is full, or RabbitMQ has an alarm"
    );
    describe_counter!(
        ASSUMED_LEVELS,
        Unit::Count,
        "Deliveries stored as info because neither body nor routing key has a known level"
    );
    describe_gauge!(CONSUMING, Unit::Count, "1 if the listener consumes from RabbitMQ");
    describe_gauge!(QUEUE_MESSAGES, Unit::Count, "Ready messages in a RabbitMQ queue");
    // There from the start, so that the first of its kind is an increase too.
    stored().increment(0);
    reconnects().increment(0);
    assumed_levels().increment(0);
    dead_codes.for_each(|code| dead_letters(code).increment(0));
}

/// Deliveries that are stored.
pub(crate) fn stored() -> Counter {
    counter!(STORED)
}

/// Deliveries that can never be stored for this reason.
pub(crate) fn dead_letters(code: Code) -> Counter {
    counter!(DEAD_LETTERS, "code" => code.as_str())
}

/// How often consuming went on after it had ended.
pub(crate) fn reconnects() -> Counter {
    counter!(RECONNECTS)
}

/// Deliveries whose level is assumed.
pub(crate) fn assumed_levels() -> Counter {
    counter!(ASSUMED_LEVELS)
}

/// Sets what can be read off: unacked deliveries, and their bytes; and whether deliveries are taken, and dead letters
/// refused.
pub(crate) fn set_gauges(unacked: (usize, usize), consuming: bool, dead_letters_refused: bool) {
    gauge!(UNACKED).set(unacked.0 as f64);
    gauge!(UNACKED_BYTES).set(unacked.1 as f64);
    gauge!(DEAD_LETTERS_REFUSED).set(f64::from(u8::from(dead_letters_refused)));
    gauge!(CONSUMING).set(f64::from(u8::from(consuming)));
}

/// How many messages a queue has.
#[derive(Debug)]
pub(crate) struct Depth(Gauge);

impl Depth {
    /// That of a queue of the settings, of which nothing is known yet.
    pub(crate) fn of(queue: &str) -> Self {
        let depth = Depth(gauge!(QUEUE_MESSAGES, "queue" => queue.to_owned()));
        depth.set(None);
        depth
    }

    /// `None` is not shown at all.
    pub(crate) fn set(&self, messages: Option<u32>) {
        self.0.set(messages.map_or(f64::NAN, f64::from));
    }
}
