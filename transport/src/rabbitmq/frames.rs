//! How many bytes a publish and its confirm are on the wire. lapin owns the socket, so they are told by the lengths of
//! their frames, as AMQP 0-9-1 lays them out.

use proto::rabbitmq::CONTENT_TYPE;

use crate::gather::TraceHeaders;

/// What surrounds a frame: its type, channel and size before it, its end behind it.
const AROUND: usize = 1 + 2 + 4 + 1;

/// Longest body of one frame: RabbitMQ's default size of a frame, without what surrounds it.
const BODY_BYTES: usize = 128 * 1024 - AROUND;

/// `basic.ack`, with a delivery tag and a flag. One is counted for each message, though RabbitMQ may confirm several at
/// once.
pub(super) const CONFIRM_BYTES: usize = AROUND + 2 + 2 + 8 + 1;

/// The frames of a message: `basic.publish`, its header with the properties that ours have, and its body.
pub(super) fn publish_bytes(
    exchange: &str,
    key: &str,
    message_id: &str,
    trace: &TraceHeaders,
    body: usize,
) -> usize {
    let method = 2 + 2 + 2 + short(exchange) + short(key) + 1;
    let properties = short(CONTENT_TYPE) + headers(trace) + 1 + short(message_id);
    let header = 2 + 2 + 8 + 2 + properties;
    let bodies = body.div_ceil(BODY_BYTES);
    (AROUND + method) + (AROUND + header) + bodies * AROUND + body
}

/// A short string, with its length before it.
fn short(text: &str) -> usize {
    1 + text.len()
}

/// A table of long strings, with its length before it; none if it is empty.
fn headers(trace: &TraceHeaders) -> usize {
    let fields: usize = trace.iter().map(|(name, value)| short(name) + 1 + 4 + value.len()).sum();
    if trace.is_empty() { 0 } else { 4 + fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_of_a_message_add_up() {
        let id = "01a1fc81-0c09-763f-8df2-a41011d222e4";
        let plain = publish_bytes("logs_topic", "log.INFO", id, &Vec::new(), 100);
        // basic.publish: 8 + 6 + 11 + 9 + 1; header: 8 + 14 + 17 + 1 + 37; body: 8 + 100.
        assert_eq!(plain, 35 + 77 + 108);
        let trace = vec![("traceparent".to_owned(), "0".repeat(55))];
        assert_eq!(publish_bytes("logs_topic", "log.INFO", id, &trace, 100), plain + 4 + 12 + 1 + 4 + 55);
        let long = publish_bytes("logs_topic", "log.INFO", id, &Vec::new(), BODY_BYTES + 1);
        assert_eq!(long, 35 + 77 + 2 * AROUND + BODY_BYTES + 1);
        assert_eq!(CONFIRM_BYTES, 21);
    }
}
