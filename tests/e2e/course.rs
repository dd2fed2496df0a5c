//! The course's own messages are understood, and its services and ours can stand in for each other.

use std::net::SocketAddr;

use lapin::{BasicProperties, ExchangeKind, options::ExchangeDeclareOptions, types::FieldTable};
use proto::{
    Level, StoredEntry, Transport,
    grpc::{
        LogRequest, LogResponse,
        log_service_server::{LogService, LogServiceServer},
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    client,
    course::{self, log_service_client::LogServiceClient},
    eventually,
    rabbitmq::VirtualHost,
    stack::{Answer, Stack},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

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
            assert_eq!(header(&preflight, "access-control-max-age"), Some("300"));
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
async fn what_a_page_of_another_origin_posts_without_asking_is_refused() {
    let stack = Stack::start_without_listener(&[]).await;
    // What a browser posts without asking first: the content type of a form, and an answer that it will hide.
    let post = |name: &str, origin: Option<&str>| {
        let body = json!({ "action": "log", "transport": "http", "log": { "name": name, "data": "" } });
        let address = format!("http://{}/handle", stack.broker_at);
        let request = client().post(address).header("Content-Type", "text/plain").body(body.to_string());
        stack.ask(match origin {
            Some(origin) => request.header("Origin", origin),
            None => request,
        })
    };
    for origin in ["http://evil.example", "https://localhost.evil.example", "null"] {
        let answer = post("evil", Some(origin)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "forbidden_origin"), "{origin}");
        assert_eq!((&answer.body["error"], &answer.body["data"]["retryable"]), (&json!(true), &json!(false)));
    }
    // The logger has no pages of its own.
    let address = format!("http://{}/log", stack.logger_at.http);
    let body = r#"{"name":"evil","data":""}"#;
    let answer = stack.ask(client().post(address).header("Origin", "http://localhost").body(body)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (403, "forbidden_origin"));
    for origin in [Some("http://localhost:3000"), None] {
        let answer = post("good", origin).await;
        assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "stored"), "{origin:?}");
    }
    let names: Vec<String> = stack.all_stored().await.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["good", "good"]);
}

#[tokio::test]
async fn a_page_whose_name_was_made_to_lead_here_reads_nothing() {
    let others = [("BROKER_CORS_ORIGINS", "http://pages.example:3000")];
    let stack = Stack::start_without_listener(&others).await;
    // To the browser it is of the same origin, so it does not say which; and it does not hide the answer.
    let read = |port: SocketAddr, host: &str| {
        let request = client().get(format!("http://{port}/logs")).header("Host", host);
        stack.ask(request)
    };
    for port in [stack.broker_at, stack.logger_at.http] {
        for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"]
        {
            let answer = read(port, host).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (403, "forbidden_origin"), "{port} {host}");
        }
        for host in ["localhost", "LocalHost:8080", "127.0.0.1:8080", "[::1]"] {
            assert_eq!(read(port, host).await.status, 200, "{port} {host}");
        }
    }
    assert_eq!(read(stack.broker_at, "pages.example").await.status, 200, "it is listed");
}

#[tokio::test]
async fn a_page_of_elsewhere_cannot_even_measure_how_long_an_answer_takes() {
    let mut stack = Stack::start().await;
    let listener = stack.listener.ready().await.expect("it is ready")["http"];
    let ask = |port: SocketAddr, path: &str, headers: &[(&str, &str)]| {
        let request = client().get(format!("http://{port}{path}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        stack.ask(request)
    };
    let question = "/logs?limit=1&contains=hunter2";
    for site in ["cross-site", "same-site"] {
        // As an image, or a request that reads no answer: without an origin.
        let from = ("Sec-Fetch-Site", site);
        let follows = ("Sec-Fetch-Mode", "navigate");
        for (port, path) in [
            (stack.broker_at, question),
            (stack.broker_at, "/logs/stream"),
            (stack.broker_at, "/status"),
            (stack.logger_at.http, question),
            (stack.logger_at.http, "/logs/1"),
            (listener, "/status"),
        ] {
            for headers in [&[from][..], &[from, follows]] {
                let answer = ask(port, path, headers).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.code()),
                    (403, "forbidden_origin"),
                    "{port}{path} {site}"
                );
            }
        }
        assert_eq!(ask(stack.broker_at, "/", &[from]).await.status, 403, "as a picture it is none");
        assert_eq!(ask(listener, "/metrics", &[from]).await.status, 403, "nor as a script");
        for (port, path) in [
            (stack.broker_at, "/"),
            (stack.broker_at, "/openapi.json"),
            (stack.logger_at.http, "/metrics"),
            (listener, "/readyz"),
        ] {
            let answer = ask(port, path, &[from, follows]).await;
            assert_eq!(answer.status, 200, "a link may lead to {port}{path}");
        }
        // The course's front end, on another port of this machine, reads its answers.
        let front_end = [from, ("Origin", "http://localhost:8081"), ("Sec-Fetch-Mode", "cors")];
        assert_eq!(ask(stack.broker_at, question, &front_end).await.status, 200);
        let evil = [from, ("Origin", "http://evil.example"), ("Sec-Fetch-Mode", "cors")];
        assert_eq!(ask(stack.broker_at, question, &evil).await.status, 403);
    }
    for site in ["same-origin", "none"] {
        let answer = ask(stack.broker_at, question, &[("Sec-Fetch-Site", site)]).await;
        assert_eq!(answer.status, 200, "{site}");
        assert_eq!(header(&answer, "cross-origin-resource-policy"), Some("same-origin"));
    }
    // An operator's browser, to which somebody has typed the address.
    assert_eq!(ask(listener, "/readyz", &[("Sec-Fetch-Site", "none")]).await.status, 200);
    let by_name = ask(listener, "/metrics", &[("Host", "evil.example")]).await;
    assert_eq!((by_name.status.as_u16(), by_name.code()), (403, "forbidden_origin"));
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
async fn what_go_sends_without_tags_or_data_is_stored_by_the_logger_and_the_broker_is_strict() {
    let stack = Stack::start().await;
    let forms = [
        (r#"{"Name":"tags","Data":"text"}"#, "tags", "text", Level::Info),
        (r#"{"name":"data"}"#, "data", "", Level::Info),
        (r#"{"name":"level","data":"text","level":"ERROR"}"#, "level", "text", Level::Error),
        (r#"{"Name":"all","Level":"Warning"}"#, "all", "", Level::Warning),
    ];
    for (body, name, data, level) in forms {
        let answer = stack.post_to_logger("/log", body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let properties = BasicProperties::default().with_content_type("text/plain".into());
        stack.rabbitmq.publish("logs_topic", "log.INFO", body.as_bytes(), properties).await;
        let both = eventually("both are stored", async || {
            let stored = stack.all_stored().await.into_iter().filter(|entry| entry.name == name);
            Some(stored.collect::<Vec<_>>()).filter(|stored| stored.len() == 2)
        });
        assert!(both.await.iter().all(|entry| (entry.data.as_str(), entry.level) == (data, level)), "{name}");
        let log = format!(r#"{{"action":"log","log":{body}}}"#);
        assert_eq!(stack.post("/handle", log).await.status, 400, "{body}");
    }
    for (body, message) in [
        (r#"{"Name":"event","Colour":"red"}"#, "unknown field `Name`"),
        (r#"{"data":"text"}"#, "missing field `name`"),
        (r#"{"name":"event","level":"WARN"}"#, "unknown level"),
        (r#"{"name":"event","Name":"event"}"#, "unknown field `Name`"),
    ] {
        let answer = stack.post_to_logger("/log", body).await;
        assert!(answer.status == 400 && answer.message().contains(message), "{}", answer.body);
    }
}

#[tokio::test]
async fn its_heartbeat_and_its_host_name_work_at_the_logger() {
    let stack = Stack::start_direct(&[("LOGGER_HTTP_HOSTS", "logger-service, Logger2")]).await;
    let ask = async |host: &str| {
        let request = client().get(format!("http://{}/ping", stack.logger_at.http)).header("Host", host);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    for host in ["127.0.0.1", "logger-service", "LOGGER-SERVICE:8082", "logger2"] {
        assert_eq!(ask(host).await, (200, ".".to_owned()), "{host}");
    }
    for host in ["broker-service", "logger-service.evil.example"] {
        assert_eq!(ask(host).await.0, 403, "{host}");
    }
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
}
