//! What a caller is told when something is down, and that all is well again when it is back.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use lapin::{
    options::{ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use nix::sys::signal::Signal;
use proto::Transport;
use serde_json::json;
use tests::{
    DIRECT, eventually,
    stack::Stack,
    tls,
    torture::load::{self, Load},
};
use uuid::Uuid;

for_each_transport!(
    a_dead_logger_is_answered_at_once_and_the_next_entry_after_its_return_is_stored,
    a_frozen_logger_is_answered_within_the_deadline_and_the_retry_is_safe,
);

/// Far above what a refusal takes, far below the deadline.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn a_dead_logger_is_answered_at_once_and_the_next_entry_after_its_return_is_stored(
    transport: Transport,
) {
    let mut stack = Stack::start().await;
    let log = json!({ "name": "event", "data": "" });
    assert_eq!(stack.log(transport, &log).await.status, 202);
    stack.logger.kill().await.expect("it runs");
    if transport == Transport::Rabbitmq {
        let answer = stack.log(transport, &log).await;
        assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "queued"));
        stack.start_logger().await.expect("it starts");
        stack.eventually_stored(answer.id()).await;
        return;
    }
    // The first call may have been under way when the connection broke.
    eventually("the loss is noticed", async || {
        let answer = stack.log(transport, &log).await;
        assert!(matches!(answer.code(), "unavailable" | "outcome_unknown"), "{}", answer.body);
        (answer.code() == "unavailable").then_some(())
    })
    .await;
    let mut took = Vec::new();
    for _ in 0..20 {
        let answer = stack.log(transport, &log).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
        assert_eq!(answer.body["data"]["retryable"], true);
        assert!(answer.headers.contains_key("retry-after"));
        answer.id();
        took.push(answer.took);
    }
    let told = "not stored: the caller is told so";
    eventually(told, async || stack.broker.log().contains(told).then_some(())).await;
    // The machine may stall now and then.
    took.sort_unstable();
    assert!(took[took.len() / 2] < AT_ONCE, "{took:?}");
    stack.start_logger().await.expect("it starts");
    let answer = eventually("the broker is back", async || {
        Some(stack.log(transport, &log).await).filter(|answer| answer.status == 202)
    });
    assert_eq!(answer.await.outcome(), "stored");
}

async fn a_frozen_logger_is_answered_within_the_deadline_and_the_retry_is_safe(transport: Transport) {
    const DEADLINE_MS: u64 = 700;
    // Over RabbitMQ there is nothing to wait for.
    let settings: &[(&str, &str)] =
        if transport == Transport::Rabbitmq { &[] } else { &[("BROKER_DEADLINE_MS", "700")] };
    let stack = Stack::start_with(settings).await;
    // So that a connection is open: without one, a handshake of TLS that nobody answers is a certain failure.
    let before = stack.log(transport, &json!({ "name": "before", "data": "" })).await;
    stack.eventually_stored(before.id()).await;
    stack.logger.freeze().await.expect("it runs");
    let id = Uuid::now_v7();
    let log = json!({ "id": id, "name": "event", "data": "" });
    if transport == Transport::Rabbitmq {
        let answer = stack.log(transport, &log).await;
        assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "queued"));
    } else {
        // The machine may stall now and then: the fastest of some counts.
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let answer = stack.log(transport, &log).await;
            assert_eq!((answer.status.as_u16(), answer.code(), answer.id()), (504, "outcome_unknown", id));
            fastest = fastest.min(answer.took);
        }
        assert!(fastest < Duration::from_millis(DEADLINE_MS) + AT_ONCE, "{fastest:?}");
    }
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    eventually("the retry is accepted", async || {
        Some(stack.log(transport, &log).await).filter(|answer| answer.status == 202)
    })
    .await;
    stack.eventually_stored(id).await;
    assert_eq!(stack.all_stored().await.len(), 2);
}

#[tokio::test]
async fn a_refusal_over_grpc_shows_that_the_logger_is_back() {
    let mut stack = Stack::start_direct(&[]).await;
    let id = Uuid::now_v7();
    let entry = |data: &str| json!({ "id": id, "name": "event", "data": data });
    assert_eq!(stack.log(Transport::Http, &entry("first")).await.status, 202);
    stack.logger.kill().await.expect("it runs");
    let reachable = async || stack.get("/readyz").await.body["detail"]["reachable"]["grpc"].clone();
    eventually("the loss is noticed", async || {
        stack.log(Transport::Grpc, &entry("first")).await;
        (reachable().await == false).then_some(())
    })
    .await;
    stack.start_logger().await.expect("it starts");
    eventually("the logger refuses", async || {
        (stack.log(Transport::Grpc, &entry("other")).await.code() == "conflict").then_some(())
    })
    .await;
    assert_eq!(stack.get("/readyz").await.body["detail"]["reachable"]["grpc"], true);
}

#[tokio::test]
async fn each_transport_finds_the_logger_again_though_nobody_calls() {
    let mut stack = Stack::start_direct(&[]).await;
    let reachable = async |stack: &Stack, is: bool| {
        let ready = stack.get("/readyz").await;
        DIRECT
            .iter()
            .all(|transport| ready.body["detail"]["reachable"][transport.as_str()] == is)
            .then_some(())
    };
    for _ in 0..2 {
        stack.logger.kill().await.expect("it runs");
        eventually("the loss is noticed", async || {
            for transport in DIRECT {
                stack.log(transport, &json!({ "name": "event", "data": "" })).await;
            }
            reachable(&stack, false).await
        })
        .await;
        stack.start_logger_unasked().await.expect("it starts");
        eventually("it is found again", async || reachable(&stack, true).await).await;
        for transport in DIRECT {
            let answer = stack.log(transport, &json!({ "name": "event", "data": "" })).await;
            assert_eq!(answer.outcome(), "stored", "{transport}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn without_rabbitmq_the_other_three_go_on() {
    // Nobody listens on port 1.
    let scheme = if tls::directory().is_some() { "amqps" } else { "amqp" };
    let url = format!("{scheme}://guest:guest@127.0.0.1:1/%2f");
    let stack = Stack::start_direct(&[("AMQP_URL", url.as_str())]).await;
    for transport in Transport::ALL {
        let answer = stack.log(transport, &json!({ "name": "event", "data": "" })).await;
        if transport == Transport::Rabbitmq {
            assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
            assert!(answer.took < AT_ONCE, "{:?}", answer.took);
        } else {
            assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "stored"));
        }
    }
    assert_eq!(stack.get("/readyz").await.status, 200, "a broker with three transports is ready");
}

#[tokio::test]
async fn a_queue_that_was_deleted_is_declared_again_though_another_takes_its_messages() {
    let stack = Stack::start_without_listener(&[]).await;
    let (_connection, channel) = stack.rabbitmq.channel().await;
    // With another queue bound no message is returned: the broker cannot see the loss by that.
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let other = channel.queue_declare("".into(), options, FieldTable::default()).await.expect("a queue");
    let everything = channel.queue_bind(
        other.name().clone(),
        "logs_topic".into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    everything.await.expect("bound");
    channel.queue_delete("logs.entries".into(), QueueDeleteOptions::default()).await.expect("deleted");
    eventually("it is there again", async || stack.rabbitmq.has_queue("logs.entries").await.then_some(()))
        .await;
    // It is bound a moment after it is there.
    eventually("it takes messages again", async || {
        let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await;
        assert_eq!(answer.outcome(), "queued", "{}", answer.body);
        (stack.rabbitmq.depth("logs.entries").await > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_is_answered_503_and_holds_just_what_was_accepted() {
    /// Room for a few entries of a kilobyte.
    const QUEUE_BYTES: usize = 50_000;
    const SENT: usize = 500;
    let mut stack = Stack::start_without_listener(&[]).await;
    stack.rabbitmq.limit_queues(QUEUE_BYTES).await;
    let mut accepted = HashSet::new();
    let mut refused = 0;
    for _ in 0..SENT {
        let log = json!({ "name": "event", "data": "x".repeat(1_000) });
        let answer = stack.log(Transport::Rabbitmq, &log).await;
        if answer.status == 202 {
            accepted.insert(answer.id());
        } else {
            assert_eq!((answer.status.as_u16(), answer.code()), (503, "overloaded"), "{}", answer.body);
            refused += 1;
        }
    }
    assert!(refused > SENT / 2, "the queue took {} of {SENT}", accepted.len());
    stack.rabbitmq.holds("logs.entries", accepted.len()).await;
    stack.start_listener().await.expect("it starts");
    eventually("there is room again", async || {
        let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await;
        (answer.status == 202).then(|| accepted.insert(answer.id()))
    })
    .await;
    eventually("what was accepted is stored", async || {
        let stored: HashSet<Uuid> = stack.all_stored().await.iter().map(|row| row.id).collect();
        assert!(stored.is_subset(&accepted), "what was refused is not stored");
        (stored == accepted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn after_a_queue_was_deleted_under_load_all_that_is_accepted_is_in_the_new_one() {
    /// Callers at a time, so that many an entry is returned among others.
    const CALLERS: usize = 20;
    let stack = Stack::start_without_listener(&[]).await;
    let (_connection, channel) = stack.rabbitmq.channel().await;
    let log = json!({ "name": "event", "data": "" });
    for _ in 0..5 {
        channel.queue_delete("logs.entries".into(), QueueDeleteOptions::default()).await.expect("deleted");
        let mut accepted = 0;
        while accepted < 5 * CALLERS {
            for answer in join_all((0..CALLERS).map(|_| stack.log(Transport::Rabbitmq, &log))).await {
                // Returned before it was declared again; or a nack, if it went with the old one.
                let refused = || ["unavailable", "overloaded"].contains(&answer.code());
                assert!(answer.status == 202 || refused(), "{}", answer.body);
                accepted += usize::from(answer.status == 202);
            }
        }
        stack.rabbitmq.holds("logs.entries", accepted).await;
    }
}

#[tokio::test]
async fn a_channel_that_rabbitmq_closes_is_soon_replaced_and_nothing_is_lost() {
    /// Less than what a lost heartbeat would take. On a machine that is compiling it was once 2.2 s.
    const REPLACED_WITHIN: Duration = Duration::from_secs(8);
    let stack = Stack::start().await;
    let load = load::start(&stack, &[Transport::Rabbitmq], 16, 1);
    let (_connection, channel) = stack.rabbitmq.channel().await;
    for _ in 0..5 {
        load.goes_on(100).await.expect("it goes on");
        // A publish to an exchange that is not there closes its channel with 404.
        channel
            .exchange_delete("logs_topic".into(), ExchangeDeleteOptions::default())
            .await
            .expect("deleted");
        let back = load.goes_on(100).await.expect("it goes on");
        println!("100 more were accepted within {back:?}");
        assert!(back < REPLACED_WITHIN, "{back:?}");
    }
    eventually("a closed channel is told", async || stack.broker.log().contains("NOT_FOUND").then_some(()))
        .await;
    let verdict = load::stop(load, &stack).await.expect("it can be judged");
    assert!(verdict.is_sound(), "{verdict}");
}

#[tokio::test]
async fn a_queue_of_the_same_name_with_other_arguments_is_answered_503_until_it_is_gone() {
    let mut stack = Stack::start_without_listener(&[]).await;
    let (_connection, channel) = stack.rabbitmq.channel().await;
    channel.queue_delete("logs.entries".into(), QueueDeleteOptions::default()).await.expect("deleted");
    stack.broker.kill().await.expect("it runs");
    let options = QueueDeclareOptions::durable();
    channel.queue_declare("logs.entries".into(), options, FieldTable::default()).await.expect("declared");
    stack.start_broker().await.expect("it starts");
    for transport in Transport::ALL {
        let answer = stack.log(transport, &json!({ "name": "event", "data": "" })).await;
        if transport == Transport::Rabbitmq {
            assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
        } else {
            assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "stored"));
        }
    }
    eventually("the log names the reason", async || {
        stack.broker.log().contains("PRECONDITION_FAILED").then_some(())
    })
    .await;
    eventually("the caller is told what to do", async || {
        let answer = stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
        answer.message().contains("delete_queue logs.entries").then_some(())
    })
    .await;
    channel.queue_delete("logs.entries".into(), QueueDeleteOptions::default()).await.expect("deleted");
    stack.reaches(&[Transport::Rabbitmq]).await.expect("it is ready");
    assert_eq!(stack.log(Transport::Rabbitmq, &json!({ "name": "event", "data": "" })).await.status, 202);
}

#[tokio::test]
async fn a_broker_that_is_told_to_stop_under_load_loses_nothing_that_it_accepted() {
    let mut stack = Stack::start().await;
    let load = load_over_all(&stack).await;
    stack.broker.stop().await.expect("it ends");
    stack.start_broker().await.expect("it starts");
    nothing_is_lost(&stack, load).await;
}

#[tokio::test]
async fn a_logger_that_is_told_to_stop_under_load_loses_nothing_that_was_accepted() {
    let mut stack = Stack::start().await;
    let load = load_over_all(&stack).await;
    stack.logger.stop().await.expect("it ends");
    stack.start_logger().await.expect("it starts");
    nothing_is_lost(&stack, load).await;
}

#[tokio::test]
async fn a_logger_that_is_killed_under_load_loses_nothing_that_was_accepted() {
    let mut stack = Stack::start().await;
    let load = load_over_all(&stack).await;
    stack.logger.kill().await.expect("it runs");
    stack.start_logger().await.expect("it starts");
    nothing_is_lost(&stack, load).await;
}

/// Sixteen callers over all transports at once, of whose entries some have been accepted.
async fn load_over_all(stack: &Stack) -> Load {
    let load = load::start(stack, &Transport::ALL, 16, 1);
    load.goes_on(100).await.expect("it goes on");
    load
}

async fn nothing_is_lost(stack: &Stack, load: Load) {
    load.goes_on(100).await.expect("it goes on");
    let verdict = load::stop(load, stack).await.expect("it can be judged");
    assert!(verdict.is_sound(), "{verdict}");
}
