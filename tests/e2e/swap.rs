//! Each service of the course can take the place of ours, and ours of its: the table of docs/compatibility.md, cell by
//! cell. The services in Go are those of `tests/go`.

use proto::{StoredEntry, Transport};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{client, eventually, golang::Service, stack::Stack};

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Sends an entry to the course's broker. It must say that it is accepted.
async fn ask(broker: &Service) -> Value {
    let body = json!({ "action": "log", "log": { "name": "event", "data": "some data" } });
    let address = format!("http://{}/handle", broker.at["http"]);
    let answer = client().post(address).body(body.to_string()).send().await.expect("an answer");
    assert_eq!(answer.status(), 202);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["error"], false, "{body}");
    body
}

async fn the_only_entry(stack: &Stack) -> StoredEntry {
    let stored = eventually("it is stored", async || {
        Some(stack.all_stored().await).filter(|stored| !stored.is_empty())
    });
    let [entry] = stored.await.try_into().expect("one entry");
    assert_eq!((entry.name.as_str(), entry.data.as_str()), ("event", "some data"));
    entry
}

/// That the course's logger has the entry, once, by this transport.
async fn has_the_entry(logger: &Service, by: &str) {
    let stored = eventually("the logger in Go has it", async || {
        Some(logger.stored().await).filter(|stored| !stored.is_empty())
    });
    let text = str::to_owned;
    assert_eq!(stored.await, [(text("event"), text("some data"), text(by))]);
}

/// How a service of ours finds the course's logger.
fn leading_to(logger: &Service) -> [(&'static str, String); 3] {
    [
        ("LOGGER_HTTP_URL", format!("http://{}", logger.at["http"])),
        ("LOGGER_RPC_ADDR", format!("netrpc://{}", logger.at["rpc"])),
        ("LOGGER_GRPC_URL", format!("http://{}", logger.at["grpc"])),
    ]
}

fn given<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The flags by which the course's services find a logger, and RabbitMQ.
fn flags(http: &str, rpc: &str, grpc: &str, stack: &Stack) -> Vec<String> {
    ["-logger-http", http, "-logger-rpc", rpc, "-logger-grpc", grpc, "-amqp", &stack.rabbitmq.url()]
        .map(str::to_owned)
        .into()
}

async fn go_broker(transport: Transport, flags: &[String], dir: &TempDir) -> Service {
    let mut arguments = vec!["-transport", transport.as_str()];
    arguments.extend(flags.iter().map(String::as_str));
    Service::start("broker", &arguments, dir.path()).await
}

/// The course's listener, which hands over by HTTP or net/rpc.
async fn go_listener(transport: Transport, logger: &str, stack: &Stack, dir: &TempDir) -> Service {
    let flag = if transport == Transport::Http { "-logger-http" } else { "-logger-rpc" };
    Service::start("listener", &["-amqp", &stack.rabbitmq.url(), flag, logger], dir.path()).await
}

/// The course's broker before our logger, and before our listener where it publishes.
async fn its_broker(transport: Transport) {
    let (stack, dir) = (Stack::start().await, directory());
    let at = stack.logger_at;
    let http = format!("http://{}/log", at.http);
    let flags = flags(&http, &at.netrpc.to_string(), &at.grpc.to_string(), &stack);
    let broker = go_broker(transport, &flags, &dir).await;
    let body = ask(&broker).await;
    assert_eq!(the_only_entry(&stack).await.transport, transport);
    if transport == Transport::Rpc {
        assert_eq!(body["message"], "Processed payload via RPC:event");
    }
}

/// The course's logger behind our broker, and behind our listener where that publishes.
async fn its_logger(transport: Transport) {
    let dir = directory();
    let logger = Service::start("logger", &[], dir.path()).await;
    let settings = leading_to(&logger);
    let stack = Stack::start_with(&given(&settings)).await;
    let answer = stack.log(transport, &json!({ "name": "event", "data": "some data" })).await;
    let outcome = if transport == Transport::Rabbitmq { "queued" } else { "stored" };
    assert_eq!((answer.status.as_u16(), answer.outcome()), (202, outcome), "{}", answer.body);
    has_the_entry(&logger, if transport == Transport::Rabbitmq { "rpc" } else { transport.as_str() }).await;
}

for_each_transport!(its_broker, its_logger);

/// The course's listener between our broker and our logger.
async fn its_listener(transport: Transport) {
    let (stack, dir) = (Stack::start_without_listener(&[]).await, directory());
    let at = stack.logger_at;
    let logger =
        if transport == Transport::Http { format!("http://{}/log", at.http) } else { at.netrpc.to_string() };
    let _listener = go_listener(transport, &logger, &stack, &dir).await;
    let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "some data" })).await;
    assert_eq!(answer.outcome(), "queued", "{}", answer.body);
    // It does not say that the entry came over RabbitMQ.
    assert_eq!(the_only_entry(&stack).await.transport, transport);
}

/// The course's broker and listener before our logger.
async fn its_broker_and_listener(transport: Transport) {
    let (stack, dir) = (Stack::start_without_listener(&[]).await, directory());
    let at = stack.logger_at;
    let logger =
        if transport == Transport::Http { format!("http://{}/log", at.http) } else { at.netrpc.to_string() };
    let _listener = go_listener(transport, &logger, &stack, &dir).await;
    ask(&go_broker(Transport::Rabbitmq, &flags("", "", "", &stack), &dir).await).await;
    assert_eq!(the_only_entry(&stack).await.transport, transport);
}

/// The course's listener and logger behind our broker.
async fn its_listener_and_logger(transport: Transport) {
    let dir = directory();
    let logger = Service::start("logger", &[], dir.path()).await;
    let stack = Stack::start_without_listener(&[]).await;
    let http = format!("http://{}/log", logger.at["http"]);
    let rpc = logger.at["rpc"].to_string();
    let leads_to = if transport == Transport::Http { http } else { rpc };
    let _listener = go_listener(transport, &leads_to, &stack, &dir).await;
    let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "some data" })).await;
    assert_eq!(answer.outcome(), "queued", "{}", answer.body);
    has_the_entry(&logger, transport.as_str()).await;
}

/// Our listener between the course's broker and logger.
async fn its_broker_and_logger(transport: Transport) {
    let dir = directory();
    let logger = Service::start("logger", &[], dir.path()).await;
    let mut settings = leading_to(&logger).to_vec();
    settings.push(("LISTENER_TRANSPORT", transport.as_str().to_owned()));
    let stack = Stack::start_with(&given(&settings)).await;
    ask(&go_broker(Transport::Rabbitmq, &flags("", "", "", &stack), &dir).await).await;
    has_the_entry(&logger, transport.as_str()).await;
}

/// A test for each transport by which the listener hands over.
macro_rules! handing_over {
    ($($behaviour:ident: $($name:ident $transport:ident),+;)+) => {
        $(
            mod $behaviour {
                use proto::Transport;
                $(
                    #[tokio::test]
                    async fn $name() {
                        super::$behaviour(Transport::$transport).await;
                    }
                )+
            }
        )+
    };
}

handing_over! {
    its_listener: http Http, rpc Rpc;
    its_broker_and_listener: http Http, rpc Rpc;
    its_listener_and_logger: http Http, rpc Rpc;
    its_broker_and_logger: http Http, rpc Rpc, grpc Grpc;
}

#[tokio::test]
async fn a_batch_goes_to_its_logger_in_single_calls_over_net_rpc() {
    let dir = directory();
    let logger = Service::start("logger", &[], dir.path()).await;
    let settings = leading_to(&logger);
    let stack = Stack::start_with(&given(&settings)).await;
    let entry = |number: usize| json!({ "name": format!("event-{number}"), "data": "some data" });
    // Through RabbitMQ, where each entry of a batch is a message, the listener hands over what it has at once.
    let batch: Vec<Value> = (0..50).map(entry).collect();
    let answer = stack.log(Transport::Rabbitmq, &json!(batch)).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    eventually("all are there", async || (logger.stored().await.len() == 50).then_some(())).await;
    // In one transaction it cannot be stored there, and nothing of it is.
    let answer = stack.log(Transport::Rpc, &json!(batch)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"), "{}", answer.body);
    // Many at a time have a call each, and none gathers with others.
    let entries: Vec<Value> = (1_000..1_064).map(entry).collect();
    let calls = entries.iter().map(|entry| stack.log(Transport::Rpc, entry));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status == 202), "{answers:?}");
    assert_eq!(logger.stored().await.len(), 50 + 64);
}

#[tokio::test]
async fn what_its_logger_refuses_is_told_in_its_own_words_and_is_not_called_stored() {
    let dir = directory();
    let logger = Service::start("logger", &[], dir.path()).await;
    let settings = leading_to(&logger);
    let stack = Stack::start_without_listener(&given(&settings)).await;
    for transport in tests::DIRECT {
        let answer = stack.log(transport, &json!({ "name": "refused", "data": "" })).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (504, "outcome_unknown"), "{}", answer.body);
        assert!(answer.message().contains("server selection error"), "{transport}: {}", answer.message());
    }
    assert!(logger.stored().await.is_empty());
}

#[tokio::test]
async fn another_server_at_the_loggers_address_is_told_apart_from_one_that_is_down() {
    let dir = directory();
    let other = Service::start("logger", &["-bare"], dir.path()).await;
    let settings = leading_to(&other);
    let stack = Stack::start_without_listener(&given(&settings)).await;
    for (transport, setting) in [
        (Transport::Http, "LOGGER_HTTP_URL"),
        (Transport::Rpc, "LOGGER_RPC_ADDR"),
        (Transport::Grpc, "LOGGER_GRPC_URL"),
    ] {
        let answer = stack.log(transport, &json!({ "name": "event", "data": "" })).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (502, "no_such_call"), "{}", answer.body);
        assert_eq!(answer.body["data"]["retryable"], false);
        assert!(answer.message().contains(&format!("is {setting} right?")), "{}", answer.message());
    }
}

#[tokio::test]
async fn its_logger_may_have_its_call_at_another_path() {
    let dir = directory();
    // As in go-microservices.
    let logger = Service::start("logger", &["-path", "/api/log"], dir.path()).await;
    for path in ["/api", "/api/log"] {
        let url = format!("http://{}{path}", logger.at["http"]);
        let stack = Stack::start_without_listener(&[("LOGGER_HTTP_URL", &url)]).await;
        let answer = stack.log(Transport::Http, &json!({ "name": "event", "data": "some data" })).await;
        assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "stored"), "{}", answer.body);
    }
    assert_eq!(logger.stored().await.len(), 2);
}
