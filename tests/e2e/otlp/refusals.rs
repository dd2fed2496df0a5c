//! What is refused for good, in OTLP's own words.

use prost::Message;
use reqwest::{
    Method,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde_json::json;
use tests::{client, tls};

use super::{EXPORT, Otlp, framed, grpc, http2_client, record, request};

/// `google.rpc.Status`, as its definition has it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

pub(super) fn rpc_status(bytes: &[u8]) -> RpcStatus {
    RpcStatus::decode(bytes).expect("a google.rpc.Status")
}

/// The delay that a status asks for.
pub(super) fn retry_s(status: &[u8]) -> Option<i64> {
    let details = rpc_status(status).details;
    let info = details.iter().find(|detail| detail.type_url == "type.googleapis.com/google.rpc.RetryInfo")?;
    Some(RetryInfo::decode(&info.value[..]).expect("a RetryInfo").retry_delay.expect("a delay").seconds)
}

#[tokio::test]
async fn what_is_bad_over_http_is_answered_with_a_status_in_the_form_of_the_request() {
    let otlp = Otlp::start(&[]).await;
    let sound = request([record("never stored")]).encode_to_vec();
    let cut = sound[..sound.len() - 1].to_vec();
    let many = request(vec![record("never stored"); 16_385]).encode_to_vec();
    let url = |path: &str| format!("{}://{}{path}", tls::scheme(), otlp.http);
    let keyed = tests::client_with(otlp.key.as_ref());
    let (protobuf, json) = ("application/x-protobuf", "application/json");
    for (what, request, status, form, word) in [
        ("no OTLP", otlp.post(protobuf, "nothing"), 400, protobuf, "cannot be read"),
        ("cut short", otlp.post(protobuf, cut), 400, protobuf, "nothing was stored"),
        ("too many records", otlp.post(protobuf, many), 400, protobuf, "send_batch_max_size"),
        ("no JSON", otlp.post(json, "nothing"), 400, json, "line 1 column"),
        ("no OTLP in JSON", otlp.post(json, r#"{"resourceLogs":7}"#), 400, json, "expected a list"),
        ("plain text", otlp.post("text/plain", "{}"), 415, json, "application/x-protobuf"),
        ("no type", keyed.post(url("/v1/logs")).body("{}"), 415, json, "application/json"),
        ("deflate", otlp.post(json, "{}").header(CONTENT_ENCODING, "deflate"), 415, json, "use gzip"),
        ("no gzip", otlp.post(json, "{}").header(CONTENT_ENCODING, "gzip"), 400, json, "not in gzip"),
        ("a transport", otlp.post(json, "{}").header("x-transport", "pigeon"), 400, json, "x-transport"),
        ("traces", keyed.post(url("/v1/traces")).body("{}"), 404, json, "POST /v1/logs"),
        ("GET", keyed.request(Method::GET, url("/v1/logs")), 405, json, "POST to /v1/logs"),
    ] {
        let response = request.send().await.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &response.headers()[CONTENT_TYPE]),
            (status, &form.parse().expect("a value")),
            "{what}"
        );
        assert!(!response.headers().contains_key("retry-after"), "{what}");
        let body = response.bytes().await.expect("whole");
        let (code, message) = if form == protobuf {
            let status = rpc_status(&body);
            (i64::from(status.code), status.message)
        } else {
            let status: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            (status["code"].as_i64().expect("a number"), status["message"].as_str().expect("text").to_owned())
        };
        assert!(matches!(code, 3 | 12), "{what}: {code}");
        assert!(message.contains(word), "{what}: {message}");
    }
    assert_eq!(otlp.stack.all_stored().await.len(), 0);
}

#[tokio::test]
async fn what_is_bad_over_grpc_is_answered_with_a_status_that_no_exporter_sends_again() {
    let otlp = Otlp::start(&[]).await;
    let sound = framed(0, &request([record("never stored")]).encode_to_vec());
    for (what, call, code, word) in [
        ("no OTLP", otlp.call(framed(0, b"nothing")), 3, "cannot be read"),
        ("no message", otlp.call(Vec::new()), 3, "missing message"),
        ("half a message", otlp.call(sound[..sound.len() - 1].to_vec()), 3, "one whole message"),
        ("two messages", otlp.call([&sound[..], &sound].concat()), 3, "one whole message"),
        ("compressed", otlp.call(framed(1, b"x")), 3, "no grpc-encoding"),
        ("no gzip", otlp.call(framed(1, b"x")).header("grpc-encoding", "gzip"), 3, "not in gzip"),
        ("snappy", otlp.call(framed(1, b"x")).header("grpc-encoding", "snappy"), 12, "use gzip"),
        ("a transport", otlp.call(sound.clone()).header("x-transport", "pigeon"), 3, "x-transport"),
        ("announced", otlp.call([&[0][..], &u32::MAX.to_be_bytes()].concat()), 3, "limit is"),
    ] {
        let refused = grpc(call).await.expect_err(what);
        assert_eq!((refused.code, refused.retry_s), (code, None), "{what}: {}", refused.message);
        assert!(refused.message.contains(word), "{what}: {}", refused.message);
    }
    let other = format!("{}://{}{}", tls::scheme(), otlp.grpc, EXPORT.replace("logs", "trace"));
    let call = http2_client().post(other).header(CONTENT_TYPE, "application/grpc").body(sound);
    assert_eq!(grpc(call).await.expect_err("only logs").code, 12);
    assert_eq!(otlp.stack.all_stored().await.len(), 0);
}

#[tokio::test]
async fn a_request_without_records_is_accepted_and_stores_nothing() {
    let otlp = Otlp::start(&[]).await;
    assert_eq!(otlp.export(&request([]), &[]).await, Ok(None));
    let answer = otlp.stack.ask(otlp.post("application/json", "{}")).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({})));
    assert_eq!(otlp.stack.all_stored().await.len(), 0);
}

#[tokio::test]
async fn a_page_of_elsewhere_exports_nothing_and_one_of_this_machine_may() {
    let otlp = Otlp::start(&[]).await;
    let from = |origin: &'static str| otlp.post("application/json", "{}").header("origin", origin);
    let elsewhere = from("https://evil.example").send().await.expect("an answer");
    assert_eq!(elsewhere.status(), 403);
    let status: serde_json::Value = elsewhere.json().await.expect("JSON");
    assert_eq!(status["code"], 7, "{status}");
    let local = from("http://localhost:3000").send().await.expect("an answer");
    assert_eq!(
        (local.status().as_u16(), &local.headers()["access-control-allow-origin"]),
        (200, &"http://localhost:3000".parse().expect("a value"))
    );
    let url = format!("{}://{}/v1/logs", tls::scheme(), otlp.http);
    let asked = client().request(Method::OPTIONS, url).header("origin", "http://localhost:3000");
    let asked = asked.header("access-control-request-method", "POST").send().await.expect("an answer");
    assert_eq!(
        (asked.status().as_u16(), asked.headers().contains_key("access-control-allow-methods")),
        (200, true)
    );
}
