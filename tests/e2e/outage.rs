//! What a caller is told when something is down, and that all is well again when it is back.

use std::{collections::HashSet, sync::Mutex, time::Duration};

use nix::sys::signal::Signal;
use proto::Transport;
use serde_json::json;
use tests::{eventually, stack::Stack};
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
    stack.logger.kill().await;
    if transport == Transport::Rabbitmq {
        let answer = stack.log(transport, &log).await;
        assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "queued"));
        stack.start_logger().await;
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
    for _ in 0..20 {
        let answer = stack.log(transport, &log).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
        assert_eq!(answer.body["data"]["retryable"], true);
        assert!(answer.headers.contains_key("retry-after"));
        assert!(answer.took < AT_ONCE, "{:?}", answer.took);
        answer.id();
    }
    stack.start_logger().await;
    let answer = eventually("the broker is back", async || {
        Some(stack.log(transport, &log).await).filter(|answer| answer.status == 202)
    });
    assert_eq!(answer.await.outcome(), "stored");
}

async fn a_frozen_logger_is_answered_within_the_deadline_and_the_retry_is_safe(transport: Transport) {
    const DEADLINE_MS: u64 = 700;
    let stack = Stack::start_with(&[("BROKER_DEADLINE_MS", "700")]).await;
    stack.logger.signal(Signal::SIGSTOP);
    let id = Uuid::now_v7();
    let log = json!({ "id": id, "name": "event", "data": "" });
    let answer = stack.log(transport, &log).await;
    if transport == Transport::Rabbitmq {
        assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "queued"));
    } else {
        assert_eq!((answer.status.as_u16(), answer.code(), answer.id()), (504, "outcome_unknown", id));
        assert!(answer.took < Duration::from_millis(DEADLINE_MS) + AT_ONCE, "{:?}", answer.took);
    }
    stack.logger.signal(Signal::SIGCONT);
    eventually("the retry is accepted", async || {
        Some(stack.log(transport, &log).await).filter(|answer| answer.status == 202)
    })
    .await;
    stack.eventually_stored(id).await;
    assert_eq!(stack.all_stored().await.len(), 1);
}

#[tokio::test]
async fn without_rabbitmq_the_other_three_go_on() {
    // Nobody listens on port 1.
    let stack = Stack::start_direct(&[("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f")]).await;
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
async fn a_broker_that_is_told_to_stop_under_load_loses_nothing_that_it_accepted() {
    let mut stack = Stack::start().await;
    let accepted = load_while(&stack, async || stack.broker.signal(Signal::SIGTERM)).await;
    assert!(stack.broker.ended().await.success(), "{}", stack.broker.log());
    stack.start_broker().await;
    all_are_stored(&stack, &accepted).await;
}

#[tokio::test]
async fn a_logger_that_is_told_to_stop_under_load_loses_nothing_that_was_accepted() {
    let mut stack = Stack::start().await;
    let accepted = load_while(&stack, async || stack.logger.signal(Signal::SIGTERM)).await;
    assert!(stack.logger.ended().await.success(), "{}", stack.logger.log());
    stack.start_logger().await;
    all_are_stored(&stack, &accepted).await;
}

#[tokio::test]
async fn a_logger_that_is_killed_under_load_loses_nothing_that_was_accepted() {
    let mut stack = Stack::start().await;
    let accepted = load_while(&stack, async || stack.logger.signal(Signal::SIGKILL)).await;
    stack.logger.ended().await;
    stack.start_logger().await;
    all_are_stored(&stack, &accepted).await;
}

/// Sends entries over all transports at once; `fault` happens when some have been accepted. Returns the ids of
/// those that were answered 202.
async fn load_while(stack: &Stack, fault: impl AsyncFnOnce()) -> Vec<Uuid> {
    const CALLERS_PER_TRANSPORT: usize = 4;
    const ENTRIES_PER_CALLER: usize = 100;
    let accepted = Mutex::new(Vec::new());
    let caller = async |transport: Transport| {
        for n in 0..ENTRIES_PER_CALLER {
            let id = Uuid::now_v7();
            let log = json!({ "id": id, "name": "event", "data": n.to_string() });
            if stack.try_log(transport, &log).await.is_some_and(|status| status == 202) {
                accepted.lock().expect("sound").push(id);
            }
        }
    };
    let callers = Transport::ALL.into_iter().flat_map(|transport| [transport; CALLERS_PER_TRANSPORT]);
    let load = futures_util::future::join_all(callers.map(caller));
    let fault = async {
        eventually("some are accepted", async || (accepted.lock().expect("sound").len() > 100).then_some(()))
            .await;
        fault().await;
    };
    tokio::join!(load, fault);
    accepted.into_inner().expect("sound")
}

async fn all_are_stored(stack: &Stack, accepted: &[Uuid]) {
    assert!(accepted.len() > 100);
    eventually("all that was accepted is stored", async || {
        let stored: HashSet<Uuid> = stack.all_stored().await.into_iter().map(|entry| entry.id).collect();
        accepted.iter().all(|id| stored.contains(id)).then_some(())
    })
    .await;
}
