//! What is in RabbitMQ reaches the store, whatever happens on the way.

use std::collections::HashSet;

use lapin::BasicProperties;
use nix::sys::signal::Signal;
use proto::Transport;
use serde_json::{Value, json};
use tests::{eventually, stack::Stack};
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
    stack.start_listener().await;
    all_are_stored_once(&stack, &ids).await;
    eventually("nothing is left", async || (stack.rabbitmq.depth("logs.entries").await == 0).then_some(()))
        .await;
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 0);
}

#[tokio::test]
async fn the_listener_hands_over_by_each_direct_transport() {
    for transport in ["http", "rpc", "grpc"] {
        let stack = Stack::start_with(&[("LISTENER_TRANSPORT", transport)]).await;
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
        (b"{\"name\":\"a\"}", "bad_field"),
        (b"{\"name\":\"a\",\"data\":\"\",\"colour\":1}", "bad_field"),
        (b"{\"name\":\"\",\"data\":\"\"}", "invalid_entry"),
        (b"{\"name\":\"a\",\"data\":\"b\\u0000\"}", "invalid_entry"),
    ];
    for (body, _) in garbage {
        stack.rabbitmq.publish("logs_topic", "log.INFO", body, BasicProperties::default()).await;
    }
    let after = queue_entries(&stack, 5).await;
    stack.start_listener().await;
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
    stack.logger.kill().await;
    let ids = queue_entries(&stack, 100).await;
    eventually("the listener holds what it has taken", async || {
        let listener = stack.listener.as_ref().expect("it runs");
        listener.log().contains("not delivered").then_some(())
    })
    .await;
    stack.start_logger().await;
    all_are_stored_once(&stack, &ids).await;
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 0);
    let attempts: u32 = stack.all_stored().await.iter().map(|entry| entry.attempts).sum();
    assert_eq!(attempts, 100, "each entry was written once: nothing was delivered twice");
}

#[tokio::test]
async fn all_that_rabbitmq_has_handed_over_counts_as_held_until_the_logger_has_stored_it() {
    const SENT: usize = 300;
    let mut stack = Stack::start().await;
    stack.logger.kill().await;
    let mut ids = queue_entries(&stack, 1).await;
    it_holds(&stack, 1).await;
    // More than half of the prefetch, so more than a batch.
    ids.extend(queue_entries(&stack, SENT - 1).await);
    it_holds(&stack, SENT).await;
    assert_eq!(stack.rabbitmq.depth("logs.entries").await, 0, "none is left to hand over");
    stack.start_logger().await;
    all_are_stored_once(&stack, &ids).await;
    it_holds(&stack, 0).await;
}

async fn it_holds(stack: &Stack, deliveries: usize) {
    eventually(&format!("the listener holds {deliveries}"), async || {
        let ready = stack.get_from_listener("/readyz").await;
        (ready.body["detail"]["held_deliveries"] == deliveries).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_held_when_rabbitmq_is_lost_is_taken_again_and_stored() {
    let mut stack = Stack::start_without_listener(&[]).await;
    let relay = stack.relay(Transport::Rabbitmq).await;
    stack.start_listener().await;
    stack.logger.kill().await;
    let ids = queue_entries(&stack, 100).await;
    it_holds(&stack, 100).await;
    relay.reset();
    it_holds(&stack, 0).await;
    stack.start_logger().await;
    all_are_stored_once(&stack, &ids).await;
}

#[tokio::test]
async fn a_listener_that_is_told_to_stop_leaves_the_rest_in_rabbitmq() {
    let mut stack = Stack::start().await;
    stack.logger.freeze().await;
    let ids = queue_entries(&stack, 2_000).await;
    let mut listener = stack.listener.take().expect("it runs");
    listener.signal(Signal::SIGTERM);
    assert!(listener.ended().await.success());
    eventually("all are back in the queue", async || {
        (stack.rabbitmq.depth("logs.entries").await == 2_000).then_some(())
    })
    .await;
    stack.logger.signal(Signal::SIGCONT);
    stack.start_listener().await;
    all_are_stored_once(&stack, &ids).await;
}
