//! What RabbitMQ delivers to the listener.

use proto::rabbitmq::parse_message;
use uuid::Uuid;

use crate::entry::{NOW, check_entry, check_refusal};

/// The first line is the property `message_id`, which is left out where the line is empty; the second is the
/// routing key; the rest is the body.
///
/// # Panics
/// If an accepted entry is out of its limits, is another when it is delivered again, or does not stay the same on its
/// way; or if a refusal is not one.
pub fn delivery(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let (Some(message_id), Some(key), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    // lapin has decoded both before the listener sees them.
    let (Ok(message_id), Ok(key)) = (str::from_utf8(message_id), str::from_utf8(key)) else { return };
    let message_id = Some(message_id).filter(|id| !id.is_empty());
    match parse_message(body, message_id, key, NOW) {
        Ok(message) => {
            check_entry(&message.entry);
            let again = parse_message(body, message_id, key, NOW).expect("it was one before");
            // Without any id one is made up.
            let named = message_id.is_some_and(|id| Uuid::try_parse(id) != Ok(Uuid::nil()));
            assert!(!named || again == message, "delivered again it is another entry");
        }
        Err(failure) => check_refusal(&failure),
    }
}
