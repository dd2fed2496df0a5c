//! The course's own messages, and the hurts of its users, each with a test that shows it gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use lapin::{BasicProperties, ExchangeKind, options::ExchangeDeclareOptions, types::FieldTable};
use nix::sys::signal::Signal;
use proto::{
    Level, StoredEntry, Transport,
    grpc::{
        BatchRequest, BatchResponse, LogRequest, LogResponse,
        log_service_server::{LogService, LogServiceServer},
    },
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    course::{self, log_service_client::LogServiceClient},
    eventually,
    process::Process,
    rabbitmq::VirtualHost,
    stack::{Answer, Stack},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};
use uuid::Uuid;

/// Those that lead to the logger without a queue between.
const DIRECT: [Transport; 3] = [Transport::Http, Transport::Rpc, Transport::Grpc];

// ---- Its messages ----------------------------------------------------------------------------------------

#[tokio::test]
async fn its_requests_to_the_broker_are_understood() {
    let stack = Stack::start().await;
    let short = r#"{"action":"log","log":{"name":"event","data":"text"}}"#;
    // A Go client that marshals the course's request type sends these along, empty.
    let full = r#"{"action":"log","auth":{"email":"","password":""},"log":{"name":"event","data":"text"},
        "mail":{"from":"","to":"","subject":"","message":""}}"#;
    for (path, transport) in [("/handle", Transport::Http), ("/log-grpc", Transport::Grpc)] {
        for body in [short, full] {
            let answer = stack.post(path, body).await;
            assert_eq!(answer.status, 202, "{path}: {}", answer.body);
            assert_eq!(answer.body["error"], false);
            let entry = stack.stored(answer.id()).await.expect("it is stored");
            assert_eq!((entry.name.as_str(), entry.data.as_str()), ("event", "text"));
            assert_eq!((entry.level, entry.transport), (Level::Info, transport), "{path}");
        }
    }
}

#[tokio::test]
async fn its_addresses_that_say_the_broker_is_there_answer_whatever_the_body() {
    let stack = Stack::start_without_listener(&[]).await;
    for body in [&b""[..], b"{}", b"{\"action\":", b"\xff\x00"] {
        let answer = stack.post("/", body).await;
        assert_eq!(answer.status, 200, "{body:?}");
        assert_eq!(answer.body, json!({ "error": false, "message": "Hit the broker" }));
    }
    let ping = client().get(format!("http://{}/ping", stack.broker_at)).send().await.expect("an answer");
    assert_eq!(ping.status(), 200);
    assert_eq!(ping.text().await.expect("text"), ".");
}

#[tokio::test]
async fn its_front_end_may_call_from_another_port_and_other_origins_may_not() {
    let others = "https://logs.example.org,https://example.net:8443";
    let stack = Stack::start_without_listener(&[("BROKER_CORS_ORIGINS", others)]).await;
    for (origin, allowed) in [
        ("http://localhost:8081", true),
        ("http://127.0.0.1:8081", true),
        ("https://logs.example.org", true),
        ("https://example.net:8443", true),
        ("http://example.org", false),
        ("https://example.net", false),
        ("http://localhost.example.org", false),
        ("null", false),
    ] {
        let expected = allowed.then_some(origin);
        let address = format!("http://{}/handle", stack.broker_at);
        let preflight = client()
            .request(Method::OPTIONS, &address)
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type");
        let preflight = stack.ask(preflight).await;
        assert!(preflight.status.is_success(), "{}", preflight.status);
        assert_eq!(header(&preflight, "access-control-allow-origin"), expected, "{origin}");
        if allowed {
            assert!(
                header(&preflight, "access-control-allow-methods").is_some_and(|list| list.contains("POST"))
            );
            let headers = header(&preflight, "access-control-allow-headers").expect("headers");
            assert!(headers.contains("content-type"), "{headers}");
        }
        let body = r#"{"action":"echo","log":{"name":"event","data":"text"}}"#;
        let request = client().post(&address).header("Origin", origin).body(body);
        let answer = stack.ask(request).await;
        assert_eq!(header(&answer, "access-control-allow-origin"), expected, "{origin}");
    }
}

#[tokio::test]
async fn its_grpc_client_is_served() {
    let stack = Stack::start_without_listener(&[]).await;
    let at = format!("http://{}", stack.logger_at.grpc);
    let mut client = LogServiceClient::connect(at).await.expect("the gRPC port");
    let log = course::Log { name: "event".to_owned(), data: "text".to_owned() };
    let answer = client.write_log(course::LogRequest { log_entry: Some(log) }).await.expect("an answer");
    assert_eq!(answer.into_inner().result, "logged!");
    let entry = the_only_entry(&stack).await;
    assert_eq!((entry.name.as_str(), entry.data.as_str()), ("event", "text"));
    assert_eq!((entry.level, entry.transport), (Level::Info, Transport::Grpc));
}

#[tokio::test]
async fn its_request_to_the_logger_is_answered_in_its_words() {
    let stack = Stack::start_without_listener(&[]).await;
    let answer = stack.post_to_logger("/log", r#"{"name":"event","data":"text"}"#).await;
    assert_eq!(answer.status, 202, "a course service takes any other status for a failure");
    assert_eq!((&answer.body["error"], answer.message()), (&json!(false), "logged"));
    let entry = the_only_entry(&stack).await;
    assert_eq!((entry.name.as_str(), entry.data.as_str()), ("event", "text"));
    assert_eq!((entry.level, entry.transport), (Level::Info, Transport::Http));
}

#[tokio::test]
async fn its_messages_are_stored_with_the_level_of_their_key() {
    let stack = Stack::start().await;
    for (key, level) in
        [("log.INFO", Level::Info), ("log.WARNING", Level::Warning), ("log.ERROR", Level::Error)]
    {
        let body = format!(r#"{{"name":"{key}","data":"text"}}"#);
        let properties = BasicProperties::default().with_content_type("text/plain".into());
        stack.rabbitmq.publish("logs_topic", key, body.as_bytes(), properties).await;
        let entry = eventually("it is stored", async || {
            stack.all_stored().await.into_iter().find(|entry| entry.name == key)
        });
        let entry = entry.await;
        assert_eq!((entry.level, entry.transport, entry.attempts), (level, Transport::Rabbitmq, 1));
        assert_eq!(entry.data, "text");
    }
}

#[tokio::test]
async fn its_exchange_and_ours_are_the_same() {
    // The course is there first: our services must accept what they find.
    let rabbitmq = VirtualHost::create().await;
    declare_as_the_course(&rabbitmq).await;
    let stack = Stack::start_with(&[("AMQP_URL", &rabbitmq.url())]).await;
    let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "text" })).await;
    assert_eq!(answer.outcome(), "queued", "{}", answer.body);
    stack.eventually_stored(answer.id()).await;

    // We are there first: the course must accept what it finds.
    let stack = Stack::start().await;
    declare_as_the_course(&stack.rabbitmq).await;
}

#[tokio::test]
async fn its_logger_can_stand_in_for_ours_over_http() {
    let (address, mut bodies, _server) = course_http_logger().await;
    let url = format!("http://{address}");
    let stack = Stack::start_without_listener(&[("LOGGER_HTTP_URL", &url)]).await;
    let answer = stack.log(Transport::Http, &json!({ "name": "event", "data": { "answer": 42 } })).await;
    assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "stored"), "{}", answer.body);
    let (path, body) = bodies.recv().await.expect("a request");
    assert_eq!(path, "/log");
    // Go's decoder wants strings, and ignores the fields that it does not know.
    assert_eq!((&body["name"], &body["data"]), (&json!("event"), &json!(r#"{"answer":42}"#)));
}

#[tokio::test]
async fn its_logger_can_stand_in_for_ours_over_grpc() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let url = format!("http://{}", incoming.local_addr().expect("its address"));
    let mut server = JoinSet::new();
    let service = LogServiceServer::new(CourseLogger);
    server.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let stack = Stack::start_without_listener(&[("LOGGER_GRPC_URL", &url)]).await;
    let answer = stack.log(Transport::Grpc, &json!({ "name": "event", "data": "text" })).await;
    assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "stored"), "{}", answer.body);
}

async fn the_only_entry(stack: &Stack) -> StoredEntry {
    let [entry] = stack.all_stored().await.try_into().expect("one entry");
    entry
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|value| value.to_str().expect("text"))
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(tests::SOON).build().expect("a client")
}

async fn declare_as_the_course(rabbitmq: &VirtualHost) {
    let (_connection, channel) = rabbitmq.channel().await;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared =
        channel.exchange_declare("logs_topic".into(), ExchangeKind::Topic, options, FieldTable::default());
    declared.await.expect("another declaration would close the channel with 406");
}

/// Answers every request as the course's logger does, and passes on its path and body.
async fn course_http_logger() -> (SocketAddr, mpsc::UnboundedReceiver<(String, Value)>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let (requests, received) = mpsc::unbounded_channel();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let requests = requests.clone();
            connections.spawn(async move {
                let mut stream = stream;
                while let Some(request) = read_request(&mut stream).await {
                    requests.send(request).expect("the test is there");
                    let body = r#"{"error":false,"message":"logged"}"#;
                    let answer = format!(
                        "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len(),
                    );
                    stream.write_all(answer.as_bytes()).await.expect("the broker is there");
                }
            });
        }
    });
    (address, received, server)
}

/// The path and the JSON of a request; `None` when the connection has ended.
async fn read_request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            let path = head.split(' ').nth(1).expect("a path");
            return Some((path.to_owned(), body));
        }
    }
}

/// Knows `WriteLog` and no more, and answers in its one field.
struct CourseLogger;

#[tonic::async_trait]
impl LogService for CourseLogger {
    async fn write_log(&self, _: Request<LogRequest>) -> Result<Response<LogResponse>, Status> {
        Ok(Response::new(LogResponse { result: "logged!".to_owned(), ..LogResponse::default() }))
    }

    async fn write_batch(&self, _: Request<BatchRequest>) -> Result<Response<BatchResponse>, Status> {
        Err(Status::unimplemented("the course does not have it"))
    }
}

// ---- Hurt 1: queued is read as done ----------------------------------------------------------------------

#[tokio::test]
async fn queued_is_not_read_as_done() {
    let mut stack = Stack::start_without_listener(&[]).await;
    let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "text" })).await;
    assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "queued"));
    assert!(
        answer.message().contains("queued") && !answer.message().contains("stored"),
        "{}",
        answer.message()
    );
    assert_eq!(stack.stored(answer.id()).await, None);
    // Nobody listens, and it is there.
    eventually("the message is in the queue", async || {
        (stack.rabbitmq.depth("logs.entries").await == 1).then_some(())
    })
    .await;
    stack.start_listener().await;
    stack.eventually_stored(answer.id()).await;
}

// ---- Hurt 2: entries die with the listener ---------------------------------------------------------------

#[tokio::test]
async fn kill_9_of_the_listener_under_load_loses_nothing() {
    let mut stack = Stack::start().await;
    let load = Load::start(stack.broker_at, Transport::Rabbitmq);
    for _ in 0..3 {
        load.goes_on().await;
        stack.listener.as_mut().expect("it runs").kill().await;
        load.goes_on().await;
        stack.start_listener().await;
    }
    load.goes_on().await;
    let accepted = load.stop().await;
    all_of_these_are_stored(&stack, &accepted).await;
}

#[tokio::test]
async fn what_is_queued_while_the_logger_is_down_is_stored_when_it_is_back() {
    let mut stack = Stack::start().await;
    stack.logger.kill().await;
    let load = Load::start(stack.broker_at, Transport::Rabbitmq);
    load.goes_on().await;
    stack.start_logger().await;
    load.goes_on().await;
    let accepted = load.stop().await;
    stack.reaches(Transport::Http).await;
    all_of_these_are_stored(&stack, &accepted).await;
}

// ---- Hurt 3: two listeners store every entry twice -------------------------------------------------------

#[tokio::test]
async fn two_listeners_store_every_entry_once() {
    let mut stack = Stack::start().await;
    let mut first = stack.listener.take().expect("it runs");
    stack.start_listener().await;
    let load = Load::start(stack.broker_at, Transport::Rabbitmq);
    load.goes_on().await;
    let accepted = load.stop().await;
    all_of_these_are_stored(&stack, &accepted).await;
    let entries = stack.all_stored().await;
    assert!(entries.iter().all(|entry| entry.attempts == 1), "no entry is handed over twice");
    let second = stack.listener.as_mut().expect("it runs");
    let (first, second) = (stored_by(&mut first).await, stored_by(second).await);
    assert_eq!(first + second, accepted.len());
    assert!(first > 0 && second > 0, "they share the work: {first} and {second}");
}

/// How many entries a listener has stored, by its own count.
async fn stored_by(listener: &mut Process) -> usize {
    let address = listener.ready().await["http"];
    let metrics = client().get(format!("http://{address}/metrics")).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    let count = metrics.lines().find_map(|line| line.strip_prefix("listener_stored_total "));
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

// ---- Hurt 4: nobody comes back after a restart of RabbitMQ -----------------------------------------------

#[tokio::test]
async fn after_a_restart_of_rabbitmq_broker_and_listener_go_on() {
    /// One that is as long as a restart, and short ones, since what breaks depends on the moment.
    const OUTAGES_MS: [u64; 8] = [1_000, 50, 50, 50, 50, 50, 50, 50];
    let rabbitmq = VirtualHost::create().await;
    let (mut relay, url) = relay_to_rabbitmq(&rabbitmq).await;
    let stack = Stack::start_with(&[("AMQP_URL", &url)]).await;
    let load = Load::start(stack.broker_at, Transport::Rabbitmq);
    for outage_ms in OUTAGES_MS {
        load.goes_on().await;
        relay.cut().await;
        eventually("the broker says that RabbitMQ is gone", async || {
            let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await;
            (answer.status == 503).then(|| assert_eq!(answer.code(), "unavailable"))
        })
        .await;
        for transport in DIRECT {
            let answer = stack.log(transport, &json!({ "name": "event", "data": "" })).await;
            assert_eq!(answer.outcome(), "stored", "{transport} does without RabbitMQ");
        }
        // Not a wait for something: so long is the outage.
        tokio::time::sleep(Duration::from_millis(outage_ms)).await;
        relay.restore().await;
    }
    load.goes_on().await;
    let accepted = load.stop().await;
    // More may be: what was in flight when the connection was cut is answered as unknown.
    eventually("all that was accepted is stored", async || {
        let stored: BTreeSet<Uuid> = stack.all_stored().await.iter().map(|entry| entry.id).collect();
        accepted.is_subset(&stored).then_some(())
    })
    .await;
    assert_eq!(rabbitmq.depth("logs.dead").await, 0);
}

// ---- Hurt 5: every entry dials anew ----------------------------------------------------------------------

#[tokio::test]
async fn a_kept_connection_is_used() {
    const ENTRIES: usize = 200;
    let rabbitmq = VirtualHost::create().await;
    let (to_rabbitmq, amqp_url) = relay_to_rabbitmq(&rabbitmq).await;
    let [http, rpc, grpc] = join_all((0..3).map(|_| free_address())).await.try_into().expect("three");
    let [to_http, to_rpc, to_grpc] =
        join_all([http, rpc, grpc].map(Relay::to)).await.try_into().expect("three relays");
    let stack = Stack::start_without_listener(&[
        ("AMQP_URL", &amqp_url),
        ("LOGGER_HTTP_LISTEN", &http.to_string()),
        ("LOGGER_RPC_LISTEN", &rpc.to_string()),
        ("LOGGER_GRPC_LISTEN", &grpc.to_string()),
        ("LOGGER_HTTP_URL", &format!("http://{}", to_http.address)),
        ("LOGGER_RPC_ADDR", &to_rpc.address.to_string()),
        ("LOGGER_GRPC_URL", &format!("http://{}", to_grpc.address)),
    ])
    .await;
    for (transport, relay) in [
        (Transport::Http, &to_http),
        (Transport::Rpc, &to_rpc),
        (Transport::Rabbitmq, &to_rabbitmq),
        (Transport::Grpc, &to_grpc),
    ] {
        for _ in 0..ENTRIES {
            let answer = stack.log(transport, &json!({ "name": "event", "data": "text" })).await;
            assert_eq!(answer.status, 202, "{}", answer.body);
        }
        // A socket that leaks with each entry is a connection for each entry.
        let dialled = relay.accepted();
        assert!((1..=3).contains(&dialled), "{transport} has dialled {dialled} times for {ENTRIES} entries");
    }
}

// ---- Hurt 6: a logger that is down hangs the caller ------------------------------------------------------

#[tokio::test]
async fn a_logger_that_is_down_is_answered_at_once() {
    let mut stack = Stack::start_without_listener(&[]).await;
    stack.logger.kill().await;
    let entry = json!({ "name": "event", "data": "text" });
    for transport in DIRECT {
        eventually("the broker has seen that the logger is gone", async || {
            (stack.log(transport, &entry).await.status == 503).then_some(())
        })
        .await;
        for _ in 0..20 {
            let answer = stack.log(transport, &entry).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"), "{transport}");
            assert!(answer.took < Duration::from_secs(1), "{transport}: {:?}", answer.took);
            assert!(answer.headers.contains_key("retry-after"));
        }
    }
    let answer = stack.log(Transport::Rabbitmq, &entry).await;
    assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "queued"));
}

#[tokio::test]
async fn a_logger_that_is_frozen_is_answered_within_the_deadline() {
    const DEADLINE: Duration = Duration::from_millis(1_000);
    const SLACK: Duration = Duration::from_millis(1_000);
    let stack = Stack::start_without_listener(&[("BROKER_DEADLINE_MS", "1000")]).await;
    stack.logger.signal(Signal::SIGSTOP);
    let ids = DIRECT.map(|transport| (transport, Uuid::now_v7()));
    let entry = |id| json!({ "id": id, "name": "event", "data": "text" });
    join_all(ids.map(async |(transport, id)| {
        let answer = stack.log(transport, &entry(id)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (504, "outcome_unknown"), "{transport}");
        assert!(answer.took < DEADLINE + SLACK, "{transport}: {:?}", answer.took);
        assert_eq!(answer.id(), id);
    }))
    .await;
    stack.logger.signal(Signal::SIGCONT);
    for (transport, id) in ids {
        // The same id again is safe, whatever became of the first.
        let outcome = eventually("the logger answers again", async || {
            let answer = stack.log(transport, &entry(id)).await;
            (answer.status == 202).then(|| answer.outcome().to_owned())
        });
        assert!(["stored", "duplicate"].contains(&outcome.await.as_str()), "{transport}");
    }
    assert_eq!(stack.all_stored().await.len(), DIRECT.len());
}

// ---- Hurt 7: malformed JSON is stored as an empty entry --------------------------------------------------

#[tokio::test]
async fn malformed_json_is_refused_and_a_poison_message_goes_to_the_dead_letters() {
    let stack = Stack::start().await;
    let answer = stack.post("/handle", r#"{"action":"log","log":{"name":"event","data":"#).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "bad_json"));
    let properties = BasicProperties::default;
    let good = |name: &str| format!(r#"{{"name":"{name}","data":"text"}}"#);
    for (at, (poison, code)) in [
        (&b"{\"name\":\"event\",\"data\":"[..], "bad_json"),
        (b"", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b"{\"name\":\"event\"}", "bad_field"),
        (b"{\"name\":\"\",\"data\":\"text\"}", "invalid_entry"),
    ]
    .into_iter()
    .enumerate()
    {
        let (before, after) = (format!("before {at}"), format!("after {at}"));
        stack.rabbitmq.publish("logs_topic", "log.INFO", good(&before).as_bytes(), properties()).await;
        stack.rabbitmq.publish("logs_topic", "log.ERROR", poison, properties()).await;
        stack.rabbitmq.publish("logs_topic", "log.INFO", good(&after).as_bytes(), properties()).await;
        let dead = eventually("a dead letter", async || stack.rabbitmq.get("logs.dead").await).await;
        assert_eq!(dead.delivery.data, poison, "it is kept as it came");
        let headers = dead.delivery.properties.headers().clone().expect("headers");
        let header = |name: &str| headers.inner()[name].as_long_string().expect("text").to_string();
        assert_eq!(header("x-code"), code);
        assert!(!header("x-reason").is_empty());
        eventually("its neighbours are stored", async || {
            let names: Vec<String> = stack.all_stored().await.into_iter().map(|entry| entry.name).collect();
            (names.contains(&before) && names.contains(&after)).then_some(())
        })
        .await;
    }
    assert_eq!(stack.all_stored().await.len(), 10, "and nothing else is");
}

// ---- Hurt 8: to change the transport, one rebuilds -------------------------------------------------------

#[tokio::test]
async fn the_transport_is_switched_by_one_word() {
    let stack = Stack::start_with(&[("BROKER_DEFAULT_TRANSPORT", "grpc")]).await;
    let body = r#"{"action":"log","transport":"WORD","log":{"name":"event","data":"text"}}"#;
    for word in ["http", "rpc", "rabbitmq", "grpc"] {
        let answer = stack.post("/handle", body.replace("WORD", word)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(stack.eventually_stored(answer.id()).await.transport.as_str(), word);
    }
    // Left out, it is the one of the setting.
    let answer = stack.post("/handle", body.replace(r#""transport":"WORD","#, "")).await;
    assert_eq!(stack.eventually_stored(answer.id()).await.transport, Transport::Grpc);
}

// ---- Hurt 9: services must be started in order -----------------------------------------------------------
// That a taken port is named with its setting: see settings.rs.

#[tokio::test]
async fn services_may_start_in_any_order() {
    for order in [
        ["logger", "listener", "broker"],
        ["logger", "broker", "listener"],
        ["listener", "logger", "broker"],
        ["listener", "broker", "logger"],
        ["broker", "logger", "listener"],
        ["broker", "listener", "logger"],
    ] {
        let mut services = Loose::new(VirtualHost::create().await.url()).await;
        for service in order {
            services.start(service).await;
        }
        for transport in Transport::ALL {
            services.eventually_deliver(transport).await;
        }
    }
}

#[tokio::test]
async fn rabbitmq_may_be_there_last() {
    let rabbitmq = VirtualHost::create().await;
    let (mut relay, url) = relay_to_rabbitmq(&rabbitmq).await;
    relay.cut().await;
    let mut services = Loose::new(url).await;
    for service in ["broker", "listener", "logger"] {
        services.start(service).await;
    }
    for transport in DIRECT {
        services.eventually_deliver(transport).await;
    }
    let (status, body) = services.log(Transport::Rabbitmq).await;
    assert_eq!((status, &body["data"]["code"]), (503, &json!("unavailable")));
    relay.restore().await;
    services.eventually_deliver(Transport::Rabbitmq).await;
}

/// Services that are started one by one.
struct Loose {
    settings: BTreeMap<&'static str, String>,
    broker_at: SocketAddr,
    running: Vec<Process>,
    dir: TempDir,
}

impl Loose {
    async fn new(amqp_url: String) -> Self {
        let [broker_at, http, rpc, grpc] =
            join_all((0..4).map(|_| free_address())).await.try_into().expect("four");
        let settings = BTreeMap::from([
            ("AMQP_URL", amqp_url),
            ("BROKER_HTTP_LISTEN", broker_at.to_string()),
            ("LISTENER_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
            ("LOGGER_HTTP_LISTEN", http.to_string()),
            ("LOGGER_RPC_LISTEN", rpc.to_string()),
            ("LOGGER_GRPC_LISTEN", grpc.to_string()),
            ("LOGGER_HTTP_URL", format!("http://{http}")),
            ("LOGGER_RPC_ADDR", rpc.to_string()),
            ("LOGGER_GRPC_URL", format!("http://{grpc}")),
        ]);
        Loose { settings, broker_at, running: Vec::new(), dir: tempfile::tempdir().expect("a directory") }
    }

    async fn start(&mut self, service: &str) {
        let mut process = Process::start(service, &self.settings, self.dir.path());
        process.ready().await;
        self.running.push(process);
    }

    async fn log(&self, transport: Transport) -> (u16, Value) {
        let body = json!({ "action": "log", "transport": transport, "log": { "name": "event", "data": "" } });
        self.ask(client().post(format!("http://{}/handle", self.broker_at)).json(&body)).await
    }

    async fn eventually_deliver(&self, transport: Transport) {
        let what = format!("{transport} delivers");
        let id = eventually(&what, async || {
            let (status, body) = self.log(transport).await;
            (status == 202).then(|| body["data"]["id"].as_str().expect("an id").to_owned())
        });
        let url = format!("http://{}/logs/{}", self.broker_at, id.await);
        eventually(&format!("what went by {transport} is stored"), async || {
            let (status, body) = self.ask(client().get(&url)).await;
            (status == 200).then(|| assert_eq!(body["data"]["transport"], transport.as_str()))
        })
        .await;
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }
}

// ---- What several of them need ---------------------------------------------------------------------------

/// Callers that log over and over, until they are stopped.
struct Load {
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<BTreeSet<Uuid>>>,
}

impl Load {
    fn start(broker_at: SocketAddr, transport: Transport) -> Self {
        const CALLERS: usize = 4;
        let (accepted, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let callers = (0..CALLERS).map(|_| {
            let (accepted, stop) = (Arc::clone(&accepted), Arc::clone(&stop));
            tokio::spawn(async move {
                let (client, mut ids) = (client(), BTreeSet::new());
                let url = format!("http://{broker_at}/handle");
                while !stop.load(Ordering::Relaxed) {
                    let id = Uuid::now_v7();
                    let log = json!({ "id": id, "name": "load", "data": "text" });
                    let body = json!({ "action": "log", "transport": transport, "log": log });
                    let answer = client.post(&url).json(&body).send().await.expect("the broker answers");
                    if answer.status() == 202 {
                        ids.insert(id);
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                }
                ids
            })
        });
        Load { callers: callers.collect(), accepted, stop }
    }

    /// Waits until a hundred more entries have been accepted.
    async fn goes_on(&self) {
        let goal = self.accepted.load(Ordering::Relaxed) + 100;
        eventually("entries are accepted", async || {
            (self.accepted.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// The ids of all that were answered 202.
    async fn stop(self) -> BTreeSet<Uuid> {
        self.stop.store(true, Ordering::Relaxed);
        let ids = join_all(self.callers).await;
        ids.into_iter().flat_map(|ids| ids.expect("a caller")).collect()
    }
}

/// Waits until these entries are stored, and checks that no others are, and that none is a dead letter.
async fn all_of_these_are_stored(stack: &Stack, accepted: &BTreeSet<Uuid>) {
    let stored = eventually("all are stored", async || {
        Some(stack.all_stored().await).filter(|stored| stored.len() >= accepted.len())
    });
    let stored: Vec<Uuid> = stored.await.into_iter().map(|entry| entry.id).collect();
    assert_eq!(stored.len(), accepted.len(), "each is stored once");
    assert_eq!(&stored.into_iter().collect::<BTreeSet<_>>(), accepted);
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 0);
}

/// A relay in front of RabbitMQ, and the URL of a virtual host through it.
async fn relay_to_rabbitmq(rabbitmq: &VirtualHost) -> (Relay, String) {
    let url = rabbitmq.url();
    let (user, rest) = url.split_once('@').expect("a user");
    let (authority, name) = rest.split_once('/').expect("a virtual host");
    let target = tokio::net::lookup_host(authority).await.expect("a host").next().expect("its address");
    let relay = Relay::to(target).await;
    let url = format!("{user}@{}/{name}", relay.address);
    (relay, url)
}

/// A port where nobody listens now.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("its address")
}

/// Passes TCP connections on, counts them, and can be cut.
#[derive(Debug)]
struct Relay {
    address: SocketAddr,
    target: SocketAddr,
    accepted: Arc<AtomicUsize>,
    serving: JoinSet<()>,
}

impl Relay {
    async fn to(target: SocketAddr) -> Self {
        let address = free_address().await;
        let mut relay = Relay { address, target, accepted: Arc::default(), serving: JoinSet::new() };
        relay.restore().await;
        relay
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Ends all connections, and refuses new ones.
    async fn cut(&mut self) {
        self.serving.shutdown().await;
    }

    /// Accepts connections again.
    async fn restore(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("its port is still free");
        let (target, accepted) = (self.target, Arc::clone(&self.accepted));
        self.serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        // However it ends: both sides are closed when they are dropped.
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
    }
}
