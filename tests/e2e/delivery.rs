//! An entry reaches the store, once, over whichever transport.

use proto::{Level, Promise, Transport};
use serde_json::json;
use tests::{eventually, stack::Stack};
use uuid::Uuid;

for_each_transport!(
    an_entry_is_stored_with_its_transport,
    a_batch_of_1000_is_stored,
    an_array_of_one_is_answered_as_an_array,
    a_batch_with_one_bad_entry_is_refused_and_nothing_of_it_stored,
    other_content_under_the_same_id_does_not_replace_the_first,
    an_echo_is_answered_and_not_stored,
);

/// What an accepted entry has reached at once.
fn first_outcome(transport: Transport) -> &'static str {
    transport.promise().outcome().as_str()
}

async fn an_entry_is_stored_with_its_transport(transport: Transport) {
    let stack = Stack::start().await;
    let log = json!({ "name": "event", "data": { "answer": 42 }, "level": "warning" });
    let answer = stack.log(transport, &log).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(answer.body["error"], false);
    assert_eq!(answer.outcome(), first_outcome(transport));
    assert_eq!(answer.body["data"]["transport"], transport.as_str());
    let timing = &answer.body["data"]["timing_us"];
    assert!(timing["total"].as_u64() >= timing["transport"].as_u64(), "{timing}");
    assert_eq!(timing["store"].is_u64(), first_outcome(transport) == "stored", "{timing}");
    let header = answer.headers["server-timing"].to_str().expect("text");
    assert!(header.starts_with("total;dur="), "{header}");

    let entry = stack.eventually_stored(answer.id()).await;
    assert_eq!((entry.name.as_str(), entry.data.as_str()), ("event", r#"{"answer":42}"#));
    assert_eq!((entry.level, entry.transport, entry.attempts), (Level::Warning, transport, 1));
    assert!(entry.stored_at >= entry.created_at);
}

async fn a_batch_of_1000_is_stored(transport: Transport) {
    let stack = Stack::start().await;
    let batch: Vec<_> = (0..1_000).map(|n| json!({ "name": "event", "data": format!("{n}") })).collect();
    let answer = stack.log(transport, &json!(batch)).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let entries = answer.body["data"]["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), 1_000);
    assert!(entries.iter().all(|entry| entry["outcome"] == first_outcome(transport)));
    let stored = eventually("all are stored", || async {
        Some(stack.all_stored().await).filter(|stored| stored.len() >= 1_000)
    });
    let mut stored: Vec<String> = stored.await.into_iter().map(|entry| entry.id.to_string()).collect();
    let mut answered: Vec<String> =
        entries.iter().map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect();
    stored.sort();
    answered.sort();
    assert_eq!(stored, answered);
}

async fn an_array_of_one_is_answered_as_an_array(transport: Transport) {
    let stack = Stack::start().await;
    let id = Uuid::now_v7();
    let answer = stack.log(transport, &json!([{ "id": id, "name": "event", "data": "first" }])).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let expected = json!([{ "id": id, "outcome": first_outcome(transport) }]);
    assert_eq!(answer.body["data"]["entries"], expected);
    stack.eventually_stored(id).await;
    let answer = stack.log(transport, &json!([{ "id": id, "name": "event", "data": "other" }])).await;
    match transport.promise() {
        Promise::Stored => {
            assert_eq!((answer.status.as_u16(), answer.code(), answer.id()), (409, "conflict", id));
            assert_eq!(answer.body["data"]["position"], 0, "{}", answer.body);
            assert!(answer.message().starts_with("entry 0 "), "{}", answer.message());
        }
        Promise::Queued => assert_eq!(answer.status, 202, "{}", answer.body),
    }
}

async fn a_batch_with_one_bad_entry_is_refused_and_nothing_of_it_stored(transport: Transport) {
    let stack = Stack::start().await;
    let batch = json!([
        { "name": "good", "data": "" }, { "name": "good", "data": "" }, { "name": "", "data": "" },
    ]);
    let answer = stack.log(transport, &batch).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid_entry"));
    assert_eq!(answer.body["data"]["position"], 2);
    // What is sent after it is stored after it: when this one is there, the others would be.
    let mark = stack.log(transport, &json!({ "name": "mark", "data": "" })).await;
    stack.eventually_stored(mark.id()).await;
    assert_eq!(stack.all_stored().await.len(), 1);
}

async fn other_content_under_the_same_id_does_not_replace_the_first(transport: Transport) {
    let stack = Stack::start().await;
    let id = Uuid::now_v7();
    let answer = stack.log(transport, &json!({ "id": id, "name": "event", "data": "first" })).await;
    assert_eq!(answer.status, 202);
    stack.eventually_stored(id).await;
    let answer = stack.log(transport, &json!({ "id": id, "name": "event", "data": "other" })).await;
    if transport == Transport::Rabbitmq {
        assert_eq!(answer.outcome(), "queued");
        let dead = eventually("a dead letter", || stack.rabbitmq.get("logs.dead")).await;
        let headers = dead.delivery.properties.headers().clone().expect("headers");
        assert_eq!(headers.inner()["x-code"].as_long_string().expect("text").to_string(), "conflict");
    } else {
        assert_eq!((answer.status.as_u16(), answer.code(), answer.id()), (409, "conflict", id));
    }
    assert_eq!(stack.stored(id).await.expect("it is still there").data, "first");
}

async fn an_echo_is_answered_and_not_stored(transport: Transport) {
    let stack = Stack::start().await;
    let body = json!({ "action": "echo", "transport": transport, "log": { "name": "event", "data": "" } });
    let answer = stack.post("/handle", body.to_string()).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body["data"]["transport"], transport.as_str());
    assert!(answer.body["data"]["outcome"].is_null());
    assert_eq!(stack.stored(answer.id()).await, None);
}

#[tokio::test]
async fn one_id_over_each_transport_is_one_entry_and_three_duplicates() {
    let stack = Stack::start().await;
    for first in Transport::ALL {
        let id = Uuid::now_v7();
        let log = json!({ "id": id, "name": "event", "data": "the same" });
        let answer = stack.log(first, &log).await;
        assert_eq!(answer.outcome(), first_outcome(first));
        stack.eventually_stored(id).await;
        for other in Transport::ALL.into_iter().filter(|other| *other != first) {
            let answer = stack.log(other, &log).await;
            let expected = other.promise().repeated().as_str();
            assert_eq!(answer.outcome(), expected, "{}", answer.body);
        }
        let entry = eventually("written four times", || async {
            stack.stored(id).await.filter(|entry| entry.attempts == 4)
        });
        assert_eq!(entry.await.transport, first);
    }
    assert_eq!(stack.all_stored().await.len(), Transport::ALL.len());
}
