//! The JSON bodies: what comes in over HTTP and from RabbitMQ, an entry in `entry.rs`; the answers are in `answer.rs`.
//!
//! Bytes are checked for UTF-8 as a whole before they are parsed, since a parser may skip what it ignores.

mod answer;
mod described;
mod entry;
mod ignored;
mod part;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub use self::answer::{
    Accepted, AcceptedBatch, AcceptedEntry, EntryResult, Envelope, FailureData, Timing, WireBytes, Written,
    WrittenBatch,
};
pub use self::{
    described::GrpcHandleBody,
    entry::{entry_json, parse_entry, parse_line},
    part::not_an_object,
};
use self::{
    entry::{EntryOrBatch, SentEntry, draft, to_json, unlisted},
    ignored::Ignored,
    part::{Part, Whole},
};
use crate::{
    Batch, BatchMode, Bounded, Code, EntryDraft, Failure, LogEntry, Transport,
    batch::{check_batch_len, too_many},
    limits::BATCH_ENTRIES,
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
    /// Decode, check and answer, but deliver nothing: the baseline of every comparison.
    Echo,
}

/// The entries, in the form in which they were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entries {
    /// Sent as a JSON object.
    One(LogEntry),
    /// Sent as a JSON array.
    Batch(Batch<LogEntry>),
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

impl From<Entries> for Batch<LogEntry> {
    fn from(entries: Entries) -> Self {
        match entries {
            Entries::One(entry) => entry.into(),
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
        let whole = Whole::body(body)?;
        let whole = whole.part();
        let body: HandleBody<'_> =
            whole.parse_object().map_err(|failure| unlisted(failure, &["auth", "mail"]))?;
        let missing = || Failure::new(Code::BadField, "missing field `action`: use \"log\" or \"echo\"");
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
            Failure::new(Code::BadField, "missing field `log`: send an entry or an array of entries")
        })?;
        let log = whole.value(log);
        let entries = if log.text().starts_with('[') {
            Entries::Batch(check_batch(log, now)?)
        } else {
            Entries::One(check_one(log, now)?)
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

/// Reads the body of `POST /logs` on the logger: `{"mode":"each","entries":[…]}`, or the array alone. An empty one is
/// left to the logger, which is asked by it whether it could store an entry.
///
/// # Errors
/// [`Code::BadJson`], [`Code::BadField`], or [`Code::BadBatch`] for too many entries.
pub fn parse_batch(body: &[u8]) -> Result<BatchDraft, Failure> {
    let whole = Whole::body(body)?;
    let whole = whole.part();
    let is_array = whole.text().trim_ascii_start().starts_with('[');
    let BatchBody { mode, entries } = if is_array {
        BatchBody { mode: BatchMode::default(), entries: whole.parse()? }
    } else {
        whole.parse_object()?
    };
    if entries.len() > BATCH_ENTRIES {
        return Err(too_many());
    }
    let entries = entries.into_iter().map(|raw| draft(whole.value(raw))).collect();
    Ok(BatchDraft { mode, entries })
}

/// A batch as JSON, for the logger's `POST /logs`.
pub fn batch_json(entries: &[LogEntry], mode: BatchMode, transport: Option<Transport>) -> String {
    let entries = entries.iter().map(|entry| SentEntry { entry, transport }).collect();
    to_json(&BatchOut { mode, entries })
}

/// The body of `POST /handle`, as it came.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct HandleBody<'a> {
    /// What to do.
    #[schema(value_type = Action, required)]
    action: Option<String>,
    /// The transport; by default the broker's.
    #[schema(value_type = Option<Transport>)]
    transport: Option<String>,
    /// An entry, or an array of 1 to 1,000.
    #[serde(borrow)]
    #[schema(value_type = EntryOrBatch)]
    log: Option<&'a RawValue>,
    /// Ignored: the course's Go clients send it along, empty.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(rename = "auth")]
    _auth: Option<Ignored>,
    /// Ignored: the course's Go clients send it along, empty.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(rename = "mail")]
    _mail: Option<Ignored>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct BatchBody<'a> {
    #[serde(default)]
    mode: BatchMode,
    #[serde(borrow)]
    entries: Bounded<&'a RawValue>,
}

#[derive(Serialize)]
struct BatchOut<'a> {
    mode: BatchMode,
    entries: Vec<SentEntry<'a>>,
}

fn check_batch(array: Part<'_>, now: Timestamp) -> Result<Batch<LogEntry>, Failure> {
    let raw: Bounded<&RawValue> = array.parse()?;
    // First: a batch that is too long is read in part, and what is wrong with its entries is beside the point.
    check_batch_len(raw.len())?;
    let entries = raw
        .into_iter()
        .enumerate()
        .map(|(position, raw)| check_one(array.value(raw), now).map_err(|failure| failure.at(position)));
    entries.collect::<Result<Vec<_>, _>>()?.try_into()
}

fn check_one(object: Part<'_>, now: Timestamp) -> Result<LogEntry, Failure> {
    let draft = draft(object).map_err(|failure| unlisted(failure, &["transport"]))?;
    if draft.transport.is_some() {
        let message = "unknown field `transport` in `log`: move it next to `action`";
        return Err(Failure::new(Code::BadField, message));
    }
    draft.check(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(body: &str) -> Result<Handle, Failure> {
        Handle::parse(body.as_bytes(), Timestamp::UNIX_EPOCH)
    }

    fn refusal(body: &str) -> (Code, String) {
        let failure = handle(body).expect_err(body);
        (failure.code, failure.into_message())
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
        assert!(message.contains("next to `action`"), "{message}");
    }

    #[test]
    fn what_is_expected_is_what_a_caller_has_a_use_for() {
        let (_, message) = refusal(r#"{"action":"log","colour":1}"#);
        assert_eq!(message, "unknown field `colour`, expected one of `action`, `transport`, `log`");
        let (_, message) = refusal(r#"{"action":"log","log":{"colour":1}}"#);
        assert!(
            message.ends_with("expected one of `name`, `data`, `id`, `level`, `created_at`"),
            "{message}"
        );
        let logger = parse_entry(br#"{"colour":1}"#).expect_err("no such field").into_message();
        assert!(logger.ends_with("`created_at`, `transport`"), "{logger}");
    }

    #[test]
    fn a_mistake_is_told_by_its_place_in_the_whole_body_however_deep_it_stands() {
        let mistake = r#""ж\ud800""#.to_owned();
        let place = |body: &str| {
            let (begin, _) = body.split_once(&mistake).expect("it is there");
            let line = begin.matches('\n').count() + 1;
            let column = begin.rsplit('\n').next().expect("a line").chars().count();
            (line, column)
        };
        let told = |message: &str| {
            let (_, rest) = message.split_once("line ").expect("a line");
            let (line, rest) = rest.split_once(" column ").expect("a column");
            let (column, _) = rest.split_once(':').expect("what");
            (line.parse::<usize>().expect("a number"), column.parse::<usize>().expect("a number"))
        };
        let entry = |data: &str| format!("{{\"name\":\"ж\",\n \"data\":{data}}}");
        let good = entry("1");
        for data in [mistake.clone(), format!("[1,\n\n {{\"ж\": {mistake}}}]")] {
            let bad = entry(&data);
            let bodies = [
                format!("{{\"action\":\"log\",\n\"log\":{bad}}}"),
                format!("{{\"action\":\"log\", \"log\": [{good},\n\n {good}, {bad}]}}"),
            ];
            for body in bodies {
                let (code, message) = refusal(&body);
                assert_eq!(code, Code::BadJson, "{body}");
                let ((line, column), (told_line, told_column)) = (place(&body), told(&message));
                // Somewhere in the text that is at fault.
                let within = column..=column + mistake.chars().count();
                assert!(told_line == line && within.contains(&told_column), "{body}: {message}");
            }
            let bodies = [
                format!("\n[{good}, {bad}]"),
                format!("{{\"mode\":\"each\",\n \"entries\":[{good},\n {bad}]}}"),
            ];
            for body in bodies {
                let batch = parse_batch(body.as_bytes()).expect("the batch itself is sound");
                let message = batch.entries[1].as_ref().expect_err("half of a surrogate pair").message();
                let ((line, column), (told_line, told_column)) = (place(&body), told(&message));
                let within = column..=column + mistake.chars().count();
                assert!(told_line == line && within.contains(&told_column), "{body}: {message}");
            }
            let failure = parse_entry(bad.as_bytes()).expect_err("half of a surrogate pair");
            assert_eq!(told(&failure.message()).0, place(&bad).0, "{failure}");
        }
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
        assert!(failure.message().starts_with("entry 1 "), "{failure}");
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
    fn an_empty_batch_is_left_to_the_logger() {
        for body in ["[]", r#"{"mode":"each","entries":[]}"#] {
            assert!(parse_batch(body.as_bytes()).expect("a question").entries.is_empty(), "{body}");
        }
    }

    #[test]
    fn no_more_entries_are_kept_than_tell_that_the_batch_is_too_long() {
        let body = format!(r#"{{"entries":[{}]}}"#, vec!["1"; 5_000].join(","));
        let whole = Whole::body(body.as_bytes()).expect("UTF-8");
        let kept = whole.part().parse_object::<BatchBody<'_>>().expect("a batch").entries;
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
