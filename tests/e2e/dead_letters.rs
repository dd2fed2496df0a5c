//! What can never be stored: what of it is kept, what becomes of it, and what happens when there is no room for it.

use std::collections::BTreeMap;

use lapin::{
    BasicProperties,
    types::{AMQPValue, ShortString},
};
use nix::sys::signal::Signal;
use proto::Transport;
use rig::Process;
use serde_json::{Value, json};
use tests::{eventually, stack::Stack};
use uuid::Uuid;

use crate::cli::run;

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// All that a message can have, but for what would change what becomes of it.
fn properties() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/x-order".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(7)
        .with_correlation_id("correlation".into())
        .with_reply_to("replies".into())
        .with_message_id("order-4711".into())
        .with_timestamp(1_700_000_000)
        .with_type("order".into())
        .with_app_id("shop".into())
}

fn tenant() -> BTreeMap<ShortString, AMQPValue> {
    BTreeMap::from([("tenant".into(), text("blue"))])
}

async fn poison(stack: &Stack, id: &str) {
    let properties = BasicProperties::default().with_message_id(id.into());
    stack.rabbitmq.publish("logs_topic", "log.INFO", b"no JSON", properties).await;
}

async fn letters(stack: &Stack, count: usize) {
    stack.rabbitmq.holds("logs.dead", count).await;
}

#[tokio::test]
async fn a_dead_letter_keeps_all_that_the_message_had_and_comes_back_as_it_was() {
    let mut stack = Stack::start().await;
    let mut headers = tenant();
    headers.insert("CC".into(), AMQPValue::FieldArray(vec![text("log.ERROR")].into()));
    let message = properties().with_user_id("guest".into()).with_expiration("3600000".into());
    let message = message.with_headers(headers.into());
    stack.rabbitmq.publish("", "logs.entries", b"{\"data\":\"placed\"}", message).await;
    let dead = eventually("a dead letter", async || stack.rabbitmq.get("logs.dead").await).await;
    let mut headers = dead.delivery.properties.headers().clone().expect("headers").inner().clone();
    // RabbitMQ's, of this delivery.
    headers.remove("x-delivery-count");
    for ours in ["x-code", "x-reason", "x-dead-at"] {
        assert!(headers.remove(ours).is_some(), "{ours} of {headers:?}");
    }
    assert_eq!(headers, tenant());
    let kept = dead.delivery.properties.clone();
    assert_eq!(kept.with_headers(tenant().into()), properties().with_headers(tenant().into()));

    // It is put back once more, with a body that is an entry now, and its properties as they are.
    stack
        .rabbitmq
        .publish(
            "logs.dead",
            "log.ERROR",
            b"{\"name\":\"order\",\"data\":\"placed\"}",
            dead.delivery.properties.clone(),
        )
        .await;
    letters(&stack, 1).await;
    let mut listener = std::mem::take(&mut stack.listener);
    listener.kill().await.expect("it runs");
    let ran = run(&stack, &["dead", "retry", "order-4711"]).await.ended_with(0);
    assert!(ran.out.contains("1 dead letter put back"), "{ran:?}");
    let back = eventually("it is in the queue", async || stack.rabbitmq.get("logs.entries").await).await;
    let mut headers = back.delivery.properties.headers().clone().expect("headers").inner().clone();
    headers.remove("x-delivery-count");
    assert_eq!(headers, tenant());
    let (exchange, key) = (back.delivery.exchange.to_string(), back.delivery.routing_key.to_string());
    assert_eq!((exchange.as_str(), key.as_str()), ("logs_topic", "log.ERROR"));
    let back = back.delivery.properties.clone();
    assert_eq!(back.with_headers(tenant().into()), properties().with_headers(tenant().into()));
    letters(&stack, 0).await;
}

#[tokio::test]
async fn dead_letters_are_listed_shown_put_back_and_dropped() {
    let stack = Stack::start().await;
    let ran = run(&stack, &["dead", "list"]).await.ended_with(0);
    assert!(ran.out.is_empty() && ran.err.contains("there are no dead letters"), "{ran:?}");
    for number in 0..4 {
        poison(&stack, &format!("order-{number}")).await;
    }
    letters(&stack, 4).await;
    // So often that RabbitMQ 4 would drop them, were they not renewed: they are as they were.
    for _ in 0..25 {
        let ran = run(&stack, &["dead", "list", "--json"]).await.ended_with(0);
        let listed: Vec<Value> =
            ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(listed.len(), 4, "{ran:?}");
        assert!(listed.iter().all(|letter| letter["code"] == "bad_json" && letter["bytes"] == 7), "{ran:?}");
    }
    let ran = run(&stack, &["dead", "list", "--limit", "1"]).await.ended_with(0);
    assert!(ran.out.lines().count() == 1 && ran.err.contains("3 more"), "{ran:?}");
    let ran = run(&stack, &["dead", "show", "order-2"]).await.ended_with(0);
    assert!(
        ran.out.contains("bad_json") && ran.out.contains("no JSON") && ran.out.contains("log.INFO"),
        "{ran:?}"
    );
    let ran = run(&stack, &["dead", "show", "--body", "order-2"]).await.ended_with(0);
    assert_eq!(ran.out, "no JSON");

    for (refused, code, words) in [
        (&["dead", "show", "order-9"][..], 1, "order-9"),
        (&["dead", "retry", "order-9"], 1, "order-9"),
        (&["dead", "drop", "order-2"], 2, "--yes"),
        (&["dead", "retry"], 2, "Usage: fourwire dead retry [OPTIONS] <ID>..."),
        (&["dead"], 2, "fourwire dead [OPTIONS] <COMMAND>"),
        (&["dead", "list", "--rabbitmq-queue", "nowhere"], 1, "there is no queue nowhere.dead"),
        (&["dead", "list", "--rabbitmq-queue", "a b"], 2, "--rabbitmq-queue"),
    ] {
        let ran = run(&stack, refused).await.ended_with(code);
        assert!(ran.err.contains(words), "{ran:?}");
    }
    letters(&stack, 4).await;

    let ran = run(&stack, &["dead", "drop", "order-2", "--yes"]).await.ended_with(0);
    assert!(ran.out.contains("1 dead letter dropped"), "{ran:?}");
    letters(&stack, 3).await;
    // What still cannot be stored comes again.
    let ran = run(&stack, &["dead", "retry", "--all"]).await.ended_with(0);
    assert!(ran.out.contains("3 dead letters put back"), "{ran:?}");
    letters(&stack, 3).await;
    run(&stack, &["dead", "drop", "--all", "--yes"]).await.ended_with(0);
    letters(&stack, 0).await;
}

#[tokio::test]
async fn while_the_dead_letters_have_no_room_that_is_told_and_what_can_be_stored_is() {
    const QUEUE_BYTES: usize = 1_000;
    let stack = Stack::start().await;
    stack.rabbitmq.limit_queue("logs.dead", QUEUE_BYTES).await;
    let body = vec![b'x'; 2 * QUEUE_BYTES];
    stack.rabbitmq.publish("logs_topic", "log.INFO", &body, BasicProperties::default()).await;
    letters(&stack, 1).await;
    poison(&stack, "order-1").await;
    eventually("it is told", async || {
        let status = stack.get("/status").await;
        let refused = status.body["data"]["listener"]["dead_letters_refused"] == true;
        (refused && status.message().contains("fourwire dead")).then_some(())
    })
    .await;
    let ready = stack.get_from_listener("/readyz").await;
    assert_eq!(ready.body["detail"]["dead_letter_queue"], "logs.dead");
    let metrics = stack.get_from_listener("/metrics").await;
    assert!(metrics.status.is_success());
    eventually("the log tells it", async || {
        let log = stack.listener.log();
        (log.contains("cannot publish a dead letter") && log.contains("logs.dead")).then_some(())
    })
    .await;
    for number in 0..50 {
        let answer =
            stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": format!("{number}") })).await;
        assert_eq!(answer.outcome(), "queued");
        if number % 10 == 0 {
            poison(&stack, &format!("order-{number}")).await;
        }
    }
    eventually("the good ones are stored", async || (stack.all_stored().await.len() == 50).then_some(()))
        .await;
    stack.rabbitmq.get("logs.dead").await.expect("the first");
    letters(&stack, 6).await;
    eventually("all is well", async || (stack.get("/status").await.message() == "all answer").then_some(()))
        .await;
    assert_eq!(stack.rabbitmq.depth("logs.entries").await, 0);
}

#[tokio::test]
async fn a_dead_letter_that_is_given_up_at_the_end_is_not_acknowledged_with_what_came_after_it() {
    const QUEUE_BYTES: usize = 1_000;
    let mut stack = Stack::start().await;
    stack.rabbitmq.limit_queue("logs.dead", QUEUE_BYTES).await;
    let body = vec![b'x'; 2 * QUEUE_BYTES];
    stack.rabbitmq.publish("logs_topic", "log.INFO", &body, BasicProperties::default()).await;
    letters(&stack, 1).await;
    poison(&stack, "order-1").await;
    let holds = async |stack: &Stack, deliveries: usize| {
        eventually("it holds them", async || {
            let detail = stack.get_from_listener("/readyz").await.body["detail"].clone();
            let refused = detail["dead_letters_refused"] == true;
            (refused && detail["unacked_deliveries"] == deliveries).then_some(())
        })
        .await;
    };
    holds(&stack, 1).await;
    stack.logger.freeze().await.expect("it runs");
    let id = Uuid::now_v7();
    let entry = json!({ "id": id, "name": "event", "data": "" }).to_string();
    stack.rabbitmq.publish("logs_topic", "log.INFO", entry.as_bytes(), BasicProperties::default()).await;
    holds(&stack, 2).await;
    let mut listener = std::mem::take(&mut stack.listener);
    listener.signal(Signal::SIGTERM).expect("it runs");
    eventually("the letter is given up", async || {
        listener.log().contains("a dead letter stays in its queue").then_some(())
    })
    .await;
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    listener.ends_well().await.expect("it ends");
    assert!(!listener.log().contains("shutdown timed out"), "{}", listener.log());
    stack.eventually_stored(id).await;
    stack.rabbitmq.holds("logs.entries", 1).await;
    let left = stack.rabbitmq.get("logs.entries").await.expect("the letter");
    assert_eq!(left.delivery.data, b"no JSON");
}

#[tokio::test]
async fn another_stack_on_the_same_virtual_host_is_noticed_and_with_a_queue_of_its_own_it_takes_none_away() {
    let mut stack = Stack::start().await;
    let mut first = std::mem::take(&mut stack.listener);
    stack.set("LISTENER_HTTP_LISTEN", "127.0.0.1:0".to_owned());
    stack.start_listener().await.expect("it starts");
    eventually("a stranger is told of", async || {
        let status = stack.get("/status").await;
        let metrics = stack.get("/metrics").await;
        assert!(metrics.status.is_success());
        let two = status.body["data"]["rabbitmq"]["consumers"] == 2;
        (two && status.message().contains("BROKER_LISTENERS")).then_some(())
    })
    .await;
    let mut second = std::mem::take(&mut stack.listener);
    for listener in [&mut first, &mut second] {
        kill(listener).await;
    }
    stack.broker.kill().await.expect("it runs");
    stack.set("RABBITMQ_QUEUE", "team.logs".to_owned());
    stack.start_broker().await.expect("it starts");
    stack.reaches(&[Transport::Rabbitmq]).await.expect("it is ready");
    stack.start_listener().await.expect("it starts");
    let id = Uuid::now_v7();
    let answer = stack.log(Transport::Rabbitmq, &json!({ "id": id, "name": "event", "data": "" })).await;
    assert_eq!(answer.outcome(), "queued");
    stack.eventually_stored(id).await;
    poison(&stack, "order-1").await;
    stack.rabbitmq.holds("team.logs.dead", 1).await;
    // The exchange is everybody's: the other queue has its own of each.
    stack.rabbitmq.holds("logs.entries", 2).await;
    let ran = run(&stack, &["dead", "list", "--rabbitmq-queue", "team.logs"]).await.ended_with(0);
    assert!(ran.out.contains("order-1"), "{ran:?}");
}

async fn kill(process: &mut Process) {
    process.kill().await.expect("it runs");
}
