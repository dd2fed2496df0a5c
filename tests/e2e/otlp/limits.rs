//! The limits of the broker's own port hold on those of OTLP too.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt, future::join_all, stream};
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::Message;
use proto::limits::BODY_BYTES;
use reqwest::{Body, StatusCode, header::CONTENT_ENCODING};
use tests::{SOON, client, keys::authorization_header, raw, tls};

use super::{Otlp, framed, grpc, protobuf, record, request};

/// So many bytes of zeros, in gzip.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..bytes / zeros.len() {
        encoder.write_all(&zeros).expect("a vector grows");
    }
    encoder.finish().expect("a vector grows")
}

#[tokio::test]
async fn a_body_is_too_large_as_it_is_sent_and_as_it_is_unpacked() {
    let otlp = Otlp::start(&[]).await;
    let before = otlp.stack.broker.usage().expect("it runs").peak_memory_kib;
    let packed = bomb(256 * 1024 * 1024);
    assert!(packed.len() < 1024 * 1024);
    let as_it_is = vec![0; BODY_BYTES + 1];
    let zipped = otlp.post("application/x-protobuf", packed.clone()).header(CONTENT_ENCODING, "gzip");
    for sent in [otlp.post("application/x-protobuf", as_it_is.clone()), zipped] {
        let response = sent.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let status = super::refusals::rpc_status(&response.bytes().await.expect("whole"));
        assert!(status.code == 3 && status.message.contains("the limit is 16777216 bytes"), "{status:?}");
    }
    let zipped = otlp.call(framed(1, &packed)).header("grpc-encoding", "gzip");
    for call in [otlp.call(framed(0, &as_it_is)), zipped] {
        let refused = grpc(call).await.expect_err("too large");
        assert!(refused.code == 3 && refused.message.contains("the limit is 16777216 bytes"), "{refused:?}");
    }
    let grown = otlp.stack.broker.usage().expect("it runs").peak_memory_kib - before;
    assert!(grown < 256 * 1024, "it took {grown} KiB");
}

#[tokio::test]
async fn however_many_records_have_a_resource_that_no_entry_can_hold_they_are_refused_in_time() {
    const RECORDS: usize = 10_000;
    let otlp = Otlp::start(&[]).await;
    // In JSON six times as long, and 30 GB for all of them.
    let text = Value::StringValue("\u{1}".repeat(500_000));
    let attribute =
        KeyValue { key: "key".into(), value: Some(AnyValue { value: Some(text) }), ..KeyValue::default() };
    let of_scope = ScopeLogs { log_records: vec![LogRecord::default(); RECORDS], ..ScopeLogs::default() };
    let resource = Resource { attributes: vec![attribute], ..Resource::default() };
    let of_resource =
        ResourceLogs { resource: Some(resource), scope_logs: vec![of_scope], ..ResourceLogs::default() };
    let sent = ExportLogsServiceRequest { resource_logs: vec![of_resource] };
    let answer = protobuf(otlp.post("application/x-protobuf", sent.encode_to_vec())).await;
    let partial = answer.expect("it is read").expect("none is stored");
    assert_eq!(partial.rejected_log_records, RECORDS as i64);
    assert!(partial.error_message.contains("data is longer than"), "{}", partial.error_message);
}

#[tokio::test]
async fn a_request_of_empty_records_is_refused_and_takes_little_memory() {
    let otlp = Otlp::start(&[]).await;
    let before = otlp.stack.broker.usage().expect("it runs").peak_memory_kib;
    let list = |bytes: usize| vec!["{}"; bytes / 3].join(",");
    let (most, much) = (list(BODY_BYTES - 100), list(2 * 1024 * 1024));
    for json in [
        format!(r#"{{"resourceLogs":[{most}]}}"#),
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{most}]}}]}}"#),
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{most}]}}]}}]}}"#),
        format!(r#"{{"resourceLogs":[{{"resource":{{"attributes":[{much}]}}}}]}}"#),
    ] {
        let answer = otlp.stack.ask(otlp.post("application/json", json)).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
    }
    // Field 1, a message without fields; and the same as attributes of one record.
    let flat = [0x0a, 0].repeat(BODY_BYTES / 2);
    let refused = grpc(otlp.call(framed(0, &flat))).await.expect_err("too many");
    assert_eq!(refused.code, 3, "{refused:?}");
    let mut record = Vec::new();
    for _ in 0..BODY_BYTES / 2 - 100 {
        record.extend([0x32, 0]);
    }
    let nest = |field: u8, inner: &[u8]| {
        let mut outer = vec![field << 3 | 2];
        prost::encode_length_delimiter(inner.len(), &mut outer).expect("a vector grows");
        [outer, inner.to_vec()].concat()
    };
    let one = nest(1, &nest(2, &nest(2, &record)));
    let partial = grpc(otlp.call(framed(0, &one))).await.expect("one record").expect("it is refused");
    assert_eq!(partial.rejected_log_records, 1);
    let grown = otlp.stack.broker.usage().expect("it runs").peak_memory_kib - before;
    assert!(grown < 256 * 1024, "it took {grown} KiB");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_in_time_over_both_ports() {
    let otlp = Otlp::start(&[]).await;
    if tls::directory().is_some() {
        return; // what is sent by hand has no TLS
    }
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\nContent-Length: 60\r\n\r\n{{",
        authorization_header()
    );
    let half =
        || Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>(vec![0, 0])]).chain(stream::pending()));
    let call = otlp.call(Vec::new()).body(half());
    let by_http = raw::until_closed("half a body", otlp.http, head.as_bytes(), Duration::from_secs(60));
    let ((answer, took), refused) = tokio::join!(by_http, grpc(call));
    let answer = raw::parse(&answer, took);
    assert_eq!((answer.status.as_u16(), answer.body["code"].as_i64()), (503, Some(14)), "{}", answer.body);
    let refused = refused.expect_err("it is not there");
    assert_eq!((refused.code, refused.retry_s), (14, Some(1)), "{refused:?}");
}

#[tokio::test]
async fn a_silent_connection_is_closed_on_both_ports() {
    let otlp = Otlp::start(&[]).await;
    let limit = Duration::from_secs(45);
    let silent = [("grpc", otlp.grpc), ("http", otlp.http)];
    join_all(silent.map(|(what, address)| raw::until_closed(what, address, b"", limit))).await;
}

#[tokio::test]
async fn half_sent_bodies_keep_no_small_request_out() {
    const HALVES: usize = 8;
    let otlp = Otlp::start(&[]).await;
    if tls::directory().is_some() {
        return; // what is sent by hand has no TLS
    }
    let most = vec![b'x'; BODY_BYTES - 1];
    let mut open = Vec::new();
    for _ in 0..HALVES {
        let head = format!(
            "POST /v1/logs HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: application/json\r\n\
             Content-Length: {BODY_BYTES}\r\n\r\n",
            authorization_header()
        );
        let half = [head.as_bytes(), &most].concat();
        // One that gave way is answered, and reads no further.
        open.push(tokio::time::timeout(SOON, raw::begin(otlp.http, &half)).await.expect("it is taken"));
    }
    let sent = otlp.post("application/x-protobuf", request([record("small")]).encode_to_vec());
    assert_eq!(protobuf(sent).await, Ok(None));
    let alive = client().get(format!("http://{}/healthz", otlp.http)).send().await.expect("an answer");
    assert_eq!(alive.status(), 200);
}
