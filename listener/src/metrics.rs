//! What the listener counts: the only place that has the names of its metrics, besides what `transport` and `service` have.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use proto::{
    Code,
    rabbitmq::{DEAD_LETTER, QUEUE},
};

const STORED: &str = "listener_stored_total";
const DEAD_LETTERS: &str = "listener_dead_letters_total";
const RECONNECTS: &str = "listener_reconnects_total";
const HELD: &str = "listener_held_deliveries";
const CONSUMING: &str = "listener_consuming";
const QUEUE_MESSAGES: &str = "rabbitmq_queue_messages";

/// Says of each what it is, and begins to count.
pub(crate) fn begin(dead_codes: impl Iterator<Item = Code>) {
    describe_counter!(
        STORED,
        Unit::Count,
        "Deliveries that the logger has stored, or had stored before, and that are acknowledged"
    );
    describe_counter!(
        DEAD_LETTERS,
        Unit::Count,
        "Deliveries that can never be stored and are among the dead letters, by the reason"
    );
    describe_counter!(
        RECONNECTS,
        Unit::Count,
        "Times that deliveries were taken again after they could not be"
    );
    describe_gauge!(
        HELD,
        Unit::Count,
        "Deliveries that RabbitMQ has handed over and that are not acknowledged"
    );
    describe_gauge!(CONSUMING, Unit::Count, "1 if deliveries are taken from RabbitMQ");
    describe_gauge!(
        QUEUE_MESSAGES,
        Unit::Count,
        "Messages in a queue of RabbitMQ that nobody has been handed"
    );
    // There from the start, so that the first of its kind is an increase too.
    stored().increment(0);
    reconnects().increment(0);
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

/// Sets what can be read off.
pub(crate) fn set_gauges(held: usize, consuming: bool) {
    gauge!(HELD).set(held as f64);
    gauge!(CONSUMING).set(f64::from(u8::from(consuming)));
}

/// How many messages a queue has.
#[derive(Debug)]
pub(crate) struct Depth {
    pub(crate) queue: &'static str,
    messages: Gauge,
}

impl Depth {
    /// Both of our queues, of which nothing is known yet.
    pub(crate) fn of_both() -> [Depth; 2] {
        [QUEUE, DEAD_LETTER].map(|queue| {
            let depth = Depth { queue, messages: gauge!(QUEUE_MESSAGES, "queue" => queue) };
            depth.set(None);
            depth
        })
    }

    /// `None` is not shown at all.
    pub(crate) fn set(&self, messages: Option<u32>) {
        self.messages.set(messages.map_or(f64::NAN, f64::from));
    }
}
