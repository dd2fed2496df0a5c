//! OTLP's JSON as Protocol Buffers: names in camelCase, ids of traces in hexadecimal, 64-bit numbers as text, enums as
//! numbers, and unknown fields ignored. It is written out while it is read, since a record of two characters would take
//! three hundred bytes otherwise; what comes out is hardly larger than what was read.

mod scalars;

use std::{fmt, marker::PhantomData};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    logs::v1::LogRecord,
    resource::v1::Resource,
};
use prost::Message;
use proto::{Code, Failure};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use self::scalars::{Bytes, Double, Number, hexadecimal, number, or_default};
use super::wire::{FIRST, RECORDS, SECOND, put};

/// Reads a request.
///
/// # Errors
/// [`Code::BadJson`], with where and what.
pub(super) fn to_protobuf(json: &[u8]) -> Result<Vec<u8>, Failure> {
    let request: LogsRequest = serde_json::from_slice(json).map_err(|error| {
        Failure::new(
            Code::BadJson,
            format!("the body does not match OTLP in JSON, and nothing was stored: {error}"),
        )
    })?;
    Ok(request.resource_logs.0)
}

/// What becomes a message.
trait Encode {
    /// Most elements of a list of them; more are refused while they are read.
    const MOST: usize = usize::MAX;

    fn encode(self) -> Vec<u8>;
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LogsRequest {
    resource_logs: Repeated<OfResource, FIRST>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OfResource {
    resource: Option<JsonResource>,
    scope_logs: Repeated<OfScope, SECOND>,
}

impl Encode for OfResource {
    const MOST: usize = RECORDS;

    fn encode(self) -> Vec<u8> {
        first(self.resource, self.scope_logs.0)
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OfScope {
    scope: Option<JsonScope>,
    log_records: Repeated<JsonRecord, SECOND>,
}

impl Encode for OfScope {
    const MOST: usize = RECORDS;

    fn encode(self) -> Vec<u8> {
        first(self.scope, self.log_records.0)
    }
}

/// A message whose first field is optional, and the bytes of its others.
fn first(first: Option<impl Encode>, others: Vec<u8>) -> Vec<u8> {
    let mut message = Vec::with_capacity(others.len());
    if let Some(first) = first {
        put(FIRST, &first.encode(), &mut message);
    }
    message.extend_from_slice(&others);
    message
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonResource {
    attributes: Repeated<Pair, 1>,
    #[serde(deserialize_with = "number")]
    dropped_attributes_count: u32,
}

impl Encode for JsonResource {
    fn encode(self) -> Vec<u8> {
        let dropped_attributes_count = self.dropped_attributes_count;
        let behind_attributes = Resource { dropped_attributes_count, ..Resource::default() };
        let mut message = self.attributes.0;
        message.extend_from_slice(&behind_attributes.encode_to_vec());
        message
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonScope {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    version: String,
    attributes: Repeated<Pair, 3>,
    #[serde(deserialize_with = "number")]
    dropped_attributes_count: u32,
}

impl Encode for JsonScope {
    fn encode(self) -> Vec<u8> {
        let JsonScope { name, version, attributes, dropped_attributes_count } = self;
        let before = InstrumentationScope { name, version, ..InstrumentationScope::default() };
        let behind = InstrumentationScope { dropped_attributes_count, ..InstrumentationScope::default() };
        let mut message = before.encode_to_vec();
        message.extend_from_slice(&attributes.0);
        message.extend_from_slice(&behind.encode_to_vec());
        message
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonRecord {
    #[serde(deserialize_with = "number")]
    time_unix_nano: u64,
    #[serde(deserialize_with = "number")]
    observed_time_unix_nano: u64,
    #[serde(deserialize_with = "or_default")]
    severity_number: i32,
    #[serde(deserialize_with = "or_default")]
    severity_text: String,
    body: Option<JsonValue>,
    attributes: Repeated<Pair, 6>,
    #[serde(deserialize_with = "number")]
    dropped_attributes_count: u32,
    #[serde(deserialize_with = "number")]
    flags: u32,
    #[serde(deserialize_with = "hexadecimal")]
    trace_id: Vec<u8>,
    #[serde(deserialize_with = "hexadecimal")]
    span_id: Vec<u8>,
    #[serde(deserialize_with = "or_default")]
    event_name: String,
}

impl Encode for JsonRecord {
    const MOST: usize = RECORDS;

    /// In the order of the fields' numbers, as everybody writes it: the ids are made of these bytes.
    fn encode(self) -> Vec<u8> {
        let before_body = LogRecord {
            time_unix_nano: self.time_unix_nano,
            severity_number: self.severity_number,
            severity_text: self.severity_text,
            ..LogRecord::default()
        };
        let behind_attributes = LogRecord {
            observed_time_unix_nano: self.observed_time_unix_nano,
            dropped_attributes_count: self.dropped_attributes_count,
            flags: self.flags,
            trace_id: self.trace_id,
            span_id: self.span_id,
            event_name: self.event_name,
            ..LogRecord::default()
        };
        let mut message = before_body.encode_to_vec();
        if let Some(body) = self.body {
            put(5, &body.encode(), &mut message);
        }
        message.extend_from_slice(&self.attributes.0);
        message.extend_from_slice(&behind_attributes.encode_to_vec());
        message
    }
}

/// A key with its value.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Pair {
    #[serde(deserialize_with = "or_default")]
    key: String,
    value: Option<JsonValue>,
}

impl Encode for Pair {
    fn encode(self) -> Vec<u8> {
        let mut message = KeyValue { key: self.key, ..KeyValue::default() }.encode_to_vec();
        if let Some(value) = self.value {
            put(2, &value.encode(), &mut message);
        }
        message
    }
}

/// A value of any type: at most one of these is given.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Number<i64>>,
    double_value: Option<Double>,
    array_value: Option<Values<JsonValue>>,
    kvlist_value: Option<Values<Pair>>,
    bytes_value: Option<Bytes>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de> + Encode"))]
struct Values<T> {
    #[serde(default)]
    values: Repeated<T, 1>,
}

impl Encode for JsonValue {
    fn encode(self) -> Vec<u8> {
        use any_value::Value::{BoolValue, BytesValue, DoubleValue, IntValue, StringValue};
        let JsonValue { string_value, bool_value, int_value, double_value, bytes_value, .. } = self;
        let value = string_value.map(StringValue);
        let value = value.or(bool_value.map(BoolValue)).or(int_value.map(|Number(number)| IntValue(number)));
        let value = value.or(double_value.map(|Double(number)| DoubleValue(number)));
        let value = value.or(bytes_value.map(|Bytes(bytes)| BytesValue(bytes)));
        let mut message = AnyValue { value }.encode_to_vec();
        for (field, list) in [
            (5, self.array_value.map(|list| list.values.0)),
            (6, self.kvlist_value.map(|list| list.values.0)),
        ] {
            if let Some(list) = list {
                put(field, &list, &mut message);
            }
        }
        message
    }
}

/// The elements of a list as the fields of this number, one after the other; `null` is none.
struct Repeated<T, const FIELD: u8>(Vec<u8>, PhantomData<T>);

impl<T, const FIELD: u8> Default for Repeated<T, FIELD> {
    fn default() -> Self {
        Repeated(Vec::new(), PhantomData)
    }
}

impl<'de, T: Deserialize<'de> + Encode, const FIELD: u8> Deserialize<'de> for Repeated<T, FIELD> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const FIELD: u8>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Encode, const FIELD: u8> Visitor<'de> for List<T, FIELD> {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Vec<u8>, E> {
                Ok(Vec::new())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u8>, A::Error> {
                let (mut fields, mut count) = (Vec::new(), 0);
                while let Some(element) = list.next_element::<T>()? {
                    count += 1;
                    if count > T::MOST {
                        return Err(de::Error::custom(format_args!("more than {} elements", T::MOST)));
                    }
                    put(FIELD, &element.encode(), &mut fields);
                }
                Ok(fields)
            }
        }

        let fields = deserializer.deserialize_any(List::<T, FIELD>(PhantomData))?;
        Ok(Repeated(fields, PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{ArrayValue, KeyValueList},
        logs::v1::{LogsData, ResourceLogs, ScopeLogs},
    };

    use super::*;

    fn read(json: &str) -> LogsData {
        let bytes = to_protobuf(json.as_bytes()).unwrap_or_else(|failure| panic!("{failure}: {json}"));
        LogsData::decode(&bytes[..]).expect("what is written can be read")
    }

    fn value(value: any_value::Value) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    fn pair(key: &str, value: Option<AnyValue>) -> KeyValue {
        KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
    }

    /// The one record of a request with this text in its place.
    fn record(json: &str) -> LogRecord {
        let request = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{json}]}}]}}]}}"#);
        read(&request).resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0)
    }

    fn refused(json: &str) -> String {
        let failure = to_protobuf(json.as_bytes()).expect_err(json);
        assert_eq!(failure.code, Code::BadJson);
        failure.into_message()
    }

    #[test]
    fn the_specifications_own_example_is_read_as_it_is_meant() {
        use any_value::Value::{
            ArrayValue as Array, BoolValue, DoubleValue, IntValue, KvlistValue, StringValue,
        };
        let text = |text: &str| value(StringValue(text.to_owned()));
        let list = ["many", "values"].map(|own| AnyValue { value: Some(StringValue(own.into())) });
        let map = KeyValueList { values: vec![pair("some.map.key", text("some value"))] };
        let record = LogRecord {
            time_unix_nano: 1_544_712_660_300_000_000,
            observed_time_unix_nano: 1_544_712_660_300_000_000,
            severity_number: 10,
            severity_text: "Information".into(),
            body: text("Example log record"),
            attributes: vec![
                pair("string.attribute", text("some string")),
                pair("boolean.attribute", value(BoolValue(true))),
                pair("int.attribute", value(IntValue(10))),
                pair("double.attribute", value(DoubleValue(637.704))),
                pair("array.attribute", value(Array(ArrayValue { values: list.into() }))),
                pair("map.attribute", value(KvlistValue(map))),
            ],
            trace_id: hex::decode("5b8efff798038103d269b633813fc60c").expect("hexadecimal"),
            span_id: hex::decode("eee19b7ec3c1b174").expect("hexadecimal"),
            ..LogRecord::default()
        };
        let scope = InstrumentationScope {
            name: "my.library".into(),
            version: "1.0.0".into(),
            attributes: vec![pair("my.scope.attribute", text("some scope attribute"))],
            ..InstrumentationScope::default()
        };
        let resource =
            Resource { attributes: vec![pair("service.name", text("my.service"))], ..Resource::default() };
        let scope_logs =
            vec![ScopeLogs { scope: Some(scope), log_records: vec![record], ..ScopeLogs::default() }];
        let expected = ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() };
        let (json, expected) =
            (include_bytes!("json/example.json"), LogsData { resource_logs: vec![expected] });
        let bytes = to_protobuf(json).expect("the example");
        assert_eq!(LogsData::decode(&bytes[..]), Ok(expected.clone()));
        assert_eq!(bytes, expected.encode_to_vec(), "the ids are made of these");
    }

    #[test]
    fn numbers_are_taken_as_numbers_and_as_text() {
        for (json, nanos) in
            [("7", 7), ("\"7\"", 7), ("\"18446744073709551615\"", u64::MAX), ("null", 0), ("0", 0)]
        {
            assert_eq!(record(&format!(r#"{{"timeUnixNano":{json}}}"#)).time_unix_nano, nanos, "{json}");
        }
        for (json, expected) in [
            (r#"{"intValue":-5}"#, value(any_value::Value::IntValue(-5))),
            (r#"{"intValue":"-9223372036854775808"}"#, value(any_value::Value::IntValue(i64::MIN))),
            (r#"{"doubleValue":"-Infinity"}"#, value(any_value::Value::DoubleValue(f64::NEG_INFINITY))),
            (r#"{"doubleValue":3}"#, value(any_value::Value::DoubleValue(3.0))),
            (r#"{"bytesValue":"+/8="}"#, value(any_value::Value::BytesValue(vec![0xfb, 0xff]))),
            (r#"{"bytesValue":"-_8"}"#, value(any_value::Value::BytesValue(vec![0xfb, 0xff]))),
            (r#"{"arrayValue":{}}"#, value(any_value::Value::ArrayValue(ArrayValue::default()))),
            (r#"{"stringValue":""}"#, value(any_value::Value::StringValue(String::new()))),
            ("{}", Some(AnyValue::default())),
            ("null", None),
        ] {
            assert_eq!(record(&format!(r#"{{"body":{json}}}"#)).body, expected, "{json}");
        }
    }

    #[test]
    fn what_is_unknown_is_ignored_and_what_is_left_out_is_not_there() {
        assert_eq!(read("{}"), LogsData::default());
        assert_eq!(read(r#"{"resourceLogs":null,"resourceSpans":[{}]}"#), LogsData::default());
        let of_resource = ResourceLogs { scope_logs: vec![ScopeLogs::default()], ..ResourceLogs::default() };
        let expected = LogsData { resource_logs: vec![of_resource, ResourceLogs::default()] };
        assert_eq!(read(r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[]}],"new":7},{}]}"#), expected);
        assert_eq!(record(r#"{"traceId":"","severity_number":9}"#), LogRecord::default(), "no camelCase");
    }

    #[test]
    fn what_does_not_match_is_refused_with_where_it_stands() {
        assert!(refused("").contains("line 1"));
        let request =
            |json: &str| format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{json}]}}]}}]}}");
        for json in [
            r#"{"traceId":"xyz"}"#,
            r#"{"severityNumber":"SEVERITY_NUMBER_INFO"}"#,
            r#"{"timeUnixNano":-1}"#,
            r#"{"timeUnixNano":"soon"}"#,
            r#"{"flags":4294967296}"#,
            r#"{"body":"text"}"#,
            r#"{"body":{"bytesValue":"%"}}"#,
            r#"{"body":{"intValue":0.5}}"#,
            r#"{"attributes":{}}"#,
            "7",
        ] {
            assert!(refused(&request(json)).contains("line 1 column"), "{json}");
        }
        let deep = format!("{}{}", "{\"arrayValue\":{\"values\":[".repeat(100), "]}}".repeat(100));
        assert!(refused(&request(&format!("{{\"body\":{deep}}}"))).contains("recursion limit"));
    }

    #[test]
    fn a_list_of_too_many_records_is_refused_while_it_is_read() {
        // What comes after it is not looked at.
        let records = format!("{},nothing", vec!["{}"; RECORDS + 1].join(","));
        for (before, after) in [
            (r#"{"resourceLogs":["#, "]}"),
            (r#"{"resourceLogs":[{"scopeLogs":["#, "]}]}"),
            (r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":["#, "]}]}]}"),
        ] {
            assert!(refused(&format!("{before}{records}{after}")).contains("more than 16384 elements"));
        }
    }

    #[test]
    fn what_comes_out_is_hardly_larger_than_what_was_read() {
        let records = vec!["{}"; RECORDS].join(",");
        let attributes = vec![r#"{"value":{"intValue":-1}}"#; 50_000].join(",");
        for json in [
            format!(r#"{{"resourceLogs":[{records}]}}"#),
            format!(r#"{{"resourceLogs":[{{"resource":{{"attributes":[{attributes}]}}}}]}}"#),
        ] {
            assert!(to_protobuf(json.as_bytes()).expect("it is OTLP").len() < json.len());
        }
    }
}
