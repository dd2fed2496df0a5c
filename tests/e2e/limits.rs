//! What one caller holds open, or sends, takes no more memory than the limits allow, and keeps nobody out.

use std::time::Duration;

use futures_util::{
    future::join_all,
    stream::{self, StreamExt},
};
use proto::{
    Code, Transport,
    grpc::{self, BatchResponse},
    limits::DATA_BYTES,
};
use serde_json::json;
use tests::{
    DIRECT,
    process::whole_log,
    raw::{post_chunked, post_half, until_closed},
    stack::Stack,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};
use tonic::{codegen::http::uri::PathAndQuery, transport::Channel};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn bodies_that_are_only_announced_keep_nobody_out() {
    let stack = Stack::start_direct(&[]).await;
    // The first four announce all the room that there is.
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(post_half(stack.broker_at, "/handle", 16 * MIB, b"{").await.expect("it is sent"));
        let answer = stack.log(Transport::Http, &json!({ "name": "event", "data": "" })).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
}

#[tokio::test]
async fn small_bodies_of_unknown_length_keep_nobody_out() {
    let stack = Stack::start_direct(&[]).await;
    let body = br#"{"action":"log","transport":"http","log":{"name":"event","data":""}}"#;
    let answers = join_all((0..10).map(|_| post_chunked(stack.broker_at, "/handle", body))).await;
    for answer in answers {
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    assert_eq!(stack.all_stored().await.len(), 10);
}

/// Half-sent messages at a time, and how much of each is sent. Without a limit they would take 480 MiB.
const HALVES: usize = 60;
const HALF_BYTES: usize = 8 * MIB;

/// How long they are given to be read, or refused.
const HALVES_TIMEOUT: Duration = Duration::from_secs(5);

/// Lets the halves arrive, sends an entry over the transport, and looks at the logger's memory. The entry is stored or
/// refused for want of room; what has room is given up after 10 s.
async fn has_bounded_memory<H>(stack: &Stack, transport: Transport, half: impl AsyncFn() -> H) {
    const MOST_KIB: u64 = 256 * 1024;
    // Those that find no room are refused and closed: whether all of theirs was sent does not matter.
    let halves = (0..HALVES).map(|_| tokio::time::timeout(HALVES_TIMEOUT, half()));
    let open: Vec<_> = join_all(halves).await;
    let answer = stack.log(transport, &json!({ "name": "event", "data": "" })).await;
    match answer.status.as_u16() {
        202 => assert_eq!(answer.body["error"], false),
        503 => assert_eq!(answer.code(), "overloaded", "{}", answer.body),
        status => panic!("{status}: {}", answer.body),
    }
    let peak = stack.logger.usage().expect("it runs").peak_memory_kib;
    assert!(peak < MOST_KIB, "{transport}: {peak} KiB");
    drop(open);
}

#[tokio::test]
async fn half_sent_messages_take_a_bounded_part_of_the_loggers_memory() {
    let half = vec![b' '; HALF_BYTES];

    let stack = Stack::start_direct(&[]).await;
    let bodies = async || post_half(stack.logger_at.http, "/log", 2 * HALF_BYTES, &half).await;
    has_bounded_memory(&stack, Transport::Http, bodies).await;

    let stack = Stack::start_direct(&[]).await;
    let length = u32::try_from(2 * HALF_BYTES).expect("it fits").to_be_bytes();
    let frame = [&length[..], &half].concat();
    let frames = async || {
        let mut stream = TcpStream::connect(stack.logger_at.rpc).await.expect("the rpc port");
        // It is closed where there is no room.
        let _ = stream.write_all(&frame).await;
        stream
    };
    has_bounded_memory(&stack, Transport::Rpc, frames).await;

    let stack = Stack::start_direct(&[]).await;
    let url = format!("http://{}/logs.LogService/WriteLog", stack.logger_at.grpc);
    // gRPC has a byte for compression before the length.
    let message = bytes::Bytes::from([&[0][..], &length, &half].concat());
    let calls = async || {
        let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
        let parts = stream::iter([Ok::<_, std::io::Error>(message.clone())]).chain(stream::pending());
        let call = client.post(&url).header("content-type", "application/grpc").header("te", "trailers");
        call.body(reqwest::Body::wrap_stream(parts)).send().await
    };
    has_bounded_memory(&stack, Transport::Grpc, calls).await;
}

/// Holds what `begin` sends, and sends small entries over the transport meanwhile: each must be stored.
async fn keep_nobody_out<H>(
    stack: &Stack,
    transports: &[Transport],
    begin: impl AsyncFn() -> H,
    times: usize,
) {
    let held = join_all((0..times).map(|_| begin())).await;
    for transport in transports {
        for data in ["", &"x".repeat(10_000)] {
            let answer = stack.log(*transport, &json!({ "name": "event", "data": data })).await;
            assert_eq!(answer.status, 202, "{transport}, {} bytes: {}", data.len(), answer.body);
        }
    }
    drop(held);
}

#[tokio::test]
async fn half_sent_messages_that_take_all_the_room_keep_no_small_entry_out() {
    let stack = Stack::start_direct(&[]).await;
    let at = stack.logger_at;
    let whole = |bytes: usize| vec![b' '; bytes];

    let body = whole(16 * MIB - 1);
    let bodies = async || post_half(stack.broker_at, "/handle", 16 * MIB, &body).await.expect("it is taken");
    keep_nobody_out(&stack, &DIRECT, bodies, 4).await;

    let body = whole(32 * MIB);
    let bodies = async || post_half(at.http, "/log", 32 * MIB + 1, &body).await.expect("it is taken");
    keep_nobody_out(&stack, &[Transport::Http], bodies, 2).await;

    let half = whole(16 * MIB);
    let length = u32::try_from(half.len() + 1).expect("it fits").to_be_bytes();
    let frame = [&length[..], &half].concat();
    let frames = async || {
        let mut stream = TcpStream::connect(at.rpc).await.expect("the rpc port");
        stream.write_all(&frame).await.expect("there is room");
        stream
    };
    keep_nobody_out(&stack, &[Transport::Rpc], frames, 2).await;
    let log = whole_log(&stack.broker).await;
    assert!(!log.contains(" WARN "), "the broker's own connections fell:\n{log}");

    let part = bytes::Bytes::from([&[0][..], &length, &half[..MIB]].concat());
    let calls = async || {
        let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
        let url = format!("http://{}/logs.LogService/WriteLog", at.grpc);
        let mut calls = JoinSet::new();
        for _ in 0..24 {
            let parts = stream::iter([Ok::<_, std::io::Error>(part.clone())]).chain(stream::pending());
            let call = client.post(&url).header("content-type", "application/grpc").header("te", "trailers");
            calls.spawn(call.body(reqwest::Body::wrap_stream(parts)).send());
        }
        calls
    };
    keep_nobody_out(&stack, &[Transport::Grpc], calls, 2).await;
}

#[tokio::test]
async fn entries_that_grow_sixfold_as_json_can_be_read_back() {
    const ENTRIES: usize = 40;
    let stack = Stack::start_direct(&[]).await;
    let data = "\u{1}".repeat(DATA_BYTES);
    for _ in 0..ENTRIES {
        let answer = stack.log(Transport::Grpc, &json!({ "name": "event", "data": data })).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    // Page by page, and no page is refused.
    let stored = stack.all_stored().await;
    assert_eq!(stored.len(), ENTRIES);
    assert!(stored.iter().all(|entry| entry.data == data));
}

#[tokio::test]
async fn a_batch_that_grows_on_its_way_gets_the_same_answer_over_each_transport() {
    const ENTRIES: usize = 63;
    /// How often it is sent. A debug build takes seconds for so much JSON, and on a busy machine more than it may.
    const ATTEMPTS: usize = 10;
    let stack = Stack::start_direct(&[("BROKER_DEADLINE_MS", "7000")]).await;
    // As a value each takes 4 bytes; as text in JSON, with its quotes escaped, 6.
    let data = json!(vec!["a"; DATA_BYTES / 4 - 1]);
    let batch = json!(vec![json!({ "name": "event", "data": data }); ENTRIES]);
    for transport in DIRECT {
        let body = json!({ "action": "log", "transport": transport, "log": batch }).to_string();
        assert!((15 * MIB..16 * MIB).contains(&body.len()), "{} bytes", body.len());
        let mut answer = stack.post("/handle", body.clone()).await;
        for _ in 1..ATTEMPTS {
            // It came too late, or the one before that did takes the room still.
            if !["outcome_unknown", "overloaded"].contains(&answer.code()) {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            answer = stack.post("/handle", body.clone()).await;
        }
        assert_eq!(answer.status, 202, "{transport}: {}", answer.body);
        let entries = answer.body["data"]["entries"].as_array().map(Vec::len);
        assert_eq!(entries, Some(ENTRIES), "{transport}");
    }
}

#[tokio::test]
async fn a_connection_that_sends_nothing_is_closed() {
    /// Five seconds, and what a busy machine adds.
    const SOON: Duration = Duration::from_secs(15);
    /// Our client of rpc says nothing for some seconds, so its server may wait longer.
    const IDLE: Duration = Duration::from_secs(40);
    let stack = Stack::start_direct(&[]).await;
    let at = stack.logger_at;
    let silent = [
        ("http", at.http, SOON),
        ("rpc", at.rpc, IDLE),
        ("grpc", at.grpc, SOON),
        ("netrpc", at.netrpc, SOON),
    ];
    join_all(silent.map(|(port, address, limit)| until_closed(port, address, b"", limit))).await;
}

#[tokio::test]
async fn a_grpc_batch_of_two_million_empty_entries_is_refused_and_takes_little_memory() {
    const ENTRIES: usize = 2_000_000;
    /// As entries they would take several hundred MiB.
    const MOST_KIB: u64 = 200 * 1024;

    /// As `BatchRequest`, but an empty entry takes no memory here.
    #[derive(Clone, PartialEq, prost::Message)]
    struct EmptyEntries {
        #[prost(message, repeated, tag = "1")]
        log_entries: Vec<()>,
    }

    let stack = Stack::start_direct(&[]).await;
    let at = format!("http://{}", stack.logger_at.grpc);
    let channel = Channel::from_shared(at).expect("a URL").connect().await.expect("the gRPC port");
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("it is connected");
    let codec = tonic_prost::ProstCodec::<EmptyEntries, BatchResponse>::default();
    let request = tonic::Request::new(EmptyEntries { log_entries: vec![(); ENTRIES] });
    let path = PathAndQuery::from_static("/logs.LogService/WriteBatch");
    let refused = client.unary(request, path, codec).await.expect_err("too many");
    let failure = grpc::failure(&refused).unwrap_or_else(|| panic!("{refused}"));
    assert_eq!(failure.code, Code::BadBatch, "{failure}");
    let peak = stack.logger.usage().expect("it runs").peak_memory_kib;
    assert!(peak < MOST_KIB, "{peak} KiB");
}
