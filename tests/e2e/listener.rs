//! What is in RabbitMQ reaches the store, whatever happens on the way.

mod slow_links;

use std::collections::HashSet;

use lapin::{BasicProperties, options::QueueDeleteOptions};
use nix::sys::signal::Signal;
use proto::Transport;
use serde_json::{Value, json};
use tests::{DIRECT, eventually, process::whole_log, stack::Stack};
use uuid::Uuid;

/// Queues `count` entries through the broker; their ids.
async fn queue_entries(stack: &Stack, count: usize) -> HashSet<Uuid> {
    const BATCH: usize = 1_000;
    let mut ids = HashSet::new();
    for first in (0..count).step_by(BATCH) {
        let batch: Vec<Value> = (first..count.min(first + BATCH))
            .map(|n| json!({ "id": Uuid::now_v7(), "name": "event", "data": format!("{n}") }))
            .collect();
        let answer = stack.log(Transport::Rabbitmq, &json!(batch)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        ids.extend(batch.iter().map(|log| log["id"].as_str().expect("text").parse::<Uuid>().expect("an id")));
    }
    ids
}

async fn all_are_stored_once(stack: &Stack, ids: &HashSet<Uuid>) {
    let stored = eventually("all are stored", async || {
        Some(stack.all_stored().await).filter(|stored| stored.len() >= ids.len())
    });
    let stored: Vec<Uuid> = stored.await.into_iter().map(|entry| entry.id).collect();
    assert_eq!(stored.len(), ids.len());
    assert_eq!(&stored.into_iter().collect::<HashSet<_>>(), ids);
}

#[tokio::test]
async fn ten_thousand_queued_entries_are_stored_once_when_the_listener_starts() {
    let mut stack = Stack::start_without_listener(&[]).await;
    let ids = queue_entries(&stack, 10_000).await;
    assert!(stack.all_stored().await.is_empty());
    stack.start_listener().await.expect("it starts");
    all_are_stored_once(&stack, &ids).await;
    eventually("nothing is left", async || (stack.rabbitmq.depth("logs.entries").await == 0).then_some(()))
        .await;
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 0);
}

#[tokio::test]
async fn the_listener_hands_over_by_each_direct_transport() {
    for transport in DIRECT {
        let stack = Stack::start_with(&[("LISTENER_TRANSPORT", transport.as_str())]).await;
        let ids = queue_entries(&stack, 10).await;
        all_are_stored_once(&stack, &ids).await;
        assert!(stack.all_stored().await.iter().all(|entry| entry.transport == Transport::Rabbitmq));
    }
}

#[tokio::test]
async fn what_can_never_be_stored_is_a_dead_letter_at_the_first_try_and_its_neighbours_are_stored() {
    let mut stack = Stack::start_without_listener(&[]).await;
    let before = queue_entries(&stack, 5).await;
    let garbage: [(&[u8], &str); 6] = [
        (b"\x00\xff not JSON", "bad_json"),
        (b"", "bad_json"),
        (b"{\"data\":\"b\"}", "bad_field"),
        (b"{\"name\":\"a\",\"data\":\"\",\"colour\":1}", "bad_field"),
        (b"{\"name\":\"\",\"data\":\"\"}", "invalid_entry"),
        (b"{\"name\":\"a\",\"data\":\"b\\u0000\"}", "invalid_entry"),
    ];
    for (body, _) in garbage {
        stack.rabbitmq.publish("logs_topic", "log.INFO", body, BasicProperties::default()).await;
    }
    let after = queue_entries(&stack, 5).await;
    stack.start_listener().await.expect("it starts");
    all_are_stored_once(&stack, &before.union(&after).copied().collect()).await;
    for (body, code) in garbage {
        let dead = eventually("a dead letter", async || stack.rabbitmq.get("logs.dead").await).await;
        assert_eq!(dead.delivery.data, body, "the letters come in the order of the garbage, as they were");
        assert_eq!(dead.delivery.routing_key.as_str(), "log.INFO");
        let headers = dead.delivery.properties.headers().clone().expect("headers");
        let header = |name| headers.inner()[name].as_long_string().expect("text").to_string();
        assert_eq!(header("x-code"), code);
        assert!(!header("x-reason").is_empty());
    }
    eventually("nothing is left", async || (stack.rabbitmq.depth("logs.entries").await == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn while_the_logger_is_down_entries_wait_and_none_goes_in_circles() {
    let mut stack = Stack::start().await;
    stack.logger.kill().await.expect("it runs");
    let ids = queue_entries(&stack, 100).await;
    listener_says(&stack, "waiting_for", json!("logger")).await;
    stack.start_logger().await.expect("it starts");
    all_are_stored_once(&stack, &ids).await;
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 0);
    let attempts: u32 = stack.all_stored().await.iter().map(|entry| entry.attempts).sum();
    assert_eq!(attempts, 100, "each entry was written once: nothing was delivered twice");
}

#[tokio::test]
async fn all_that_rabbitmq_has_handed_over_counts_as_held_until_the_logger_has_stored_it() {
    /// More than half of the prefetch, so more than a batch.
    const SENT: usize = 300;
    let stack = Stack::start().await;
    let mut ids = grown(&stack).await;
    stack.logger.freeze().await.expect("it runs");
    ids.extend(queue_entries(&stack, SENT).await);
    it_holds(&stack, SENT).await;
    assert_eq!(stack.rabbitmq.depth("logs.entries").await, 0, "none is left to hand over");
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    all_are_stored_once(&stack, &ids).await;
    it_holds(&stack, 0).await;
}

#[tokio::test]
async fn of_what_could_not_be_stored_the_log_says_that_it_stays_in_the_queue() {
    let mut stack = Stack::start().await;
    stack.logger.freeze().await.expect("it runs");
    let ids = queue_entries(&stack, 1).await;
    it_holds(&stack, 1).await;
    stack.logger.kill().await.expect("it runs");
    eventually("the log says what happens next", async || {
        stack.listener.log().contains("not stored: stays in the queue, and is retried").then_some(())
    })
    .await;
    stack.start_logger().await.expect("it starts");
    all_are_stored_once(&stack, &ids).await;
}

#[tokio::test]
async fn while_the_logger_is_down_nothing_is_taken_and_then_all_of_it() {
    let mut stack = Stack::start().await;
    let mut ids = grown(&stack).await;
    stack.logger.kill().await.expect("it runs");
    listener_says(&stack, "consuming", json!(false)).await;
    ids.extend(queue_entries(&stack, 100).await);
    stack.rabbitmq.holds("logs.entries", 100).await;
    it_holds(&stack, 0).await;
    stack.start_logger().await.expect("it starts");
    all_are_stored_once(&stack, &ids).await;
    listener_says(&stack, "consuming", json!(true)).await;
    let attempts: u32 = stack.all_stored().await.iter().map(|entry| entry.attempts).sum();
    assert_eq!(attempts as usize, ids.len(), "nothing was delivered twice");
}

#[tokio::test]
async fn what_large_messages_take_while_the_logger_is_frozen_has_a_bound() {
    /// Each control character takes six bytes in JSON: 1.5 MiB.
    const SENT: usize = 120;
    const MOST_BYTES: u64 = 128 * 1024 * 1024;
    let stack = Stack::start().await;
    let ids = grown(&stack).await;
    stack.logger.freeze().await.expect("it runs");
    let body = format!("{{\"name\":\"large\",\"data\":\"{}\"}}", "\\u0001".repeat(proto::limits::DATA_BYTES));
    for _ in 0..SENT {
        stack.rabbitmq.publish("logs_topic", "log.INFO", body.as_bytes(), BasicProperties::default()).await;
        let held = stack.get_from_listener("/readyz").await.body["detail"]["unacked_bytes"].as_u64();
        assert!(held.expect("a number") < MOST_BYTES, "{held:?}");
    }
    assert!(stack.rabbitmq.depth("logs.entries").await > 0, "it has not taken all of it");
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    eventually("all are stored", async || (stack.rabbitmq.depth("logs.entries").await == 0).then_some(()))
        .await;
    it_holds(&stack, 0).await;
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 0);
    let ids = ids.len() + SENT;
    eventually("all are stored", async || (stack.all_stored().await.len() == ids).then_some(())).await;
}

#[tokio::test]
async fn a_listener_that_is_there_first_finds_nothing_to_complain_of() {
    let mut stack = Stack::start_direct(&[]).await;
    stack.broker.kill().await.expect("it runs");
    let (_connection, channel) = stack.rabbitmq.channel().await;
    for queue in ["logs.entries", "logs.dead"] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("deleted");
    }
    stack.start_listener().await.expect("it starts");
    eventually("the queues are counted", async || {
        let metrics = stack.get_from_listener("/metrics").await;
        metrics.status.is_success().then_some(())
    })
    .await;
    let log = whole_log(&stack.listener).await;
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

#[tokio::test]
async fn an_applications_own_message_id_makes_a_redelivery_the_same_entry() {
    let stack = Stack::start().await;
    let body = br#"{"name":"order","data":"placed"}"#;
    let order = || BasicProperties::default().with_message_id("order-4711".into());
    for _ in 0..2 {
        stack.rabbitmq.publish("logs_topic", "log.warn", body, order()).await;
    }
    let stored = eventually("both are stored as one", async || {
        stack.all_stored().await.into_iter().next().filter(|entry| entry.attempts == 2)
    })
    .await;
    assert_eq!((stored.id.get_version_num(), stored.level), (5, proto::Level::Warning));
    stack.rabbitmq.publish("logs_topic", "log.SHOUT", b"{\"name\":\"a\",\"data\":\"\"}", order()).await;
    eventually("another content is another entry", async || {
        (stack.all_stored().await.len() == 2).then_some(())
    })
    .await;
    let listener = &stack.listener;
    eventually("a level that is not known is told", async || {
        listener.log().contains("log.SHOUT").then_some(())
    })
    .await;
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 0);
}

#[tokio::test]
async fn headers_that_are_nested_deeply_end_no_listener() {
    const LEVELS: usize = 4_000;
    let stack = Stack::start().await;
    stack.rabbitmq.publish_nested("log.INFO", r#"{"name":"nested","data":""}"#, LEVELS).await;
    stack.rabbitmq.publish_nested("log.INFO", "no JSON", LEVELS).await;
    eventually("it is stored", async || (stack.all_stored().await.len() == 1).then_some(())).await;
    let dead = eventually("the other is a dead letter", async || stack.rabbitmq.get("logs.dead").await).await;
    assert_eq!(dead.delivery.data, b"no JSON", "what can be read of its headers can be read by all");
    let starts = stack.listener.log().matches("listener ready").count();
    assert_eq!(starts, 1);
}

/// Entries that are stored, so many that as much is taken at a time as ever is.
async fn grown(stack: &Stack) -> HashSet<Uuid> {
    let ids = queue_entries(stack, 700).await;
    all_are_stored_once(stack, &ids).await;
    it_holds(stack, 0).await;
    ids
}

async fn it_holds(stack: &Stack, deliveries: usize) {
    listener_says(stack, "unacked_deliveries", json!(deliveries)).await;
}

/// Waits until a field of what the listener says at `/readyz` has this value.
async fn listener_says(stack: &Stack, field: &str, value: Value) {
    eventually(&format!("the listener says {field} {value}"), async || {
        let ready = stack.get_from_listener("/readyz").await;
        (ready.body["detail"][field] == value).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_held_when_rabbitmq_is_lost_is_taken_again_and_stored() {
    let mut stack = Stack::start_without_listener(&[]).await;
    let relay = stack.relay(Transport::Rabbitmq).await.expect("a relay");
    stack.start_listener().await.expect("it starts");
    let mut ids = grown(&stack).await;
    stack.logger.freeze().await.expect("it runs");
    ids.extend(queue_entries(&stack, 100).await);
    it_holds(&stack, 100).await;
    relay.reset();
    it_holds(&stack, 0).await;
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    all_are_stored_once(&stack, &ids).await;
}

#[tokio::test]
async fn a_listener_that_is_told_to_stop_leaves_the_rest_in_rabbitmq() {
    let mut stack = Stack::start().await;
    stack.logger.freeze().await.expect("it runs");
    let ids = queue_entries(&stack, 2_000).await;
    let mut listener = std::mem::take(&mut stack.listener);
    listener.stop().await.expect("it ends");
    eventually("all are back in the queue", async || {
        (stack.rabbitmq.depth("logs.entries").await == 2_000).then_some(())
    })
    .await;
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    stack.start_listener().await.expect("it starts");
    all_are_stored_once(&stack, &ids).await;
}
