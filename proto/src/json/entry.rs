//! An entry as a JSON body: how it is read, described and written.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{ToSchema, openapi::schema};

use super::{
    ignored::Ignored,
    part::{Part, Whole},
};
use crate::{Code, EntryDraft, Failure, Level, LogEntry, Transport, limits::DATA_BYTES};

/// Reads the body of `POST /log` on the logger, and of a message in RabbitMQ: the course's `name` and
/// `data`, and what else [`EntryDraft`] holds. As the course's own logger does, it takes `Name` and `Data` of a Go struct
/// without tags, no `data`, and a level in capitals.
///
/// # Errors
/// [`Code::BadJson`](crate::Code::BadJson) or [`Code::BadField`](crate::Code::BadField).
pub fn parse_entry(body: &[u8]) -> Result<EntryDraft, Failure> {
    let body = Whole::body(body)?;
    let draft = draft(body.part()).or_else(|failure| {
        // What is wrong is told of the usual form.
        if failure.code == Code::BadField {
            course_draft(body.part()).map_err(|_| failure)
        } else {
            Err(failure)
        }
    })?;
    Ok(EntryDraft { level: draft.level.map(|level| level.to_ascii_lowercase()), ..draft })
}

/// An entry as some clients of the course send it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CourseBody<'a> {
    #[serde(alias = "Name", alias = "NAME")]
    name: String,
    #[serde(borrow, default, alias = "Data", alias = "DATA")]
    data: Option<&'a RawValue>,
    id: Option<String>,
    #[serde(alias = "Level", alias = "LEVEL")]
    level: Option<String>,
    created_at: Option<String>,
    transport: Option<String>,
}

fn course_draft(object: Part<'_>) -> Result<EntryDraft, Failure> {
    let CourseBody { name, data, id, level, created_at, transport } = object.parse_object()?;
    let data = data.map_or(Ok(String::new()), |data| data_text(object.value(data)))?;
    Ok(EntryDraft { name, data, id, level, created_at, transport })
}

/// As [`parse_entry`], of a line of a file: a mistake is told by its column alone.
///
/// # Errors
/// As there.
pub fn parse_line(line: &[u8]) -> Result<EntryDraft, Failure> {
    draft(Whole::line(line)?.part()).map_err(|failure| unlisted(failure, &["transport"]))
}

/// An entry as JSON, for the logger's `POST /log` and for RabbitMQ. `transport` is given where the entry
/// came by another way than the one it is now handed over with.
pub fn entry_json(entry: &LogEntry, transport: Option<Transport>) -> String {
    to_json(&SentEntry { entry, transport })
}

/// An entry as it came. `/openapi.json` describes it by this, without what the listener alone sets.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = Entry)]
pub(super) struct EntryBody<'a> {
    /// What happened: 1 to 256 bytes of UTF-8 without U+0000.
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\u0000]*$")]
    name: String,
    #[serde(borrow)]
    #[schema(schema_with = any_data)]
    data: &'a RawValue,
    /// A UUID, not nil. By default the broker generates one.
    #[schema(format = Uuid, pattern = "[1-9a-fA-F]")]
    id: Option<String>,
    /// Severity; `info` by default.
    #[schema(value_type = Option<Level>)]
    level: Option<String>,
    /// RFC 3339. By default now, by the broker's clock.
    #[schema(format = DateTime)]
    created_at: Option<String>,
    #[schema(ignore)]
    transport: Option<String>,
}

/// An entry without a lifetime: utoipa does not know them.
type AnyEntry = EntryBody<'static>;

/// What stands in `log`. It only describes, as [`BatchSchema`].
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it only describes")]
pub(super) enum EntryOrBatch {
    One(AnyEntry),
    Many(BatchSchema),
}

/// A batch. All of it is stored or none, except over `rabbitmq`.
#[derive(Serialize, ToSchema)]
#[schema(as = Batch, min_items = 1, max_items = 1000)]
pub(super) struct BatchSchema(Vec<AnyEntry>);

/// An entry as it is sent on.
#[derive(Serialize)]
pub(super) struct SentEntry<'a> {
    #[serde(flatten)]
    pub(super) entry: &'a LogEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transport: Option<Transport>,
}

/// Reads an entry that is a part of a body.
pub(super) fn draft(object: Part<'_>) -> Result<EntryDraft, Failure> {
    let EntryBody { name, data, id, level, created_at, transport } = object.parse_object()?;
    Ok(EntryDraft { name, data: data_text(object.value(data))?, id, level, created_at, transport })
}

/// A string as it is; any other JSON value as its text.
fn data_text(value: Part<'_>) -> Result<String, Failure> {
    if value.text().starts_with('"') {
        return value.parse();
    }
    // A raw value is only skipped over. Parsing it finds what is nested too deeply or holds half a surrogate.
    value.parse::<Ignored>()?;
    Ok(value.text().to_owned())
}

/// Leaves fields out of the list of those that are expected: they are read, and nobody has a use for them there.
pub(super) fn unlisted(failure: Failure, fields: &[&str]) -> Failure {
    let Some((unknown, list)) = failure.happened().split_once(", expected one of ") else { return failure };
    let fields = fields.iter().map(|field| format!(", `{field}`"));
    let list = fields.fold(list.to_owned(), |list, field| list.replace(&field, ""));
    let happened = format!("{unknown}, expected one of {list}");
    failure.reworded(happened)
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these bodies have only string keys, so they serialise")
}

/// Any value; what holds of a string holds of no other.
fn any_data() -> schema::Object {
    schema::ObjectBuilder::new()
        .schema_type(schema::SchemaType::AnyValue)
        .description(Some(
            "Up to 256 KiB of text without U+0000. A value that is not a string is stored as its JSON text.",
        ))
        .max_length(Some(DATA_BYTES))
        .pattern(Some("^[^\\u0000]*$"))
        .build()
}
