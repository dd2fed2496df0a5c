//! `POST /burst`: many entries over each transport, sent and measured by the broker.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proto::{Promise, Transport};
use serde_json::{Value, json};
use tests::{
    client, eventually,
    keys::{Key, write_file},
    stack::Stack,
};

/// The events of a burst, each with its data.
pub(crate) async fn events(stack: &Stack, body: &Value) -> Vec<(String, Value)> {
    let url = format!("{}://{}/burst", stack.scheme(), stack.broker_at);
    let response = client().post(url).body(body.to_string()).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.expect("it ends");
    let event = |message: &str| {
        let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let data = field("data: ").unwrap_or_else(|| panic!("no data: {message}"));
        (field("event: ").expect("a name"), serde_json::from_str(&data).expect("JSON"))
    };
    text.split_terminator("\n\n").map(event).collect()
}

/// What each transport came to.
pub(crate) fn measured(events: &[(String, Value)]) -> BTreeMap<Transport, Value> {
    let measured = events.iter().filter(|(name, _)| name == "measured");
    measured
        .map(|(_, data)| (data["transport"].as_str().expect("a word").parse().expect("one"), data.clone()))
        .collect()
}

#[tokio::test]
async fn so_many_as_asked_for_are_stored_over_each_and_measured() {
    const COUNT: usize = 30;
    let stack = Stack::start().await;
    let events = events(&stack, &json!({ "entries": COUNT, "concurrency": 4 })).await;
    let (first, last) = (&events[0], events.last().expect("some"));
    assert_eq!((first.0.as_str(), &first.1["entries"]), ("begun", &json!(COUNT)));
    assert_eq!((last.0.as_str(), &last.1), ("ended", &json!({ "why": "done" })));
    let order: Vec<String> = serde_json::from_value(first.1["transports"].clone()).expect("words");
    let done: Vec<&str> = events
        .iter()
        .filter(|(name, _)| name == "measured")
        .filter_map(|(_, data)| data["transport"].as_str())
        .collect();
    assert_eq!(order, done, "one after the other, as it was said");
    let measured = measured(&events);
    for transport in Transport::ALL {
        let told = &measured[&transport];
        for (name, count) in
            [("sent", COUNT), ("accepted", COUNT), ("stored", COUNT), ("rejected", 0), ("unknown", 0)]
        {
            assert_eq!(told[name], count, "{transport}: {told}");
        }
        let times =
            ["median", "p95", "p99", "max"].map(|name| told["answered_us"][name].as_u64().expect("a time"));
        assert!(times.is_sorted() && times[0] > 0, "{told}");
        assert!(told["per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{told}");
        assert_eq!(told["stored_us"].is_object(), transport.promise() == Promise::Queued, "{told}");
        let counts: Vec<usize> =
            serde_json::from_value(told["histogram"]["counts"].clone()).expect("numbers");
        assert_eq!(counts.iter().sum::<usize>(), COUNT, "{told}");
        // Names, ids and times alone are more than this.
        assert!(
            told["wire_bytes"]["sent"].as_u64().is_some_and(|bytes| (100..2_000).contains(&bytes)),
            "{told}"
        );
        assert!(told["wire_bytes"]["received"].as_u64().is_some_and(|bytes| bytes >= 20), "{told}");
    }
    let stored = stack.all_stored().await;
    let ids: BTreeSet<_> = stored.iter().map(|entry| entry.id).collect();
    assert_eq!((stored.len(), ids.len()), (4 * COUNT, 4 * COUNT));
    for transport in Transport::ALL {
        assert_eq!(stored.iter().filter(|entry| entry.transport == transport).count(), COUNT, "{transport}");
    }
}

#[tokio::test]
async fn there_is_one_at_a_time_and_whoever_hangs_up_ends_it() {
    let stack = Stack::start_direct(&[]).await;
    // Every call hangs, so that the first burst lasts.
    stack.logger.freeze().await.expect("it runs");
    let url = format!("{}://{}/burst", stack.scheme(), stack.broker_at);
    let body = json!({ "transports": ["http"], "entries": 2_000, "concurrency": 1 }).to_string();
    let first = client().post(&url).body(body.clone()).send().await.expect("an answer");
    assert_eq!(first.status(), 200);
    let refused = stack.post("/burst", body.clone()).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "overloaded"));
    assert!(refused.message().contains("another burst"), "{}", refused.message());
    assert!(refused.headers.contains_key("retry-after"));
    drop(first);
    let begun = Instant::now();
    eventually("the next may begin", async || {
        let next = client().post(&url).body(body.clone()).send().await.expect("an answer");
        (next.status() == 200).then_some(())
    })
    .await;
    // By itself it would have lasted longer than the broker waits for one answer.
    assert!(begun.elapsed() < Duration::from_secs(5) + tests::SOON);
    stack.logger.thaw().expect("it is there");
}

#[tokio::test]
async fn what_is_refused_is_counted_and_nothing_of_it_is_stored() {
    let mut stack = Stack::start_without_listener(&[]).await;
    stack.logger.kill().await.expect("it runs");
    let measured = measured(&events(&stack, &json!({ "entries": 5, "concurrency": 1 })).await);
    for transport in tests::DIRECT {
        let told = &measured[&transport];
        assert_eq!((&told["sent"], &told["accepted"]), (&json!(5), &json!(0)), "{told}");
        // The first may meet a connection that nobody knows to be dead.
        let failed =
            told["not_stored"].as_u64().expect("a number") + told["unknown"].as_u64().expect("a number");
        assert!(failed == 5 && told["answered_us"].is_null(), "{told}");
    }
    let queued = &measured[&Transport::Rabbitmq];
    assert_eq!((&queued["accepted"], &queued["stored"]), (&json!(5), &json!(0)), "{queued}");
}

#[tokio::test]
async fn a_request_out_of_its_limits_is_refused_by_name() {
    let stack = Stack::start_direct(&[]).await;
    for (body, code, word) in [
        (r#"{"entries":0}"#, "bad_field", "1 to 2000"),
        (r#"{"entries":2001}"#, "bad_field", "1 to 2000"),
        (r#"{"concurrency":65}"#, "bad_field", "1 to 64"),
        (r#"{"callers":1}"#, "bad_field", "callers"),
        ("[", "bad_json", "line 1"),
        ("[]", "bad_field", "expected an object"),
        (r#"[1,1,["http"]]"#, "bad_field", "expected an object"),
    ] {
        let answer = stack.post("/burst", body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{body}");
        assert!(answer.message().contains(word), "{body}: {}", answer.message());
    }
    assert!(stack.all_stored().await.is_empty());
}

#[tokio::test]
async fn where_keys_are_asked_for_it_takes_one_that_may_write() {
    let (writer, reader) = (Key::new("writer", "write"), Key::new("reader", "read"));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("keys");
    write_file(&file, &[&writer, &reader]);
    let stack = Stack::start_direct(&[("BROKER_KEYS_FILE", file.to_str().expect("UTF-8"))]).await;
    let ask = async |key: Option<&Key>| {
        let request = tests::client_with(key).post(format!("{}://{}/burst", stack.scheme(), stack.broker_at));
        let body = r#"{"transports":["http"],"entries":1}"#;
        request.body(body).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!((ask(None).await, ask(Some(&reader)).await, ask(Some(&writer)).await), (401, 403, 200));
}
