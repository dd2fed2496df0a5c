//! The topology in RabbitMQ and the form of a message.
//!
//! Declared alike by the publisher and the listener, so either may be there first.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{Code, EntryDraft, Failure, Level, LogEntry, json};

/// The course's topic exchange: durable, not auto-deleted, and without arguments, since another declaration
/// would close the channel of either side.
pub const EXCHANGE: &str = "logs_topic";

/// The durable quorum queue that holds entries until the logger has stored them.
pub const QUEUE: &str = "logs.entries";

/// What the queue is bound to the exchange by: every level.
pub const BINDING_KEY: &str = "log.*";

/// The exchange, and the queue behind it, for what can never be stored.
pub const DEAD_LETTER: &str = "logs.dead";

/// The header on a dead letter that names the case, as a [`Code`].
pub const DEAD_CODE_HEADER: &str = "x-code";

/// The header on a dead letter that says why.
pub const DEAD_REASON_HEADER: &str = "x-reason";

/// How often a delivery may be lost with its consumer before it becomes a dead letter. Stated, since the
/// default is none before RabbitMQ 4.0 and 20 since.
pub const DELIVERY_LIMIT: i64 = 20;

/// Most bytes in the queue, 1 GiB: past it RabbitMQ refuses a publish, and the caller is told.
pub const QUEUE_BYTES: i64 = 1024 * 1024 * 1024;

/// The content type of our messages. Others are read as JSON all the same.
pub const CONTENT_TYPE: &str = "application/json";

/// The routing key of a level, as in the course.
pub const fn routing_key(level: Level) -> &'static str {
    match level {
        Level::Info => "log.INFO",
        Level::Warning => "log.WARNING",
        Level::Error => "log.ERROR",
    }
}

/// Reads a message. A course message has neither id nor level: the id is `message_id` or else made here, the
/// level that of the routing key.
///
/// # Errors
/// What is wrong with it, as a failure of certainty `Rejected`: it can never be stored.
pub fn parse_message(
    body: &[u8],
    message_id: Option<&str>,
    key: &str,
    now: Timestamp,
) -> Result<LogEntry, Failure> {
    let draft = json::parse_entry(body)?;
    let entry = EntryDraft {
        id: draft.id.or_else(|| message_id.map(str::to_owned)),
        level: draft.level.or_else(|| Some(level_of(key)?.as_str().to_owned())),
        ..draft
    }
    .check(now)?;
    match message_id.map(Uuid::try_parse) {
        Some(Ok(id)) if id != entry.id() => Err(Failure::new(
            Code::InvalidEntry,
            "the message's id is not that of its entry: send the same, or one",
        )),
        Some(Ok(_) | Err(_)) | None => Ok(entry),
    }
}

fn level_of(key: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| routing_key(*level) == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0197f5c1-5d3a-7c6e-8a54-2f1b6c0d9e7a";

    fn read(body: &str, message_id: Option<&str>, key: &str) -> Result<LogEntry, Code> {
        parse_message(body.as_bytes(), message_id, key, Timestamp::UNIX_EPOCH).map_err(|failure| failure.code)
    }

    #[test]
    fn a_course_message_takes_its_level_from_the_key() {
        let entry = read(r#"{"name":"a","data":"b"}"#, None, "log.WARNING").expect("a course message");
        assert_eq!((entry.name(), entry.level()), ("a", Level::Warning));
        let entry = read(r#"{"name":"a","data":"b"}"#, None, "log.OTHER").expect("any key of log.*");
        assert_eq!(entry.level(), Level::Info);
    }

    #[test]
    fn our_message_is_the_entry() {
        let entry = EntryDraft {
            name: "a".into(),
            level: Some("error".into()),
            id: Some(ID.into()),
            ..EntryDraft::default()
        }
        .check(Timestamp::now())
        .expect("valid");
        let body = json::entry_json(&entry, None);
        assert_eq!(read(&body, Some(ID), routing_key(entry.level())), Ok(entry));
    }

    #[test]
    fn the_id_may_stand_in_the_message_or_in_its_properties_but_must_be_one() {
        let body = r#"{"name":"a","data":"b"}"#;
        assert_eq!(read(body, Some(ID), "log.INFO").map(|entry| entry.id().to_string()), Ok(ID.into()));
        assert_eq!(read(body, Some("7"), "log.INFO"), Err(Code::InvalidEntry));
        let other = format!(r#"{{"name":"a","data":"b","id":"{}"}}"#, Uuid::now_v7());
        assert_eq!(read(&other, Some(ID), "log.INFO"), Err(Code::InvalidEntry));
    }
}
