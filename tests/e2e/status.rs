//! `GET /status` says how each part is, whatever is broken, and soon.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use proto::Transport;
use rig::Fault;
use serde_json::{Value, json};
use tests::{eventually, stack::Stack};
use uuid::Uuid;

/// Above the second that a silent service is given, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn while_all_is_well_every_part_says_so() {
    let stack = Stack::start().await;
    for transport in Transport::ALL {
        let answer = stack.log(transport, &json!({ "name": "event", "data": "" })).await;
        stack.eventually_stored(answer.id()).await;
    }
    let expected = json!({
        "broker": { "ready": true, "draining": false, "profile": proto::release::PROFILE },
        "logger": { "reachable": true, "ready": true, "store": "sqlite" },
        "loggers": [{
            "logger": stack.logger_at.http.to_string(),
            "address": stack.logger_at.http.to_string(),
            "reachable": true,
            "ready": true,
            "transports": { "http": true, "rpc": true, "grpc": true },
        }],
        "listener": {
            "reachable": true, "consuming": true, "waiting_for": null, "unacked": 0, "dead_letters_refused": false,
        },
        "rabbitmq": { "reachable": true, "queue": 0, "dead_letters": 0, "consumers": 1, "listeners": 1 },
        "transports": { "http": true, "rpc": true, "rabbitmq": true, "grpc": true },
    });
    until(&stack, "every part is well", |data| *data == expected).await;
    says(&stack, "all answer").await;
}

#[tokio::test]
async fn without_the_logger_the_queue_grows_and_with_it_it_drains() {
    const ENTRIES: u64 = 12;
    let mut stack = Stack::start_with(&[("LISTENER_PREFETCH", "2")]).await;
    stack.logger.kill().await.expect("it runs");
    let gone = json!({ "reachable": false, "ready": false, "store": null });
    until(&stack, "the logger is gone", |data| data["logger"] == gone).await;
    for _ in 0..ENTRIES {
        let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await;
        assert_eq!(answer.outcome(), "queued");
    }
    // What the listener holds is not counted by RabbitMQ.
    let ready = |data: &Value| data["rabbitmq"]["queue"].as_u64();
    let unacked = |data: &Value| data["listener"]["unacked"].as_u64().filter(|unacked| *unacked <= 2);
    let all = |data: &Value| ready(data).zip(unacked(data)).map(|(ready, unacked)| ready + unacked);
    until(&stack, "the queue grows", |data| all(data) == Some(ENTRIES)).await;
    says(&stack, "no answer: logger; the listener is not consuming, waiting for logger").await;
    stack.start_logger().await.expect("it starts");
    let drained = |data: &Value| ready(data) == Some(0) && data["listener"]["unacked"] == 0;
    let back = json!({ "reachable": true, "ready": true, "store": "sqlite" });
    until(&stack, "the queue drains", |data| drained(data) && data["logger"] == back).await;
}

#[tokio::test]
async fn dead_letters_are_counted() {
    let stack = Stack::start().await;
    let id = Uuid::now_v7();
    let entry = |data: &str| json!({ "id": id, "name": "event", "data": data });
    assert_eq!(stack.log(Transport::Http, &entry("one")).await.status, 202);
    assert_eq!(stack.log(Transport::Rabbitmq, &entry("other")).await.status, 202);
    until(&stack, "the conflict is counted", |data| data["rabbitmq"]["dead_letters"] == 1).await;
}

#[tokio::test]
async fn a_listener_that_was_never_there_and_a_silent_rabbitmq_are_told() {
    let mut stack = Stack::start_without_listener(&[]).await;
    let relay = stack.relay(Transport::Rabbitmq).await.expect("a relay");
    stack.broker.kill().await.expect("it runs");
    stack.start_broker().await.expect("it starts");
    let never = json!({ "reachable": false, "consuming": false, "waiting_for": null, "unacked": null, "dead_letters_refused": false });
    let counted = |data: &Value| data["rabbitmq"]["queue"] == 0 && data["listener"] == never;
    until(&stack, "the queue is counted", counted).await;
    relay.set_both(Fault::BlackHole);
    let silent = until(&stack, "the count is too old", |data| data["rabbitmq"]["queue"].is_null()).await;
    assert!(silent["rabbitmq"]["dead_letters"].is_null());
    relay.reset();
    relay.refuse();
    until(&stack, "the connection is lost", |data| data["rabbitmq"]["reachable"] == false).await;
    says(&stack, "no answer: listener, RabbitMQ").await;
}

#[tokio::test]
async fn however_many_ask_of_a_silent_logger_each_is_answered_soon_and_it_is_asked_once() {
    let stack = Stack::start().await;
    stack.logger.freeze().await.expect("it runs");
    let begun = Instant::now();
    for answer in join_all((0..200).map(|_| stack.get("/status"))).await {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["data"]["listener"]["reachable"], true);
    }
    // One after the other they would have waited for minutes.
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    until(&stack, "it answers again", |data| data["logger"]["ready"] == true).await;
}

/// Asks until the answer has this message.
async fn says(stack: &Stack, message: &str) {
    eventually(message, async || (stack.get("/status").await.message() == message).then_some(())).await;
}

/// Asks until the answer's data is as wanted.
async fn until(stack: &Stack, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let answer = stack.get("/status").await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]), (200, &json!(false)));
        Some(answer.body["data"].clone()).filter(&wanted)
    })
    .await
}
