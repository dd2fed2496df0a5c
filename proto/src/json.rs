//! The JSON bodies: what comes in over HTTP and off RabbitMQ; what goes out is in `answer.rs`.
//!
//! Bytes are checked for UTF-8 as a whole before they are parsed, since a parser may skip what it ignores.

mod answer;
mod ignored;
mod words;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{error::Category, value::RawValue};
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::answer::{
    Accepted, AcceptedBatch, AcceptedEntry, EntryResult, Envelope, FailureData, Timing, Written, WrittenBatch,
};
use self::ignored::Ignored;
pub use self::words::in_plain_words;
use crate::{
    BatchMode, Bounded, Code, EntryDraft, Failure, Level, LogEntry, Transport, limits::BATCH_ENTRIES,
};

/// What a caller asks of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// What is to be done.
    pub action: Action,
    /// By which transport; `None`: by the broker's default.
    pub transport: Option<Transport>,
    /// What is to be logged.
    pub entries: Entries,
}

/// The actions that the broker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Deliver the entries.
    Log,
    /// Decode, check and answer, but deliver nothing: the floor of every comparison.
    Echo,
}

/// One entry, or a batch of 1 to [`BATCH_ENTRIES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entries {
    /// Sent as a JSON object.
    One(LogEntry),
    /// Sent as a JSON array. Never empty.
    Batch(Vec<LogEntry>),
}

impl Entries {
    /// The entries, in order.
    pub fn as_slice(&self) -> &[LogEntry] {
        match self {
            Entries::One(entry) => std::slice::from_ref(entry),
            Entries::Batch(entries) => entries,
        }
    }
}

impl Handle {
    /// Reads the body of `POST /handle`. `now` is the time of entries that bring none.
    ///
    /// # Errors
    /// The first thing that is wrong with it, as a failure of certainty `Rejected`.
    pub fn parse(body: &[u8], now: Timestamp) -> Result<Self, Failure> {
        let body: HandleBody<'_> = parse_object(body)?;
        let missing = || Failure::new(Code::BadField, "missing field `action`: give it \"log\" or \"echo\"");
        let action = match body.action.as_deref().ok_or_else(missing)? {
            "log" => Action::Log,
            "echo" => Action::Echo,
            other => {
                let message = format!("unknown action {other:?}: use \"log\" or \"echo\"");
                return Err(Failure::new(Code::UnknownAction, message));
            }
        };
        let transport = body.transport.as_deref().map(str::parse).transpose()?;
        let log = body.log.ok_or_else(|| {
            Failure::new(Code::BadField, "missing field `log`: give it an entry, or an array of entries")
        })?;
        let entries = if log.get().starts_with('[') {
            Entries::Batch(check_batch(log.get(), now)?)
        } else {
            Entries::One(check_one(log.get(), now)?)
        };
        Ok(Handle { action, transport, entries })
    }
}

/// What a caller asks of the logger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchDraft {
    /// How the entries share their fate.
    pub mode: BatchMode,
    /// The entries, not yet looked at: with [`BatchMode::Each`] a bad one is a result, not a failure.
    pub entries: Vec<Result<EntryDraft, Failure>>,
}

/// Reads the body of `POST /log` on the logger, and of a message in RabbitMQ: the course's `name` and
/// `data`, and what else [`EntryDraft`] holds.
///
/// # Errors
/// [`Code::BadJson`] or [`Code::BadField`].
pub fn parse_entry(body: &[u8]) -> Result<EntryDraft, Failure> {
    parse_object::<EntryBody<'_>>(body)?.try_into()
}

/// Reads the body of `POST /logs` on the logger: `{"mode":"each","entries":[…]}`, or the array alone.
///
/// # Errors
/// [`Code::BadJson`], [`Code::BadField`], or [`Code::BadBatch`] for no entries or too many.
pub fn parse_batch(body: &[u8]) -> Result<BatchDraft, Failure> {
    let is_array = body.trim_ascii_start().starts_with(b"[");
    let BatchBody { mode, entries } = if is_array {
        BatchBody { mode: BatchMode::default(), entries: parse(body)? }
    } else {
        parse_object(body)?
    };
    check_batch_len(entries.len())?;
    let entries = entries.into_iter().map(|raw| parse_entry(raw.get().as_bytes())).collect();
    Ok(BatchDraft { mode, entries })
}

/// Refuses a batch without entries, and one with too many.
///
/// # Errors
/// [`Code::BadBatch`].
pub fn check_batch_len(len: usize) -> Result<(), Failure> {
    match len {
        0 => Err(Failure::new(Code::BadBatch, "the batch is empty: give it at least one entry")),
        1..=BATCH_ENTRIES => Ok(()),
        _ => Err(too_many()),
    }
}

/// The refusal of a batch with too many entries. It does not count them: reading stops to keep them.
pub(crate) fn too_many() -> Failure {
    let message = format!("the batch has more than {BATCH_ENTRIES} entries: send it in parts");
    Failure::new(Code::BadBatch, message)
}

/// An entry as JSON, for the logger's `POST /log` and for RabbitMQ. `transport` is given where the entry
/// came by another way than the one it is now handed over with.
pub fn entry_json(entry: &LogEntry, transport: Option<Transport>) -> String {
    to_json(&entry_out(entry, transport))
}

/// A batch as JSON, for the logger's `POST /logs`.
pub fn batch_json(entries: &[LogEntry], mode: BatchMode, transport: Option<Transport>) -> String {
    let entries = entries.iter().map(|entry| entry_out(entry, transport)).collect();
    to_json(&BatchOut { mode, entries })
}

/// The body of `POST /handle`, as it came.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct HandleBody<'a> {
    /// What is to be done.
    #[schema(value_type = Action, required)]
    action: Option<String>,
    /// By which transport; left out: by the broker's default.
    #[schema(value_type = Option<Transport>)]
    transport: Option<String>,
    /// An entry, or an array of 1 to 1,000.
    #[serde(borrow)]
    #[schema(value_type = EntryOrBatch)]
    log: Option<&'a RawValue>,
    /// Ignored: the course's Go clients send it along, empty.
    #[schema(value_type = Option<Object>)]
    #[serde(rename = "auth")]
    _auth: Option<Ignored>,
    /// Ignored: the course's Go clients send it along, empty.
    #[schema(value_type = Option<Object>)]
    #[serde(rename = "mail")]
    _mail: Option<Ignored>,
}

/// What stands in `log`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it only describes")]
enum EntryOrBatch {
    One(EntrySchema),
    Many(Vec<EntrySchema>),
}

/// An entry as a caller sends it.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
struct EntrySchema {
    /// What happened: 1 to 256 bytes of UTF-8 without U+0000.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// Up to 256 KiB of text without U+0000. A value that is no string is kept as its JSON text.
    data: serde_json::Value,
    /// A UUID, not nil; left out: the broker makes one.
    id: Option<Uuid>,
    /// How serious it is; left out: `info`.
    level: Option<Level>,
    /// RFC 3339; left out: now, by the broker's clock.
    #[schema(format = DateTime)]
    created_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct BatchBody<'a> {
    #[serde(default)]
    mode: BatchMode,
    #[serde(borrow)]
    entries: Bounded<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct EntryBody<'a> {
    name: String,
    #[serde(borrow)]
    data: &'a RawValue,
    id: Option<String>,
    level: Option<String>,
    created_at: Option<String>,
    transport: Option<String>,
}

impl TryFrom<EntryBody<'_>> for EntryDraft {
    type Error = Failure;

    fn try_from(body: EntryBody<'_>) -> Result<Self, Failure> {
        Ok(EntryDraft {
            name: body.name,
            data: data_text(body.data)?,
            id: body.id,
            level: body.level,
            created_at: body.created_at,
            transport: body.transport,
        })
    }
}

#[derive(Serialize)]
struct EntryOut<'a> {
    id: Uuid,
    name: &'a str,
    data: &'a str,
    level: Level,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<Transport>,
}

#[derive(Serialize)]
struct BatchOut<'a> {
    mode: BatchMode,
    entries: Vec<EntryOut<'a>>,
}

fn check_batch(array: &str, now: Timestamp) -> Result<Vec<LogEntry>, Failure> {
    let raw: Bounded<&RawValue> = parse(array.as_bytes())?;
    check_batch_len(raw.len())?;
    raw.into_iter()
        .enumerate()
        .map(|(position, raw)| check_one(raw.get(), now).map_err(|failure| failure.at(position)))
        .collect()
}

fn check_one(object: &str, now: Timestamp) -> Result<LogEntry, Failure> {
    let draft = parse_entry(object.as_bytes())?;
    if draft.transport.is_some() {
        let message = "unknown field `transport` in `log`: it belongs beside `action`";
        return Err(Failure::new(Code::BadField, message));
    }
    draft.check(now)
}

/// A string as it is; any other JSON value as its text.
fn data_text(raw: &RawValue) -> Result<String, Failure> {
    if raw.get().starts_with('"') {
        return parse(raw.get().as_bytes());
    }
    // A raw value is only skipped over. Parsing it finds what is nested too deeply or holds half a surrogate.
    parse::<Ignored>(raw.get().as_bytes())?;
    Ok(raw.get().to_owned())
}

/// serde would take an array for a struct too, its elements for the fields in their order.
fn parse_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    const OTHER_VALUES: [&[u8]; 16] = [
        b"[", b"\"", b"null", b"true", b"false", b"-", b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8",
        b"9",
    ];
    let text = body.trim_ascii_start();
    if text.is_empty() {
        return Err(Failure::new(Code::BadJson, "the body is empty: send a JSON object"));
    }
    if text.starts_with("\u{feff}".as_bytes()) {
        return Err(Failure::new(
            Code::BadJson,
            "a byte order mark comes first: send JSON in UTF-8 without one",
        ));
    }
    if OTHER_VALUES.iter().any(|start| text.starts_with(start)) {
        return Err(Failure::new(Code::BadField, "an object is expected: send {\"name\": value, …}"));
    }
    parse(body)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let message = format!("the body is not UTF-8 at byte {}: send JSON in UTF-8", error.valid_up_to());
        Failure::new(Code::BadJson, message)
    })?;
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        describe(error.inner(), &path)
    })?;
    json.end().map_err(|error| describe(&error, "."))?;
    Ok(value)
}

fn describe(error: &serde_json::Error, path: &str) -> Failure {
    match error.classify() {
        Category::Data => {
            let text = error.to_string();
            // The place is dropped: in a batch it would count from the start of the entry.
            let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
            let field = if path == "." { String::new() } else { format!("field `{path}`: ") };
            Failure::new(Code::BadField, format!("{field}{what}"))
        }
        Category::Syntax | Category::Eof | Category::Io => {
            let (line, column, what) = (error.line(), error.column(), in_plain_words(error));
            let message =
                format!("the body is not JSON that can be read: line {line} column {column}: {what}");
            Failure::new(Code::BadJson, message)
        }
    }
}

fn entry_out(entry: &LogEntry, transport: Option<Transport>) -> EntryOut<'_> {
    EntryOut {
        id: entry.id(),
        name: entry.name(),
        data: entry.data(),
        level: entry.level(),
        created_at: entry.created_at(),
        transport,
    }
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these bodies have only string keys, so they serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(body: &str) -> Result<Handle, Failure> {
        Handle::parse(body.as_bytes(), Timestamp::UNIX_EPOCH)
    }

    fn refusal(body: &str) -> (Code, String) {
        let failure = handle(body).expect_err(body);
        (failure.code, failure.message)
    }

    #[test]
    fn the_courses_own_body_is_understood() {
        let body = r#"{"action":"log","auth":{"email":"","password":""},
            "log":{"name":"event","data":"text"},"mail":{"from":"","to":"","subject":"","message":""}}"#;
        let handle = handle(body).expect("the course sends this");
        assert_eq!((handle.action, handle.transport), (Action::Log, None));
        assert_eq!(handle.entries.as_slice()[0].name(), "event");
    }

    #[test]
    fn a_value_that_is_no_string_is_kept_as_its_text() {
        for (json, text) in [
            ("\"a\\u0436\"", "aж"),
            ("{\"a\": [1, 2.50]}", "{\"a\": [1, 2.50]}"),
            ("12345678901234567890.5", "12345678901234567890.5"),
            ("null", "null"),
            ("false", "false"),
        ] {
            let body = format!(r#"{{"action":"log","log":{{"name":"n","data":{json}}}}}"#);
            assert_eq!(handle(&body).expect(json).entries.as_slice()[0].data(), text);
        }
    }

    #[test]
    fn a_wrong_field_is_named() {
        let (code, message) = refusal(r#"{"action":"log","log":{"name":5,"data":""}}"#);
        assert_eq!(code, Code::BadField);
        assert!(message.contains("`name`") && message.contains("expected a string"), "{message}");
        let (code, message) = refusal(r#"{"action":"log","transprot":"grpc","log":{"name":"n","data":""}}"#);
        assert_eq!(code, Code::BadField);
        assert!(message.contains("`transprot`"), "{message}");
        let (code, message) = refusal(r#"{"action":"log","log":{"name":"n","data":"","transport":"grpc"}}"#);
        assert_eq!(code, Code::BadField);
        assert!(message.contains("beside `action`"), "{message}");
    }

    #[test]
    fn deep_nesting_is_refused_wherever_it_stands() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        let body = format!(r#"{{"action":"log","log":{{"name":"n","data":{deep}}}}}"#);
        assert_eq!(refusal(&body).0, Code::BadJson);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_even_where_they_would_be_ignored() {
        let body = b"{\"action\":\"log\",\"auth\":\"\xff\",\"log\":{\"name\":\"n\",\"data\":\"\"}}";
        let failure = Handle::parse(body, Timestamp::UNIX_EPOCH).expect_err("not UTF-8");
        assert_eq!(failure.code, Code::BadJson);
    }

    #[test]
    fn a_bad_entry_of_a_batch_is_named_by_its_position() {
        let body = r#"{"action":"log","log":[{"name":"a","data":""},{"name":"","data":""}]}"#;
        let failure = handle(body).expect_err("the second has no name");
        assert_eq!((failure.code, failure.position), (Code::InvalidEntry, Some(1)));
        assert!(failure.message.starts_with("entry 1 "), "{}", failure.message);
    }

    #[test]
    fn a_batch_must_have_1_to_1000_entries() {
        let batch = |len: usize| {
            let entries = vec![r#"{"name":"a","data":""}"#; len].join(",");
            format!(r#"{{"action":"log","log":[{entries}]}}"#)
        };
        assert!(handle(&batch(1_000)).is_ok());
        assert_eq!(refusal(&batch(0)).0, Code::BadBatch);
        let (code, message) = refusal(&batch(1_001));
        assert_eq!(code, Code::BadBatch);
        assert!(message.contains("more than 1000 entries"), "{message}");
    }

    #[test]
    fn no_more_entries_are_kept_than_tell_that_the_batch_is_too_long() {
        let body = format!(r#"{{"entries":[{}]}}"#, vec!["1"; 5_000].join(","));
        let kept = parse_object::<BatchBody<'_>>(body.as_bytes()).expect("a batch").entries;
        assert_eq!(kept.len(), BATCH_ENTRIES + 1);
        assert_eq!(parse_batch(body.as_bytes()).map_err(|failure| failure.code), Err(Code::BadBatch));
    }

    #[test]
    fn a_batch_for_the_logger_keeps_a_bad_entry_beside_the_good() {
        let body = br#"{"mode":"each","entries":[{"name":"a","data":""},{"name":7,"data":""}]}"#;
        let batch = parse_batch(body).expect("the batch itself is sound");
        assert_eq!(batch.mode, BatchMode::Each);
        assert!(batch.entries[0].is_ok());
        let array = parse_batch(br#" [{"name":"a","data":""}]"#).expect("the array alone");
        assert_eq!((array.mode, array.entries.len()), (BatchMode::AllOrNone, 1));
        assert_eq!(batch.entries[1].as_ref().map_err(|failure| failure.code), Err(Code::BadField));
    }

    #[test]
    fn what_is_sent_to_the_logger_is_read_there() {
        let entry = EntryDraft { name: "n".into(), data: "\"quoted\"\n".into(), ..EntryDraft::default() }
            .check(Timestamp::now())
            .expect("valid");
        let draft =
            parse_entry(entry_json(&entry, Some(Transport::Rabbitmq)).as_bytes()).expect("our own JSON");
        assert_eq!(draft.came_by(Transport::Http), Ok(Transport::Rabbitmq));
        assert_eq!(draft.check(Timestamp::UNIX_EPOCH), Ok(entry));
    }
}
