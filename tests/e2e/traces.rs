//! One entry is one trace, across every process that it crosses; and nobody waits for the collector.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use futures_util::future::join_all;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use proto::Transport;
use rig::{Process, reserve};
use serde_json::{Value, json};
use tests::{
    client,
    collector::{Collector, Exported},
    eventually,
    stack::Stack,
    tls,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
};
use uuid::Uuid;

/// The trace and the span of a caller.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What is in the entries, and must be in no span.
const DATA: &str = "what nobody but the store shall see";

/// The header of a caller whose trace is recorded: 01, or is not: 00.
fn traceparent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{SPAN}-{flags}")
}

fn entry() -> Value {
    json!({ "id": Uuid::now_v7(), "name": "event", "data": DATA })
}

async fn traced_stack() -> (Collector, Stack) {
    let collector = Collector::start();
    let stack = Stack::start_with(&[(ENDPOINT, &collector.endpoint())]).await;
    (collector, stack)
}

/// The spans of an entry from the first to the last, each a part of the one before.
fn way(transport: Transport) -> Vec<(&'static str, &'static str, SpanKind)> {
    let begins = ("broker", "POST /handle", SpanKind::Server);
    let ends = ("logger", "store", SpanKind::Internal);
    let direct =
        |name| vec![begins, ("broker", name, SpanKind::Client), ("logger", name, SpanKind::Server), ends];
    match transport {
        Transport::Http => direct("POST /log"),
        Transport::Rpc => direct("LogRpc/write"),
        Transport::Grpc => direct("logs.LogService/WriteLog"),
        Transport::Rabbitmq => vec![
            begins,
            ("broker", "publish logs_topic", SpanKind::Producer),
            ("listener", "process logs.entries", SpanKind::Consumer),
            ("listener", "hand over", SpanKind::Internal),
            ("listener", "LogRpc/write", SpanKind::Client),
            ("logger", "LogRpc/write", SpanKind::Server),
            ends,
        ],
    }
}

/// Waits for the spans of one entry, of which the first is a part of `parent_id`; checks them, and that there are
/// no others.
async fn is_one_trace(
    collector: &Collector,
    stack: &mut Stack,
    transport: Transport,
    log: &Value,
    parent_id: &str,
) -> Vec<Exported> {
    let way = way(transport);
    collector.at_least(way.len()).await;
    let spans = all_spans(collector, stack).await;
    let traces: BTreeSet<&str> = spans.iter().map(|span| span.trace_id.as_str()).collect();
    assert_eq!((traces.len(), spans.len()), (1, way.len()), "{spans:#?}");
    let mut parent_id = parent_id.to_owned();
    for (service, name, kind) in way {
        let of_parent: Vec<&Exported> = spans.iter().filter(|span| span.parent_id == parent_id).collect();
        let [span] = of_parent[..] else { panic!("one part of {parent_id:?}, {name}: {spans:#?}") };
        assert_eq!(
            (span.service.as_str(), span.name.as_str(), span.kind),
            (service, name, kind),
            "{spans:#?}"
        );
        assert!(!span.failed, "{span:?}");
        if name != "store" && name != "hand over" {
            let id = span.attributes.get("fourwire.entry.id");
            assert_eq!(id.map(String::as_str), log["id"].as_str(), "{span:?}");
        }
        parent_id.clone_from(&span.id);
    }
    hold_no_secret(&spans);
    spans
}

/// Stops the services, which send their last spans then.
async fn all_spans(collector: &Collector, stack: &mut Stack) -> Vec<Exported> {
    for process in stack.processes_mut().into_iter().filter(|process| process.is_running()) {
        process.stop().await.expect("it ends");
    }
    collector.spans()
}

fn hold_no_secret(spans: &[Exported]) {
    let told = format!("{spans:?}");
    assert!(!told.contains(DATA), "{told}");
    tls::assert_no_secret("a span", &told);
}

for_each_transport!(one_entry_is_one_trace_with_its_callers_span_at_the_top);

async fn one_entry_is_one_trace_with_its_callers_span_at_the_top(transport: Transport) {
    let (collector, mut stack) = traced_stack().await;
    let log = entry();
    let answer =
        stack.log_with(transport, &log, [("traceparent", traceparent(TRACE, "01").as_bytes())]).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let spans = is_one_trace(&collector, &mut stack, transport, &log, SPAN).await;
    assert_eq!(spans[0].trace_id, TRACE);
}

for_each_transport!(one_entry_is_one_trace_without_a_caller);

async fn one_entry_is_one_trace_without_a_caller(transport: Transport) {
    let (collector, mut stack) = traced_stack().await;
    let log = entry();
    let answer = stack.log(transport, &log).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    is_one_trace(&collector, &mut stack, transport, &log, "").await;
}

for_each_transport!(what_the_caller_does_not_record_nobody_does);

async fn what_the_caller_does_not_record_nobody_does(transport: Transport) {
    let (collector, mut stack) = traced_stack().await;
    let other = "00000000000000000000000000000abc";
    for flags in ["00", "00", "02"] {
        let header = traceparent(other, flags);
        let answer = stack.log_with(transport, &entry(), [("traceparent", header.as_bytes())]).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        stack.eventually_stored(answer.id()).await;
    }
    let log = entry();
    let header = traceparent(TRACE, "01");
    assert_eq!(stack.log_with(transport, &log, [("traceparent", header.as_bytes())]).await.status, 202);
    is_one_trace(&collector, &mut stack, transport, &log, SPAN).await;
}

for_each_transport!(entries_of_many_clients_are_each_a_call_in_a_trace_of_their_own);

async fn entries_of_many_clients_are_each_a_call_in_a_trace_of_their_own(transport: Transport) {
    const CLIENTS: usize = 32;
    const ENTRIES: usize = 3;
    let (collector, mut stack) = traced_stack().await;
    let trace = |number: usize| format!("{:032x}", number + 1);
    let is_recorded = |number: usize| number.is_multiple_of(2);
    let client = async |number: usize| {
        let header = traceparent(&trace(number), if is_recorded(number) { "01" } else { "00" });
        for _ in 0..ENTRIES {
            let answer = stack.log_with(transport, &entry(), [("traceparent", header.as_bytes())]).await;
            assert_eq!(answer.status, 202, "{}", answer.body);
        }
    };
    join_all((0..CLIENTS).map(client)).await;
    let spans = all_spans(&collector, &mut stack).await;
    let way = way(transport);
    for number in 0..CLIENTS {
        let of_trace = spans.iter().filter(|span| span.trace_id == trace(number));
        let own: Vec<&Exported> = of_trace.collect();
        if !is_recorded(number) {
            assert!(own.is_empty(), "{own:#?}");
            continue;
        }
        // At the logger too, where it is the next hop.
        let hops = if transport == Transport::Rabbitmq { 2 } else { 3 };
        for (service, name, _) in &way[..hops] {
            let there = own.iter().filter(|span| span.service == *service && span.name == *name).count();
            assert_eq!(there, ENTRIES, "{service}, {name}: {own:#?}");
        }
    }
}

for_each_transport!(a_batch_is_one_trace);

async fn a_batch_is_one_trace(transport: Transport) {
    let (collector, stack) = traced_stack().await;
    let batch: Vec<Value> = (0..20).map(|_| entry()).collect();
    let header = traceparent(TRACE, "01");
    let answer = stack.log_with(transport, &json!(batch), [("traceparent", header.as_bytes())]).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let spans = eventually("the spans of both ends and the writer's are exported", async || {
        let spans = collector.spans();
        let is_there = |name| spans.iter().any(|span| span.name == name);
        let served = spans.iter().any(|span| span.service == "logger" && span.kind == SpanKind::Server);
        (is_there("store") && is_there("POST /handle") && served).then_some(spans)
    })
    .await;
    assert!(spans.iter().all(|span| span.trace_id == TRACE), "{spans:#?}");
    let ids: HashSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let handle = spans.iter().find(|span| span.name == "POST /handle").expect("it was awaited");
    assert_eq!(handle.attributes["fourwire.entries"], "20");
    for span in spans.iter().filter(|span| span.service == "logger") {
        assert!(ids.contains(span.parent_id.as_str()) || transport == Transport::Rabbitmq, "{spans:#?}");
    }
    hold_no_secret(&spans);
}

/// A message's span is either the one that the hand-over of its batch is a part of, or has a link to that, which
/// has one to it.
#[tokio::test]
async fn each_message_of_a_batch_is_linked_to_its_hand_over() {
    const MESSAGES: usize = 400;
    let collector = Collector::start();
    let mut stack = Stack::start_without_listener(&[(ENDPOINT, &collector.endpoint())]).await;
    for first in (0..MESSAGES).step_by(100) {
        let batch: Vec<Value> = (0..100).map(|_| entry()).collect();
        let trace = format!("{:032x}", first + 1);
        let header = traceparent(&trace, "01");
        let answer =
            stack.log_with(Transport::Rabbitmq, &json!(batch), [("traceparent", header.as_bytes())]).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    stack.start_listener().await.expect("it starts");
    eventually("all are stored", async || (stack.all_stored().await.len() == MESSAGES).then_some(())).await;
    let spans = eventually("all messages have their spans", async || {
        let spans = collector.spans();
        let processed = spans.iter().filter(|span| span.name == "process logs.entries").count();
        (processed == MESSAGES).then_some(spans)
    })
    .await;
    let hand_overs: Vec<&Exported> = spans.iter().filter(|span| span.name == "hand over").collect();
    assert!(hand_overs.len() < MESSAGES / 2, "they come in batches");
    let mut linked = 0;
    for message in spans.iter().filter(|span| span.name == "process logs.entries") {
        let own = (message.trace_id.clone(), message.id.clone());
        match &message.links[..] {
            [] => assert!(hand_overs.iter().any(|span| span.parent_id == message.id), "{message:?}"),
            [(_, hand_over)] => {
                let hand_over = hand_overs.iter().find(|span| span.id == *hand_over).expect("it is exported");
                assert!(hand_over.links.contains(&own), "{hand_over:?}");
                linked += 1;
            }
            links => panic!("{links:?}"),
        }
    }
    assert_eq!(linked + hand_overs.len(), MESSAGES);
}

#[tokio::test]
async fn a_part_of_the_traces_is_recorded_and_the_others_nowhere() {
    const ENTRIES: usize = 400;
    let collector = Collector::start();
    let sampled = [
        (ENDPOINT, collector.endpoint()),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
        ("OTEL_TRACES_SAMPLER_ARG", "0.1".to_owned()),
    ];
    let settings: Vec<(&'static str, &str)> =
        sampled.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut stack = Stack::start_with(&settings).await;
    for number in 0..ENTRIES {
        let transport = Transport::ALL[number % Transport::ALL.len()];
        let answer = stack.log(transport, &entry()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    eventually("all are stored", async || (stack.all_stored().await.len() == ENTRIES).then_some(())).await;
    eventually("whatever is part of something is exported after it", async || {
        let spans = collector.spans();
        let ids: HashSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
        let whole = |span: &Exported| span.name == "POST /handle" || ids.contains(span.parent_id.as_str());
        spans.iter().all(whole).then_some(())
    })
    .await;
    let spans = all_spans(&collector, &mut stack).await;
    let begun: HashSet<&str> =
        spans.iter().filter(|span| span.name == "POST /handle").map(|span| span.trace_id.as_str()).collect();
    // 40 on average; so far off it is once in more than ten thousand million runs.
    assert!((5..120).contains(&begun.len()), "{}", begun.len());
    for span in &spans {
        assert!(begun.contains(span.trace_id.as_str()), "nobody decides anew: {span:?}");
        let parent = spans.iter().find(|parent| parent.id == span.parent_id);
        assert_eq!(parent.is_none(), span.name == "POST /handle", "{span:?}");
    }
}

#[tokio::test]
async fn a_failed_delivery_is_a_failed_span_and_a_line_with_both_ids() {
    for format in ["text", "json"] {
        let collector = Collector::start();
        let settings = [(ENDPOINT, collector.endpoint()), ("LOG_FORMAT", format.to_owned())];
        let settings: Vec<(&'static str, &str)> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut stack = Stack::start_direct(&settings).await;
        stack.logger.kill().await.expect("it runs");
        for transport in tests::DIRECT {
            let log = entry();
            let header = traceparent(TRACE, "01");
            let answer = stack.log_with(transport, &log, [("traceparent", header.as_bytes())]).await;
            assert!(matches!(answer.status.as_u16(), 503 | 504), "{}", answer.body);
            let id = log["id"].as_str().expect("an id");
            let line = line_of(&stack.broker, id).await;
            assert!(line.contains(TRACE) && !line.contains(DATA), "{line}");
            if format == "json" {
                let line: Value = serde_json::from_str(&line).expect("JSON");
                assert_eq!((line["entry_id"].as_str(), line["trace_id"].as_str()), (Some(id), Some(TRACE)));
                assert_eq!(
                    (line["transport"].as_str(), line["level"].as_str()),
                    (Some(transport.as_str()), Some("WARN"))
                );
            }
        }
        if format == "json" {
            for line in stack.broker.log().lines().chain(stack.logger.log().lines()) {
                assert!(
                    serde_json::from_str::<Value>(line).is_ok_and(|line| line["message"].is_string()),
                    "{line}"
                );
            }
        }
        let spans = collector.at_least(2 * tests::DIRECT.len()).await;
        assert!(spans.iter().all(|span| span.failed && span.service == "broker"), "{spans:#?}");
    }
}

#[tokio::test]
async fn what_the_logger_refuses_is_a_failed_span_there_but_over_http_where_it_has_the_status() {
    let (collector, stack) = traced_stack().await;
    let stored = entry();
    assert_eq!(stack.log(Transport::Http, &stored).await.status.as_u16(), 202);
    let other = json!({ "name": "other", "data": "", "id": stored["id"] });
    for transport in tests::DIRECT {
        assert_eq!(stack.log(transport, &other).await.code(), "conflict");
    }
    let calls = ["POST /log", "LogRpc/write", "logs.LogService/WriteLog"];
    let spans = eventually("the logger's spans are exported", async || {
        let spans = collector.spans();
        let of_logger = spans.iter().filter(|span| span.service == "logger");
        (of_logger.filter(|span| calls.contains(&span.name.as_str())).count() == 4).then_some(spans)
    })
    .await;
    let of_logger = |name: &str| {
        let mut named = spans.iter().filter(|span| span.service == "logger" && span.name == name);
        named.next_back().unwrap_or_else(|| panic!("{name}: {spans:#?}"))
    };
    for name in ["LogRpc/write", "logs.LogService/WriteLog"] {
        let span = of_logger(name);
        assert_eq!((span.failed, span.attributes["error.type"].as_str()), (true, "conflict"), "{span:?}");
    }
    let refused = |span: &&Exported| {
        span.attributes.get("http.response.status_code").is_some_and(|status| status == "409")
    };
    let of_http = |span: &&Exported| span.service == "logger" && span.name == "POST /log";
    assert!(spans.iter().filter(of_http).find(refused).is_some_and(|span| !span.failed), "{spans:#?}");
}

#[tokio::test]
async fn a_dead_letter_is_a_line_with_both_ids_and_a_failed_span() {
    let collector = Collector::start();
    let settings = [(ENDPOINT, collector.endpoint()), ("LOG_FORMAT", "json".to_owned())];
    let settings: Vec<(&'static str, &str)> =
        settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let stack = Stack::start_with(&settings).await;
    let id = Uuid::now_v7().to_string();
    let message = properties(AMQPValue::LongString(traceparent(TRACE, "01").into()))
        .with_message_id(id.as_str().into());
    stack.rabbitmq.publish("logs_topic", "log.INFO", b"no JSON", message).await;
    let line = line_of(&stack.listener, &id).await;
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (line["entry_id"].as_str(), line["trace_id"].as_str()),
        (Some(id.as_str()), Some(TRACE)),
        "{line}"
    );
    let spans = collector.at_least(1).await;
    let message = spans.iter().find(|span| span.name == "process logs.entries").expect("its span");
    assert_eq!((message.failed, message.parent_id.as_str()), (true, SPAN));
    assert_eq!(message.attributes["error.type"], "bad_json");
}

#[tokio::test]
async fn what_is_no_traceparent_fails_nothing() {
    let (collector, stack) = traced_stack().await;
    let long = "0".repeat(8_000);
    let wrong: [&[u8]; 10] = [
        b"",
        b"x",
        b"----",
        b"00-0-0-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-\xff\xfe",
        long.as_bytes(),
    ];
    for value in wrong {
        let answer = stack.log_with(Transport::Http, &entry(), [("traceparent", value)]).await;
        assert_eq!(answer.status, 202, "{value:?}: {}", answer.body);
    }
    // More of a state than the logger takes of headers.
    let state: Vec<String> = (0..90).map(|vendor| format!("v{vendor}={}", "x".repeat(250))).collect();
    let (sound, state) = (traceparent(TRACE, "01"), state.join(","));
    let headers = [("traceparent", sound.as_bytes()), ("tracestate", state.as_bytes())];
    for transport in Transport::ALL {
        let answer = stack.log_with(transport, &entry(), headers).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let log = br#"{"name":"a","data":"b"}"#;
    for value in [AMQPValue::Boolean(true), AMQPValue::LongString("x".into()), AMQPValue::Void] {
        stack.rabbitmq.publish("logs_topic", "log.INFO", log, properties(value)).await;
    }
    let all = wrong.len() + Transport::ALL.len() + 3;
    eventually("all are stored", async || (stack.all_stored().await.len() == all).then_some(())).await;
    let begun = |spans: &[Exported]| spans.iter().filter(|span| span.parent_id.is_empty()).count();
    // The broker begins traces, and the listener none.
    eventually("each is a trace of its own", async || {
        (begun(&collector.spans()) == wrong.len()).then_some(())
    })
    .await;
}

fn properties(traceparent: AMQPValue) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), traceparent);
    BasicProperties::default().with_headers(headers)
}

#[tokio::test]
async fn a_trace_and_its_state_go_on_over_the_wire_and_without_a_collector_nothing_does() {
    let collector = Collector::start();
    let (logger, mut heads, _server) = logger_that_shows_heads().await;
    for (endpoint, setting, value, expected) in [
        (collector.endpoint(), "OTEL_SDK_DISABLED", "1", Some("01")),
        (String::new(), "OTEL_SDK_DISABLED", "false", None),
        (collector.endpoint(), "OTEL_SDK_DISABLED", "TRUE", None),
        (collector.endpoint(), "OTEL_TRACES_EXPORTER", "None", None),
        (collector.endpoint(), "OTEL_TRACES_EXPORTER", "", Some("01")),
    ] {
        let settings =
            [(ENDPOINT, endpoint), (setting, value.to_owned()), ("LOGGER_HTTP_URL", logger.clone())];
        let settings: Vec<(&'static str, &str)> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let stack = Stack::start_without_listener(&settings).await;
        assert_eq!(stack.broker.log().contains("counts as false"), value == "1", "{}", stack.broker.log());
        for flags in ["01", "00"] {
            let traceparent = traceparent(TRACE, flags);
            let sent =
                stack.log_with(Transport::Http, &entry(), [("traceparent", traceparent.as_bytes())]).await;
            assert_eq!(sent.status, 202, "{}", sent.body);
            let head = heads.recv().await.expect("the logger is called");
            let told = head.lines().find_map(|line| line.strip_prefix("traceparent: "));
            match expected {
                Some(_) => {
                    let told = told.unwrap_or_else(|| panic!("{head}"));
                    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with(flags), "{told}");
                    assert_eq!(told.contains(SPAN), flags == "00", "its own span, if it makes one: {told}");
                }
                None => assert!(!head.to_lowercase().contains("trace"), "{head}"),
            }
        }
        let queued = stack.log(Transport::Rabbitmq, &entry()).await;
        assert_eq!(queued.status, 202, "{}", queued.body);
        let message = stack.rabbitmq.get("logs.entries").await.expect("a message");
        let headers = message.delivery.properties.headers().clone().unwrap_or_default();
        assert_eq!(headers.inner().contains_key("traceparent"), expected.is_some(), "{headers:?}");
    }
    let state = Collector::start();
    let endpoint = state.endpoint();
    let stack = Stack::start_without_listener(&[(ENDPOINT, &endpoint), ("LOGGER_HTTP_URL", &logger)]).await;
    let (log, caller) = (entry(), traceparent(TRACE, "01"));
    let headers = [("traceparent", caller.as_bytes()), ("tracestate", b"vendor=value".as_slice())];
    let answer = stack.log_with(Transport::Http, &log, headers).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let head = heads.recv().await.expect("the logger is called");
    assert!(head.contains("tracestate: vendor=value"), "{head}");
}

/// Answers every request as the course's logger does, and passes on what stands before its body.
async fn logger_that_shows_heads() -> (String, mpsc::UnboundedReceiver<String>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (heads, received) = mpsc::unbounded_channel();
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            // All of it comes at once, since it is short.
            while !bytes.ends_with(b"}") && stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let (head, _) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let body = r#"{"error":false,"message":"logged"}"#;
            let answer = format!(
                "HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            if head.starts_with("POST") && heads.send(head.to_owned()).is_err() {
                return;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, received, server)
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_neither_slows_nor_fails_and_ends_with_the_service() {
    /// Between SIGTERM and SIGKILL container engines wait so long.
    const MOST: Duration = Duration::from_secs(10);
    const ENTRIES: usize = 300;
    let nobody = reserve().expect("a free port");
    let away = nobody.local_addr().expect("its address");
    // The kernel takes the connection, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hangs = silent.local_addr().expect("its address");
    for collector in [away, hangs] {
        let mut stack = Stack::start_with(&[(ENDPOINT, &format!("http://{collector}"))]).await;
        let mut took = Vec::new();
        for number in 0..ENTRIES {
            let transport = Transport::ALL[number % Transport::ALL.len()];
            let answer = stack.log(transport, &entry()).await;
            assert_eq!(answer.status, 202, "{}", answer.body);
            took.push(answer.took);
        }
        // The machine may stall now and then.
        took.sort_unstable();
        assert!(took[ENTRIES * 99 / 100] < Duration::from_secs(2), "{took:?}");
        eventually("all are stored", async || (stack.all_stored().await.len() == ENTRIES).then_some(()))
            .await;
        for process in stack.processes_mut() {
            // Some lines for the connections; of the collector one when it goes, one when the last spans are lost.
            eventually("it is told", async || process.log().contains("the trace collector").then_some(()))
                .await;
            let told = process.log().lines().filter(|line| line.contains("collector")).count();
            assert!(told <= 2, "{}", process.log());
        }
        let metrics = client().get(format!("{}://{}/metrics", tls::scheme(), stack.broker_at)).send().await;
        let metrics = metrics.expect("an answer").text().await.expect("text");
        let lost = metrics.lines().find_map(|line| line.strip_prefix("traces_lost_spans_total "));
        assert!(lost.and_then(|lost| lost.parse().ok()).is_some_and(|lost: u64| lost > 0), "{lost:?}");
        for process in stack.processes_mut() {
            let took = process.stop().await.expect("it ends");
            assert!(took < MOST, "{took:?}");
        }
    }
}

#[tokio::test]
async fn the_last_spans_are_sent_before_a_service_ends() {
    let mut seen = Vec::new();
    // They have less than half a second for it, which is too little where a machine stalls.
    for _ in 0..3 {
        let (collector, mut stack) = traced_stack().await;
        let answer = stack.log(Transport::Rpc, &entry()).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        stack.broker.stop().await.expect("it ends");
        stack.logger.stop().await.expect("it ends");
        if collector.spans().len() == way(Transport::Rpc).len() {
            return;
        }
        seen.push(collector.spans());
    }
    panic!("{seen:#?}");
}

#[tokio::test]
async fn a_collector_with_a_certificate_is_believed_if_its_authority_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = certs::Authority::new().expect("an authority");
    let other = certs::Authority::new().expect("an authority");
    let collector = Collector::start_encrypted(&authority);
    let endpoint = collector.endpoint().replace("http://", "https://");
    for (authority, believed) in [(&other, false), (&authority, true)] {
        let file = dir.path().join(format!("{believed}.pem"));
        std::fs::write(&file, authority.pem()).expect("written");
        let file = file.display().to_string();
        let settings = [(ENDPOINT, endpoint.as_str()), ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.as_str())];
        let stack = Stack::start_direct(&settings).await;
        assert_eq!(stack.log(Transport::Grpc, &entry()).await.status, 202);
        if believed {
            collector.at_least(way(Transport::Grpc).len()).await;
        } else {
            eventually("it is not believed", async || {
                stack.broker.log().contains("does not accept spans").then_some(())
            })
            .await;
            assert_eq!(collector.spans(), []);
        }
    }
}

/// The line of a log that names an entry.
async fn line_of(process: &Process, id: &str) -> String {
    eventually("a line names the entry", async || {
        process.log().lines().find(|line| line.contains(id)).map(str::to_owned)
    })
    .await
}
