//! The topology in RabbitMQ and the form of a message.
//!
//! Declared alike by the publisher and the listener, so either may be there first.

use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{Code, EntryDraft, Failure, Level, LogEntry, json, limits::BODY_BYTES};

/// The course's topic exchange: durable, not auto-deleted, and without arguments, since another declaration
/// would close the channel of either side.
pub const EXCHANGE: &str = "logs_topic";

/// The durable quorum queue that holds entries until the logger has stored them, unless a setting names another.
pub const QUEUE: &str = "logs.entries";

/// What the queue is bound to the exchange by: every level.
pub const BINDING_KEY: &str = "log.*";

/// The exchange, and the queue behind it, for what can never be stored out of [`QUEUE`].
pub const DEAD_LETTER: &str = "logs.dead";

/// What the dead letters of a queue of another name are called by: its name, and this.
const DEAD_LETTER_END: &str = ".dead";

/// The header on a dead letter that names the case, as a [`Code`].
pub const DEAD_CODE_HEADER: &str = "x-code";

/// The header on a dead letter that says why.
pub const DEAD_REASON_HEADER: &str = "x-reason";

/// The header on a dead letter that says since when it is one.
pub const DEAD_AT_HEADER: &str = "x-dead-at";

/// How often a delivery may be lost with its consumer before it becomes a dead letter. Stated, since the
/// default is none before RabbitMQ 4.0 and 20 since.
pub const DELIVERY_LIMIT: i64 = 20;

/// Most bytes in the queue, 1 GiB: past it RabbitMQ refuses a publish, and the caller is told.
pub const QUEUE_BYTES: i64 = 1024 * 1024 * 1024;

/// The content type of our messages. Others are read as JSON all the same.
pub const CONTENT_TYPE: &str = "application/json";

/// Longest name of a queue that is taken, in bytes: AMQP's 255, with room for what its dead letters are called by.
const NAME_BYTES: usize = 200;

/// What the ids that are made of an application's own message ids are made in: the UUIDv5 of `fourwire/message-id` in the
/// namespace of URLs.
const MESSAGE_IDS: Uuid = Uuid::from_u128(0x106d_1fc2_129f_5422_b869_cf3b_fe05_d6a3);

/// The names of our two queues. The exchange of the dead letters is called as their queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    /// That of the entries.
    pub entries: String,
    /// That of the dead letters.
    pub dead_letters: String,
}

impl Default for Queues {
    fn default() -> Self {
        Queues { entries: QUEUE.to_owned(), dead_letters: DEAD_LETTER.to_owned() }
    }
}

/// From the name of the queue of entries.
impl FromStr for Queues {
    type Err = BadQueueName;

    fn from_str(name: &str) -> Result<Self, BadQueueName> {
        if name == QUEUE {
            return Ok(Queues::default());
        }
        let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        let sound = (1..=NAME_BYTES).contains(&name.len()) && printable && !name.starts_with("amq.");
        // It would be the dead letters of another queue.
        if !sound || name.ends_with(DEAD_LETTER_END) || name == EXCHANGE {
            return Err(BadQueueName);
        }
        Ok(Queues { entries: name.to_owned(), dead_letters: format!("{name}{DEAD_LETTER_END}") })
    }
}

/// A name that no queue of entries can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a name of 1 to {NAME_BYTES} visible ASCII characters that does not begin with amq. or end in .dead"
)]
pub struct BadQueueName;

/// The routing key of a level, as in the course.
pub const fn routing_key(level: Level) -> &'static str {
    match level {
        Level::Info => "log.INFO",
        Level::Warning => "log.WARNING",
        Level::Error => "log.ERROR",
    }
}

/// A message that is an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The entry.
    pub entry: LogEntry,
    /// Whether its level is `info` for want of a better: neither the body nor the routing key names one that is known.
    pub level_is_assumed: bool,
}

/// Reads a message. A course message has neither id nor level: the level is that of the routing key, and the id is
/// `message_id`. If that is not a UUID, the id is derived from it, the key and the body, so that a redelivered message
/// has the same id; if it is missing, empty or nil, a new id is generated. An id in the body takes precedence.
///
/// # Errors
/// What is wrong with it, as a failure of certainty `Rejected`: it can never be stored.
pub fn parse_message(
    body: &[u8],
    message_id: Option<&str>,
    key: &str,
    now: Timestamp,
) -> Result<Message, Failure> {
    if body.len() > BODY_BYTES {
        // What takes more than any entry's JSON is not even read.
        let message = format!("the message is larger than {BODY_BYTES} bytes");
        return Err(Failure::new(Code::TooLarge, message));
    }
    let draft = json::parse_entry(body)?;
    let named = level_of(key);
    let level_is_assumed = draft.level.is_none() && named.is_none();
    let entry = EntryDraft {
        id: draft.id.or_else(|| Some(entry_id(message_id?, key, body)?.to_string())),
        level: draft.level.or_else(|| Some(named?.as_str().to_owned())),
        ..draft
    }
    .check(now)?;
    Ok(Message { entry, level_is_assumed })
}

/// By what a message is called where it cannot be read: its id, that in its body, or one that is made of it.
pub fn name_of(body: &[u8], message_id: Option<&str>, key: &str) -> String {
    let own = message_id.filter(|id| !id.is_empty()).map(str::to_owned);
    let named = own.or_else(|| json::parse_entry(body).ok()?.id.filter(|id| !id.is_empty()));
    named.unwrap_or_else(|| derived_id("", key, body).to_string())
}

/// None where the message is called nothing: who calls each of them so means none by it, and two that are alike would be
/// taken for one.
fn entry_id(message_id: &str, key: &str, body: &[u8]) -> Option<Uuid> {
    match Uuid::try_parse(message_id) {
        Ok(id) => Some(id).filter(|id| !id.is_nil()),
        Err(_) => Some(message_id).filter(|id| !id.is_empty()).map(|id| derived_id(id, key, body)),
    }
}

/// Two applications may count their messages alike: so all of the message goes in.
fn derived_id(message_id: &str, key: &str, body: &[u8]) -> Uuid {
    let mut name = Vec::with_capacity(message_id.len() + key.len() + 2 + body.len());
    for part in [message_id.as_bytes(), key.as_bytes()] {
        name.extend_from_slice(part);
        // No AMQP short string of ours has it, so that two parts are never taken for one.
        name.push(0);
    }
    name.extend_from_slice(body);
    Uuid::new_v5(&MESSAGE_IDS, &name)
}

/// The level that a routing key names: the word after the first dot, in upper or lower case, as logging libraries and
/// syslog have it. What is less than a warning is `info`.
fn level_of(key: &str) -> Option<Level> {
    const WORDS: [(Level, &[&str]); 3] = [
        (Level::Info, &["info", "information", "notice", "debug", "trace", "verbose"]),
        (Level::Warning, &["warning", "warn"]),
        (
            Level::Error,
            &["error", "err", "fatal", "critical", "crit", "alert", "emergency", "emerg", "panic"],
        ),
    ];
    let (_, word) = key.split_once('.')?;
    let is_named = |words: &[&str]| words.iter().any(|own| own.eq_ignore_ascii_case(word));
    WORDS.into_iter().find(|(_, words)| is_named(words)).map(|(level, _)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0197f5c1-5d3a-7c6e-8a54-2f1b6c0d9e7a";

    fn message(body: &str, message_id: Option<&str>, key: &str) -> Result<Message, Code> {
        parse_message(body.as_bytes(), message_id, key, Timestamp::UNIX_EPOCH).map_err(|failure| failure.code)
    }

    fn read(body: &str, message_id: Option<&str>, key: &str) -> Result<LogEntry, Code> {
        message(body, message_id, key).map(|message| message.entry)
    }

    #[test]
    fn a_course_message_takes_its_level_from_the_key() {
        let entry = read(r#"{"name":"a","data":"b"}"#, None, "log.WARNING").expect("a course message");
        assert_eq!((entry.name(), entry.level()), ("a", Level::Warning));
    }

    #[test]
    fn a_level_is_known_by_the_words_that_are_in_use_in_either_case() {
        for (key, level) in [
            ("log.INFO", Some(Level::Info)),
            ("log.debug", Some(Level::Info)),
            ("log.Notice", Some(Level::Info)),
            ("log.WARN", Some(Level::Warning)),
            ("log.warning", Some(Level::Warning)),
            ("log.error", Some(Level::Error)),
            ("log.Err", Some(Level::Error)),
            ("log.FATAL", Some(Level::Error)),
            ("log.CRITICAL", Some(Level::Error)),
            ("log.OTHER", None),
            ("log.", None),
            ("log", None),
            ("logs.entries", None),
        ] {
            let read = message(r#"{"name":"a","data":"b"}"#, None, key).expect("any key of log.*");
            assert_eq!(read.entry.level(), level.unwrap_or_default(), "{key}");
            assert_eq!(read.level_is_assumed, level.is_none(), "{key}");
        }
        let own = message(r#"{"name":"a","data":"b","level":"error"}"#, None, "log.OTHER").expect("an entry");
        assert_eq!((own.entry.level(), own.level_is_assumed), (Level::Error, false), "the body says it");
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
    fn an_entry_has_the_id_of_its_body_or_else_that_of_its_message() {
        let body = r#"{"name":"a","data":"b"}"#;
        assert_eq!(read(body, Some(ID), "log.INFO").map(|entry| entry.id().to_string()), Ok(ID.into()));
        let own = Uuid::now_v7();
        let named = format!(r#"{{"name":"a","data":"b","id":"{own}"}}"#);
        for message_id in [Some(ID), Some("order-4711"), Some(""), None] {
            assert_eq!(
                read(&named, message_id, "log.INFO").map(|entry| entry.id()),
                Ok(own),
                "{message_id:?}"
            );
        }
        assert_eq!(
            read(r#"{"name":"a","data":"b","id":"7"}"#, Some(ID), "log.INFO"),
            Err(Code::InvalidEntry)
        );
    }

    #[test]
    fn an_applications_own_message_id_becomes_an_id_that_is_the_same_again() {
        const NIL: &str = "00000000-0000-0000-0000-000000000000";
        let (body, other) = (r#"{"name":"a","data":"b"}"#, r#"{"name":"a","data":"c"}"#);
        let id = |body, message_id, key| read(body, message_id, key).expect("an entry").id();
        for message_id in ["order-4711", "ж"] {
            let first = id(body, Some(message_id), "log.INFO");
            assert_eq!(first.get_version_num(), 5);
            assert_eq!(id(body, Some(message_id), "log.INFO"), first, "delivered again");
            assert_ne!(id(other, Some(message_id), "log.INFO"), first, "another application counts alike");
            assert_ne!(id(body, Some(message_id), "log.ERROR"), first);
            assert_ne!(id(body, Some("order-4712"), "log.INFO"), first);
        }
        for none in [None, Some(""), Some(NIL)] {
            assert_ne!(id(body, none, "log.INFO"), id(body, none, "log.INFO"), "each is an entry of its own");
        }
    }

    #[test]
    fn what_is_larger_than_any_entry_is_not_read() {
        assert_eq!(read(&" ".repeat(BODY_BYTES + 1), None, "log.INFO"), Err(Code::TooLarge));
        assert_eq!(read(&" ".repeat(BODY_BYTES), None, "log.INFO"), Err(Code::BadJson));
    }

    #[test]
    fn a_message_has_a_name_whatever_it_is() {
        let named = format!(r#"{{"name":"a","data":"b","id":"{ID}"}}"#);
        for (body, message_id, name) in
            [("", Some("order-4711"), "order-4711"), (&named, None, ID), (&named, Some(""), ID)]
        {
            assert_eq!(name_of(body.as_bytes(), message_id, "log.INFO"), name);
        }
        assert_eq!(name_of(b"x", None, "log.INFO"), name_of(b"x", Some(""), "log.INFO"));
        assert_ne!(name_of(b"x", None, "log.INFO"), name_of(b"y", None, "log.INFO"));
    }

    #[test]
    fn the_dead_letters_are_called_after_their_queue() {
        let named = |name: &str| name.parse::<Queues>().map(|queues| queues.dead_letters);
        assert_eq!(named(QUEUE).as_deref(), Ok(DEAD_LETTER));
        assert_eq!(named("team.logs").as_deref(), Ok("team.logs.dead"));
        for name in ["", "amq.logs", "logs.dead", "a b", "ж", EXCHANGE, &"q".repeat(NAME_BYTES + 1)] {
            assert_eq!(named(name), Err(BadQueueName), "{name}");
        }
    }
}
