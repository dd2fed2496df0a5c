//! Links over which an entry, a batch or a dead letter takes seconds.

use std::collections::HashSet;

use lapin::BasicProperties;
use proto::{Transport, limits::DATA_BYTES};
use rig::{Direction, Fault};
use serde_json::json;
use tests::{process::whole_log, stack::Stack};
use uuid::Uuid;

use super::{all_are_stored_once, it_holds, listener_says};

/// Queues `count` entries of the largest size.
async fn queue_large(stack: &Stack, count: usize) -> HashSet<Uuid> {
    let mut ids = HashSet::new();
    for _ in 0..count {
        let log = json!({ "name": "large", "data": "x".repeat(DATA_BYTES) });
        let answer = stack.log(Transport::Rabbitmq, &log).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        ids.insert(answer.id());
    }
    ids
}

#[tokio::test]
async fn what_is_on_its_way_from_rabbitmq_for_longer_than_two_looks_is_stored_at_its_first_delivery() {
    let mut stack = Stack::start_without_listener(&[]).await;
    // One on its way, and one that is ready meanwhile.
    let ids = queue_large(&stack, 2).await;
    let relay = stack.relay(Transport::Rabbitmq).await.expect("a relay");
    // More than five seconds for an entry.
    relay.set(Direction::ToClient, Fault::Bandwidth(50_000));
    stack.start_listener().await.expect("it starts");
    all_are_stored_once(&stack, &ids).await;
    let attempts: u32 = stack.all_stored().await.iter().map(|entry| entry.attempts).sum();
    assert_eq!(attempts, 2);
    let log = whole_log(&stack.listener).await;
    assert!(!log.contains("delivers nothing"), "{log}");
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_the_link_to_the_logger_is_stored_in_smaller_ones() {
    let mut stack = Stack::start_without_listener(&[("LISTENER_TRANSPORT", "http")]).await;
    let ids = queue_large(&stack, 34).await;
    let relay = stack.relay(Transport::Http).await.expect("a relay");
    // Seven megabytes within the deadline; a batch has eight.
    relay.set(Direction::ToServer, Fault::Bandwidth(1_400_000));
    stack.start_listener().await.expect("it starts");
    all_are_stored_once(&stack, &ids).await;
    it_holds(&stack, 0).await;
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 0);
}

#[tokio::test]
async fn a_dead_letter_that_takes_long_to_be_confirmed_is_told_and_published_once() {
    let mut stack = Stack::start_without_listener(&[]).await;
    let body = vec![b'x'; 700_000];
    stack.rabbitmq.publish("logs_topic", "log.INFO", &body, BasicProperties::default()).await;
    let relay = stack.relay(Transport::Rabbitmq).await.expect("a relay");
    // Seven seconds for it.
    relay.set(Direction::ToServer, Fault::Bandwidth(100_000));
    stack.start_listener().await.expect("it starts");
    listener_says(&stack, "dead_letters_refused", json!(true)).await;
    listener_says(&stack, "dead_letters_refused", json!(false)).await;
    it_holds(&stack, 0).await;
    assert_eq!(stack.rabbitmq.depth("logs.entries").await, 0);
    assert_eq!(stack.rabbitmq.depth("logs.dead").await, 1);
}
