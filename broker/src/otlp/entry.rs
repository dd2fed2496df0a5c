//! What a log record becomes: an entry, by the rule of docs/otlp.md.

use std::{io, ptr};

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::LogRecord,
    resource::v1::Resource,
};
use prost::Message;
use proto::{Code, EntryDraft, Failure, Level, LogEntry, Time, limits::DATA_BYTES, too_long};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use super::{
    id::Ids,
    wire::{PART_BYTES, Record},
};

/// The name of an entry whose resource has no `service.name`.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// What `service.name` is called.
const SERVICE_NAME: &str = "service.name";

/// Makes the entries of the records of one request, one after the other.
///
/// What a record costs is in proportion to its own bytes, and to its entry if it has one: what its resource and its scope
/// come to, or that no entry can hold it, is found out once for all their records.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    now: Timestamp,
    ids: Ids<'a>,
    resource: Kept<'a, Result<Service, Failure>>,
    scope: Kept<'a, Result<Option<Box<RawValue>>, Failure>>,
}

/// What the records of a resource have in common.
#[derive(Debug, Clone)]
struct Service {
    name: String,
    /// Its attributes as JSON.
    attributes: Option<Box<RawValue>>,
}

impl<'a> Entries<'a> {
    pub(super) fn of(request: &'a [u8], now: Timestamp) -> Self {
        Entries { now, ids: Ids::of(request), resource: Kept(None), scope: Kept(None) }
    }

    /// The entry of the next record.
    ///
    /// # Errors
    /// If an entry cannot hold it.
    pub(super) fn next(&mut self, record: &Record<'a>) -> Result<LogEntry, Failure> {
        if record.bytes.len() > PART_BYTES {
            let message = format!("it has {} bytes: the limit is {PART_BYTES} bytes", record.bytes.len());
            return Err(Failure::new(Code::InvalidEntry, message));
        }
        let now = self.now;
        let service = self.resource.get(record.resource, |bytes| service(bytes, now));
        let service = service.as_ref().map_err(Failure::clone)?;
        let scope = self.scope.get(record.scope, scope).as_ref().map_err(Failure::clone)?;
        let common = [scope.as_deref(), service.attributes.as_deref()];
        if common.into_iter().flatten().map(|json| json.get().len()).sum::<usize>() > DATA_BYTES {
            return Err(too_long("data", DATA_BYTES));
        }
        let log = LogRecord::decode(record.bytes).map_err(again)?;
        let nanos = [log.time_unix_nano, log.observed_time_unix_nano].into_iter().find(|nanos| *nanos > 0);
        let data = Data {
            body: log.body.as_ref().map(Json),
            event_name: &log.event_name,
            severity_text: &log.severity_text,
            severity_number: log.severity_number,
            trace_id: valid_id::<16>(&log.trace_id),
            span_id: valid_id::<8>(&log.span_id),
            flags: log.flags,
            attributes: Attributes::of(&log.attributes),
            dropped_attributes_count: log.dropped_attributes_count,
            scope: scope.as_deref(),
            resource: service.attributes.as_deref(),
        };
        let data = json(&data)?;
        // Only now: what is refused needs none, nor does what is equal to it.
        let id = self.ids.next(record, nanos.is_some());
        let draft = EntryDraft {
            name: service.name.clone(),
            data,
            id: Some(id.to_string()),
            level: Some(level(&log).as_str().to_owned()),
            created_at: nanos.map(created_at),
            transport: None,
        };
        draft.check(self.now)
    }
}

/// What was made of the last bytes: records of a resource stand together.
#[derive(Debug)]
struct Kept<'a, T>(Option<(&'a [u8], T)>);

impl<'a, T> Kept<'a, T> {
    fn get(&mut self, bytes: &'a [u8], make: impl FnOnce(&'a [u8]) -> T) -> &T {
        let kept = self.0.take().filter(|(before, _)| ptr::eq(*before, bytes));
        &self.0.insert(kept.unwrap_or_else(|| (bytes, make(bytes)))).1
    }
}

/// It was decoded before.
fn again(error: prost::DecodeError) -> Failure {
    Failure::new(Code::BadField, "it cannot be decoded").because(error)
}

fn service(bytes: &[u8], now: Timestamp) -> Result<Service, Failure> {
    let resource = Resource::decode(bytes).map_err(again)?;
    let name = resource.attributes.iter().find(|attribute| attribute.key == SERVICE_NAME);
    let name = name.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    let name = match name {
        Some(Value::StringValue(name)) if !name.is_empty() => name,
        Some(_) | None => UNKNOWN_SERVICE,
    };
    // An entry with this name alone, which is refused as all others would be.
    let named = EntryDraft { name: name.to_owned(), ..EntryDraft::default() }.check(now)?;
    let attributes = Attributes::of(&resource.attributes).map(|own| raw_json(&own)).transpose()?;
    Ok(Service { name: named.name().to_owned(), attributes })
}

fn scope(bytes: &[u8]) -> Result<Option<Box<RawValue>>, Failure> {
    let scope = InstrumentationScope::decode(bytes).map_err(again)?;
    let has_any = !(scope.name.is_empty() && scope.version.is_empty() && scope.attributes.is_empty());
    let of_scope =
        Scope { name: &scope.name, version: &scope.version, attributes: Attributes::of(&scope.attributes) };
    has_any.then(|| raw_json(&of_scope)).transpose()
}

fn raw_json(value: &impl Serialize) -> Result<Box<RawValue>, Failure> {
    Ok(RawValue::from_string(json(value)?).expect("it was written as JSON"))
}

/// A value as JSON, of which no more is written than an entry holds: the text of a control character is six times as long.
///
/// # Errors
/// If an entry cannot hold it.
fn json(value: &impl Serialize) -> Result<String, Failure> {
    let mut written = AtMost { bytes: Vec::new(), limit: DATA_BYTES };
    // Its keys are text, so that nothing else can fail.
    serde_json::to_writer(&mut written, value).map_err(|_| too_long("data", DATA_BYTES))?;
    Ok(String::from_utf8(written.bytes).expect("JSON is UTF-8"))
}

/// Takes so many bytes and no more.
struct AtMost {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for AtMost {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The level of a severity: by its number, or where there is none by its text.
fn level(log: &LogRecord) -> Level {
    match log.severity_number {
        ..=0 => match log.severity_text.to_ascii_lowercase().as_str() {
            "warn" | "warning" => Level::Warning,
            "error" | "err" | "fatal" | "critical" | "crit" | "alert" | "emergency" | "emerg" => Level::Error,
            _ => Level::Info,
        },
        1..=12 => Level::Info,
        13..=16 => Level::Warning,
        17.. => Level::Error,
    }
}

fn created_at(nanos: u64) -> String {
    let us = i64::try_from(nanos / 1_000).expect("a thousandth of 64 bits");
    Time::from_microsecond(us).expect("64 bits of nanoseconds end in 2554").to_string()
}

/// An id of a trace or a span; `None` if it is none, which says that the record belongs to none.
fn valid_id<const BYTES: usize>(id: &[u8]) -> Option<String> {
    (id.len() == BYTES && id.iter().any(|byte| *byte != 0)).then(|| hex::encode(id))
}

/// The `data` of an entry. What a record does not have is left out.
#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Json<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    event_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    severity_text: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    severity_number: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Attributes<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_attributes_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Scope<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Attributes<'a>>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Attributes as a JSON object.
struct Attributes<'a>(&'a [KeyValue]);

impl<'a> Attributes<'a> {
    /// `None` if there are none.
    fn of(attributes: &'a [KeyValue]) -> Option<Self> {
        (!attributes.is_empty()).then_some(Attributes(attributes))
    }
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for KeyValue { key, value, .. } in self.0 {
            map.serialize_entry(key, &value.as_ref().map(Json))?;
        }
        map.end()
    }
}

/// A value as plain JSON.
struct Json<'a>(&'a AnyValue);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.value {
            Some(Value::StringValue(text)) => serializer.serialize_str(text),
            Some(Value::BoolValue(truth)) => serializer.serialize_bool(*truth),
            Some(Value::IntValue(number)) => serializer.serialize_i64(*number),
            Some(Value::DoubleValue(number)) if number.is_finite() => serializer.serialize_f64(*number),
            Some(Value::DoubleValue(number)) if number.is_nan() => serializer.serialize_str("NaN"),
            Some(Value::DoubleValue(number)) => {
                serializer.serialize_str(if *number > 0.0 { "Infinity" } else { "-Infinity" })
            }
            Some(Value::ArrayValue(array)) => serializer.collect_seq(array.values.iter().map(Json)),
            Some(Value::KvlistValue(list)) => Attributes(&list.values).serialize(serializer),
            Some(Value::BytesValue(bytes)) => serializer.serialize_str(&BASE64_STANDARD.encode(bytes)),
            // An index is of profiles alone, and is to be taken for nothing here.
            Some(Value::StringValueStrindex(_)) | None => serializer.serialize_unit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};

    use super::{super::wire::RECORDS, *};

    fn value(value: Value) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    fn text(text: &str) -> Option<AnyValue> {
        value(Value::StringValue(text.to_owned()))
    }

    fn pair(key: &str, value: Option<AnyValue>) -> KeyValue {
        KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
    }

    fn entry(
        resource: &Resource,
        scope: &InstrumentationScope,
        log: &LogRecord,
    ) -> Result<LogEntry, Failure> {
        let (resource, scope, bytes) = (resource.encode_to_vec(), scope.encode_to_vec(), log.encode_to_vec());
        let record = Record { resource: &resource, scope: &scope, bytes: &bytes };
        Entries::of(b"", Timestamp::UNIX_EPOCH).next(&record)
    }

    fn alone(log: &LogRecord) -> LogEntry {
        entry(&Resource::default(), &InstrumentationScope::default(), log).expect("an entry")
    }

    #[test]
    fn all_that_a_record_says_is_in_its_entry() {
        let resource = Resource {
            attributes: vec![pair("host.name", text("a")), pair("service.name", text("shop"))],
            ..Resource::default()
        };
        let scope = InstrumentationScope {
            name: "cart".into(),
            version: "1.2".into(),
            attributes: vec![pair("short_lived", value(Value::BoolValue(true)))],
            ..InstrumentationScope::default()
        };
        let list = KeyValueList { values: vec![pair("x", value(Value::DoubleValue(0.5))), pair("y", None)] };
        let array = vec![AnyValue { value: Some(Value::IntValue(i64::MIN)) }, AnyValue::default()];
        let log = LogRecord {
            time_unix_nano: 1_544_712_660_300_000_999,
            observed_time_unix_nano: 1,
            severity_number: 13,
            severity_text: "WARN".into(),
            body: text("out of \"stock\"\0"),
            attributes: vec![
                pair("array", value(Value::ArrayValue(ArrayValue { values: array }))),
                pair("list", value(Value::KvlistValue(list))),
                pair("bytes", value(Value::BytesValue(vec![0xfb, 0xff]))),
                pair("infinite", value(Value::DoubleValue(f64::NEG_INFINITY))),
            ],
            dropped_attributes_count: 3,
            flags: 1,
            trace_id: (1..=16).collect(),
            span_id: (1..=8).collect(),
            event_name: "stock.out".into(),
        };
        let entry = entry(&resource, &scope, &log).expect("an entry");
        assert_eq!((entry.name(), entry.level()), ("shop", Level::Warning));
        assert_eq!(entry.created_at().to_string(), "2018-12-13T14:51:00.3Z");
        let expected = concat!(
            r#"{"body":"out of \"stock\"\u0000","event_name":"stock.out","severity_text":"WARN","severity_number":13,"#,
            r#""trace_id":"0102030405060708090a0b0c0d0e0f10","span_id":"0102030405060708","flags":1,"#,
            r#""attributes":{"array":[-9223372036854775808,null],"list":{"x":0.5,"y":null},"bytes":"+/8=","#,
            r#""infinite":"-Infinity"},"dropped_attributes_count":3,"#,
            r#""scope":{"name":"cart","version":"1.2","attributes":{"short_lived":true}},"#,
            r#""resource":{"host.name":"a","service.name":"shop"}}"#,
        );
        assert_eq!(entry.data(), expected);
    }

    #[test]
    fn what_a_record_lacks_is_left_out() {
        let entry = alone(&LogRecord::default());
        assert_eq!((entry.name(), entry.data(), entry.level()), ("unknown_service", "{}", Level::Info));
        assert_eq!(entry.created_at(), Time::UNIX_EPOCH, "the clock, where no time is given");
        let observed = alone(&LogRecord { observed_time_unix_nano: 2_000_000_000, ..LogRecord::default() });
        assert_eq!(observed.created_at().to_string(), "1970-01-01T00:00:02Z");
        let last = alone(&LogRecord { time_unix_nano: u64::MAX, ..LogRecord::default() });
        assert_eq!(last.created_at().to_string(), "2554-07-21T23:34:33.709551Z");
        let no_ids = LogRecord { trace_id: vec![0; 16], span_id: vec![1; 7], ..LogRecord::default() };
        assert_eq!(alone(&no_ids).data(), "{}");
    }

    #[test]
    fn a_severity_is_one_of_three_levels() {
        for (number, text, expected) in [
            (1, "", Level::Info),
            (12, "error", Level::Info),
            (13, "", Level::Warning),
            (16, "", Level::Warning),
            (17, "info", Level::Error),
            (24, "", Level::Error),
            (99, "", Level::Error),
            (0, "Warn", Level::Warning),
            (0, "FATAL", Level::Error),
            (0, "notice", Level::Info),
            (-1, "ERROR", Level::Error),
        ] {
            let log =
                LogRecord { severity_number: number, severity_text: text.into(), ..LogRecord::default() };
            assert_eq!(level(&log), expected, "{number} {text}");
        }
    }

    #[test]
    fn what_no_entry_can_hold_is_refused() {
        let named = |name: &str| Resource {
            attributes: vec![pair("service.name", text(name))],
            ..Resource::default()
        };
        let refused = |resource: &Resource, log: &LogRecord| {
            let failure = entry(resource, &InstrumentationScope::default(), log).expect_err("no entry");
            assert_eq!(failure.code, Code::InvalidEntry);
            failure.into_message()
        };
        let log = LogRecord::default();
        assert!(refused(&named(&"n".repeat(257)), &log).contains("name is longer than 256 bytes"));
        assert!(refused(&named("a\0"), &log).contains("U+0000"));
        let long = LogRecord { body: text(&"d".repeat(DATA_BYTES)), ..log.clone() };
        assert!(refused(&named("a"), &long).contains("data is longer"));
        let longer = LogRecord { body: text(&"d".repeat(PART_BYTES)), ..log };
        assert!(refused(&named("a"), &longer).contains("the limit is"));
    }

    #[test]
    fn what_no_entry_can_hold_of_a_resource_or_scope_is_found_out_once_for_all_their_records() {
        let attributes = |length| vec![pair("k", text(&"\u{1}".repeat(length)))];
        let resource = |length| Resource { attributes: attributes(length), ..Resource::default() };
        let scope = |length| InstrumentationScope {
            attributes: attributes(length),
            ..InstrumentationScope::default()
        };
        let long_name = Resource {
            attributes: vec![pair("service.name", text(&"n".repeat(500_000)))],
            ..Resource::default()
        };
        for (resource, scope) in [
            (resource(500_000), scope(0)),
            (resource(0), scope(500_000)),
            (resource(30_000), scope(30_000)),
            (long_name, scope(0)),
        ] {
            let (resource, scope) = (resource.encode_to_vec(), scope.encode_to_vec());
            let record = Record { resource: &resource, scope: &scope, bytes: &[] };
            let mut entries = Entries::of(b"", Timestamp::UNIX_EPOCH);
            let begun = std::time::Instant::now();
            for _ in 0..RECORDS {
                assert_eq!(entries.next(&record).expect_err("no entry").code, Code::InvalidEntry);
            }
            // Written or hashed for each record it is gigabytes: minutes.
            assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
        }
    }

    #[test]
    fn a_resource_is_kept_for_its_own_records_alone() {
        let named = |name: &str| {
            let attributes = vec![pair("service.name", text(name))];
            Resource { attributes, ..Resource::default() }.encode_to_vec()
        };
        let (a, b) = (named("a"), named("b"));
        let mut entries = Entries::of(b"", Timestamp::UNIX_EPOCH);
        let names = [&a, &a, &b, &a].map(|resource| {
            let record = Record { resource, scope: &[], bytes: &[] };
            entries.next(&record).expect("an entry").name().to_owned()
        });
        assert_eq!(names, ["a", "a", "b", "a"]);
    }
}
