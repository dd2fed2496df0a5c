//! OTLP logs in: what an exporter sends is stored once, or it is told to send it again, or which of it never will be.

mod limits;
mod refusals;
mod sdk;
mod uncertain;

use std::{io::Write, net::SocketAddr};

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::{
    collector::logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_client::LogsServiceClient,
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::Message;
use proto::{Level, StoredEntry, Transport};
use reqwest::{
    Client, RequestBuilder,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde_json::json;
use tests::{
    SOON, client, client_with, eventually,
    keys::{self, Key, write_file},
    prometheus::Scrape,
    stack::Stack,
    tls,
};
use tokio::net::TcpSocket;
use uuid::Uuid;

const GRPC: &str = "BROKER_OTLP_GRPC_LISTEN";
const HTTP: &str = "BROKER_OTLP_HTTP_LISTEN";
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// A nanosecond of 2026.
const NOW: u64 = 1_780_000_000_123_456_789;

for_each_transport!(a_request_goes_over_the_transport_that_its_header_names);

async fn a_request_goes_over_the_transport_that_its_header_names(transport: Transport) {
    let otlp = Otlp::start(&[]).await;
    let sent = request([record("by http"), record("by http")]);
    let response =
        otlp.post("application/x-protobuf", sent.encode_to_vec()).header("x-transport", transport.as_str());
    assert_eq!(protobuf(response).await, Ok(None));
    let sent = request([record("by grpc")]);
    assert_eq!(otlp.export(&sent, &[("x-transport", transport.as_str())]).await, Ok(None));
    let entries = otlp.eventually_stored(3).await;
    for entry in entries {
        assert_eq!((entry.name.as_str(), entry.level, entry.transport), ("shop", Level::Warning, transport));
        assert_eq!(entry.created_at.to_string(), "2026-05-28T20:26:40.123456Z");
        let data: serde_json::Value = serde_json::from_str(&entry.data).expect("JSON");
        assert_eq!(data["attributes"], json!({ "items": 3 }));
        assert_eq!(data["trace_id"], "07".repeat(16));
    }
}

#[tokio::test]
async fn a_collectors_batch_of_8192_records_is_stored_once_however_often_it_is_sent() {
    const RECORDS: usize = 8_192;
    let otlp = Otlp::start(&[("BROKER_OTLP_TRANSPORT", "rpc"), ("BROKER_DEADLINE_MS", "7000")]).await;
    if tls::directory().is_some() {
        return; // the generated client has no TLS
    }
    let mut collector =
        LogsServiceClient::connect(format!("http://{}", otlp.grpc)).await.expect("the port is open");
    // Two of each are equal.
    let records = (0..RECORDS).map(|number| record(&(number / 2).to_string()));
    let sent = request(records);
    for _ in 0..2 {
        // As an exporter does: on a machine that is busy not all of it may be stored within the deadline.
        let exported = rig::eventually("it is exported", 6 * SOON, async || {
            let answer = collector.export(sent.clone()).await;
            let answer = answer.map_or_else(
                |status| (status.code() == tonic::Code::Unavailable).then_some(None).ok_or(status),
                |response| Ok(Some(response.into_inner())),
            );
            answer.expect("UNAVAILABLE, or done")
        });
        assert_eq!(exported.await.expect("in time").partial_success, None);
        let mut bodies: Vec<String> = otlp.stack.all_stored().await.iter().map(body).collect();
        bodies.sort();
        let mut expected: Vec<_> = (0..RECORDS).map(|number| (number / 2).to_string()).collect();
        expected.sort();
        assert!(bodies == expected, "{} are stored", bodies.len());
    }
    let entry = &otlp.stack.all_stored().await[0];
    assert_eq!((entry.transport, entry.attempts >= 2), (Transport::Rpc, true));
}

#[tokio::test]
async fn what_no_entry_can_hold_is_counted_and_its_neighbours_are_stored() {
    let otlp = Otlp::start(&[]).await;
    let large = record(&"x".repeat(300_000));
    let sent = |name: &str| request([record(name), large.clone(), record(name), large.clone()]);
    let by_json = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [
        { "body": { "stringValue": "x".repeat(300_000) } }, { "body": { "stringValue": "json" } },
    ] }] }] });
    let answers = [
        protobuf(otlp.post("application/x-protobuf", sent("protobuf").encode_to_vec())).await,
        otlp.export(&sent("grpc"), &[]).await,
    ];
    for answer in answers {
        let partial = answer.expect("an answer").expect("not all is stored");
        assert_eq!(partial.rejected_log_records, 2);
        assert!(
            partial.error_message.starts_with("record 1 (counted from 0): data is longer"),
            "{partial:?}"
        );
    }
    let answer = otlp.stack.ask(otlp.post("application/json", by_json.to_string())).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["partialSuccess"]["rejectedLogRecords"]),
        (200, &json!("1"))
    );
    let message = answer.body["partialSuccess"]["errorMessage"].as_str().expect("text");
    assert!(message.starts_with("record 0 "), "{message}");
    let mut bodies: Vec<String> = otlp.stack.all_stored().await.iter().map(body).collect();
    bodies.sort();
    assert_eq!(bodies, ["grpc", "grpc", "json", "protobuf", "protobuf"]);
}

#[tokio::test]
async fn while_the_logger_is_down_an_exporter_is_told_to_come_again_and_all_is_stored_once() {
    let mut otlp = Otlp::start(&[]).await;
    let [by_http, by_grpc] =
        ["http", "grpc"].map(|name| request((0..1_500).map(|n| record(&format!("{name} {n}")))));
    otlp.stack.logger.kill().await.expect("it runs");
    let response =
        otlp.post("application/x-protobuf", by_http.encode_to_vec()).send().await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().expect("a value"))
    );
    assert_eq!(response.headers()[CONTENT_TYPE], "application/x-protobuf");
    let status = refusals::rpc_status(&response.bytes().await.expect("whole"));
    assert_eq!(status.code, 14);
    assert!(status.message.contains("no record is stored twice"), "{}", status.message);
    let refused = otlp.export(&by_grpc, &[]).await.expect_err("the logger is down");
    assert_eq!((refused.code, refused.retry_s), (14, Some(1)), "{refused:?}");
    let by_json = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{}] }] }] });
    let answer = otlp.stack.ask(otlp.post("application/json", by_json.to_string())).await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &json!(14)));
    assert_eq!(answer.body["details"][0]["retryDelay"], "1s");

    otlp.stack.start_logger().await.expect("it starts");
    for _ in 0..2 {
        eventually("both are exported", async || {
            let one = protobuf(otlp.post("application/x-protobuf", by_http.encode_to_vec())).await.is_ok();
            (one && otlp.export(&by_grpc, &[]).await.is_ok()).then_some(())
        })
        .await;
    }
    assert_eq!(otlp.stack.all_stored().await.len(), 3_000);
}

#[tokio::test]
async fn a_request_in_json_and_the_same_in_protocol_buffers_are_the_same_entries() {
    let otlp = Otlp::start(&[]).await;
    let by_json = json!({ "resourceLogs": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
        "scopeLogs": [{ "logRecords": [{
            "timeUnixNano": NOW.to_string(),
            "severityNumber": 13,
            "body": { "stringValue": "the same" },
            "attributes": [{ "key": "items", "value": { "intValue": "3" } }],
            "traceId": "07".repeat(16),
        }] }],
    }] });
    let packed = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("a vector grows");
        encoder.finish().expect("a vector grows")
    };
    let message = request([record("the same")]).encode_to_vec();
    let answer = otlp.stack.ask(otlp.post("application/json; charset=utf-8", by_json.to_string())).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
    for (body, encoding) in [(message.clone(), "identity"), (packed(&message), "gzip")] {
        let sent = otlp.post("application/x-protobuf", body).header(CONTENT_ENCODING, encoding);
        assert_eq!(protobuf(sent).await, Ok(None));
    }
    let zipped = otlp.call(framed(1, &packed(&message))).header("grpc-encoding", "gzip");
    assert_eq!(grpc(zipped).await, Ok(None));
    let stored = otlp.stack.all_stored().await;
    assert_eq!(stored.iter().map(|entry| entry.attempts).collect::<Vec<_>>(), [4], "{stored:?}");
}

#[tokio::test]
async fn records_without_a_time_are_told_apart_by_their_request() {
    let otlp = Otlp::start(&[]).await;
    let timeless = || LogRecord { time_unix_nano: 0, ..record("tick") };
    let (one, two) = (request([timeless()]), request([timeless(), timeless()]));
    for sent in [&one, &two, &one, &two] {
        assert_eq!(otlp.export(sent, &[]).await, Ok(None));
    }
    let mut attempts: Vec<_> = otlp.stack.all_stored().await.iter().map(|entry| entry.attempts).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [2, 2, 2]);
}

#[tokio::test]
async fn over_both_ports_a_key_that_may_write_is_asked_for_before_the_body_is_read() {
    let (writer, reader) = (Key::new("writer", "write"), Key::new("reader", "read"));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("keys");
    write_file(&file, &[&writer, &reader]);
    let mut otlp = Otlp::start(&[("BROKER_KEYS_FILE", file.to_str().expect("UTF-8"))]).await;
    otlp.stack = otlp.stack.with_key(&reader);
    let sent = request([record("with a key")]);
    for (key, status, code) in [(None, 401, 16), (Some(&reader), 403, 7), (Some(&writer), 200, 0)] {
        otlp.key = key.cloned();
        let response =
            otlp.post("application/x-protobuf", sent.encode_to_vec()).send().await.expect("an answer");
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
        if status != 200 {
            assert_eq!(refusals::rpc_status(&response.bytes().await.expect("whole")).code, code);
        }
        assert_eq!(otlp.export(&sent, &[]).await.err().map_or(0, |refused| refused.code), code);
    }
    assert_eq!(otlp.stack.all_stored().await.len(), 1);
    let metrics =
        client_with(Some(&reader)).get(format!("{}://{}/metrics", tls::scheme(), otlp.stack.broker_at));
    let metrics = metrics.send().await.expect("an answer").text().await.expect("text");
    let metrics = Scrape::parse(&metrics).expect("sound");
    for (reason, count) in [("missing", 2.0), ("scope", 2.0)] {
        assert_eq!(
            metrics.value("broker_auth_refused_total", &[("reason", reason)]),
            Some(count),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn without_the_settings_nothing_is_listened_for_and_with_them_the_log_says_where() {
    let stack = Stack::start_direct(&[]).await;
    assert!(!stack.broker.log().contains("otlp"), "{}", stack.broker.log());
    let otlp = Otlp::start(&[]).await;
    let log = otlp.stack.broker.log();
    for told in [format!("otlp_grpc={}", otlp.grpc), format!("otlp_http={}", otlp.http)] {
        assert!(log.contains(&told), "{told} is not in {log}");
    }
}

#[tokio::test]
async fn what_comes_and_what_becomes_of_it_is_counted() {
    let otlp = Otlp::start(&[]).await;
    let sent = request([record("a"), record("b"), record(&"x".repeat(300_000))]);
    for _ in 0..2 {
        assert!(matches!(otlp.export(&sent, &[]).await, Ok(Some(_))));
    }
    assert_eq!(
        protobuf(otlp.post("application/x-protobuf", request([record("c")]).encode_to_vec())).await,
        Ok(None)
    );
    assert!(
        otlp.post("application/x-protobuf", "nothing")
            .send()
            .await
            .is_ok_and(|answer| answer.status() == 400)
    );
    let url = format!("{}://{}/metrics", tls::scheme(), otlp.stack.broker_at);
    let metrics = client().get(url).send().await.expect("an answer").text().await.expect("text");
    let metrics = Scrape::parse(&metrics).expect("sound");
    for (protocol, outcome, count) in [
        ("grpc", "partial", 2.0),
        ("http", "accepted", 1.0),
        ("http", "refused", 1.0),
        ("http", "retry", 0.0),
    ] {
        let labels = [("protocol", protocol), ("outcome", outcome)];
        assert_eq!(metrics.value("broker_otlp_requests_total", &labels), Some(count), "{labels:?}");
    }
    for (outcome, count) in [("stored", 3.0), ("duplicate", 2.0), ("invalid_entry", 2.0), ("queued", 0.0)] {
        assert_eq!(
            metrics.value("broker_otlp_records_total", &[("outcome", outcome)]),
            Some(count),
            "{outcome}"
        );
    }
}

/// A stack whose broker takes OTLP.
struct Otlp {
    stack: Stack,
    grpc: SocketAddr,
    http: SocketAddr,
    /// What is sent with every request.
    key: Option<Key>,
    _ports: [TcpSocket; 2],
}

/// What a call is refused with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    code: i32,
    message: String,
    /// When to send it again, in seconds.
    retry_s: Option<i64>,
}

/// What an exporter is told of a request that is settled.
type Settled = Result<Option<ExportLogsPartialSuccess>, Refused>;

impl Otlp {
    async fn start(settings: &[(&'static str, &str)]) -> Self {
        let ports = [(); 2].map(|()| rig::reserve().expect("a free port"));
        let [grpc, http] = ports.each_ref().map(|port| port.local_addr().expect("its address"));
        let (by_grpc, by_http) = (grpc.to_string(), http.to_string());
        let listens = [(GRPC, by_grpc.as_str()), (HTTP, by_http.as_str())];
        let stack = Stack::start_with(&[&listens[..], settings].concat()).await;
        Otlp { stack, grpc, http, key: keys::of_this_run().cloned(), _ports: ports }
    }

    /// A request over HTTP.
    fn post(&self, content_type: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let url = format!("{}://{}/v1/logs", tls::scheme(), self.http);
        client_with(self.key.as_ref()).post(url).header(CONTENT_TYPE, content_type).body(body)
    }

    /// A call over gRPC, of a body with the prefix of its message.
    fn call(&self, body: Vec<u8>) -> RequestBuilder {
        let url = format!("{}://{}{EXPORT}", tls::scheme(), self.grpc);
        let request =
            http2_client().post(url).header(CONTENT_TYPE, "application/grpc").header("te", "trailers");
        let key = self.key.as_ref().map(Key::bearer);
        key.into_iter().fold(request, |request, key| request.header("authorization", key)).body(body)
    }

    async fn export(&self, request: &ExportLogsServiceRequest, headers: &[(&str, &str)]) -> Settled {
        let call = self.call(framed(0, &request.encode_to_vec()));
        grpc(headers.iter().fold(call, |call, (name, value)| call.header(*name, *value))).await
    }

    async fn eventually_stored(&self, count: usize) -> Vec<StoredEntry> {
        eventually(&format!("{count} are stored"), async || {
            Some(self.stack.all_stored().await).filter(|entries| entries.len() == count)
        })
        .await
    }
}

fn http2_client() -> Client {
    let builder = Client::builder().no_proxy().timeout(tests::SOON).http2_prior_knowledge();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = match tls::directory() {
        Some(directory) => {
            let mut config = tls::anonymous_config(directory);
            config.alpn_protocols = vec![b"h2".to_vec()];
            builder.tls_backend_preconfigured(config)
        }
        None => builder,
    };
    builder.build().expect("a client")
}

/// A message with its prefix.
fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("small");
    [&[flag][..], &length.to_be_bytes(), message].concat()
}

/// Makes a call. A refusal is in the headers; of what is accepted there is a message.
async fn grpc(call: RequestBuilder) -> Settled {
    let response = call.send().await.expect("an answer");
    assert_eq!(response.status(), 200, "{:?}", response.headers());
    let header =
        |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
    if let Some(code) = header("grpc-status") {
        let status = tonic::Status::from_header_map(response.headers()).expect("a status");
        let retry_s = refusals::retry_s(status.details());
        return Err(Refused {
            code: code.parse().expect("a number"),
            message: status.message().to_owned(),
            retry_s,
        });
    }
    let body = response.bytes().await.expect("whole");
    assert_eq!(body[0], 0, "not compressed");
    let length = u32::from_be_bytes(body[1..5].try_into().expect("four bytes"));
    assert_eq!(usize::try_from(length).expect("small"), body.len() - 5);
    Ok(ExportLogsServiceResponse::decode(&body[5..]).expect("a response").partial_success)
}

/// Makes a request in Protocol Buffers.
async fn protobuf(request: RequestBuilder) -> Settled {
    let response = request.send().await.expect("an answer");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/x-protobuf");
    let ok = response.status() == 200;
    let body = response.bytes().await.expect("whole");
    if ok {
        return Ok(ExportLogsServiceResponse::decode(body).expect("a response").partial_success);
    }
    let retry_s = refusals::retry_s(&body);
    let status = refusals::rpc_status(&body);
    Err(Refused { code: status.code, message: status.message, retry_s })
}

fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) })
}

fn pair(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn record(body: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: NOW,
        severity_number: 13,
        body: text(body),
        attributes: vec![pair("items", Some(AnyValue { value: Some(Value::IntValue(3)) }))],
        trace_id: vec![7; 16],
        ..LogRecord::default()
    }
}

fn request(records: impl IntoIterator<Item = LogRecord>) -> ExportLogsServiceRequest {
    let resource = Resource { attributes: vec![pair("service.name", text("shop"))], ..Resource::default() };
    let scope_logs = vec![ScopeLogs { log_records: records.into_iter().collect(), ..ScopeLogs::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

/// The body of the record that an entry was.
fn body(entry: &StoredEntry) -> String {
    let data: serde_json::Value = serde_json::from_str(&entry.data).expect("JSON");
    data["body"].as_str().expect("text").to_owned()
}

/// That no id is nil or given twice is the store's own promise; that they are of version 5 is ours.
#[tokio::test]
async fn ids_are_made_of_what_was_sent() {
    let otlp = Otlp::start(&[]).await;
    assert_eq!(otlp.export(&request([record("a"), record("a")]), &[]).await, Ok(None));
    let ids: Vec<Uuid> = otlp.stack.all_stored().await.iter().map(|entry| entry.id).collect();
    assert_eq!(ids.iter().map(Uuid::get_version_num).collect::<Vec<_>>(), [5, 5]);
}
