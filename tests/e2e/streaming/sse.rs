//! `GET /logs/stream`: the tail as server-sent events.

use proto::Time;
use reqwest::Response;
use serde_json::{Value, json};
use tests::{SOON, eventually, process::whole_log, stack::Stack, tls};
use tokio::time::timeout;
use uuid::Uuid;

use super::*;

/// A stream of events that is read one by one.
struct Events {
    response: Response,
    unread: Vec<u8>,
}

#[derive(Debug, Default, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Events {
    async fn open(stack: &Stack, query: &str, last_event_id: Option<&str>) -> Self {
        let url = format!("{}://{}/logs/stream{query}", tls::scheme(), stack.broker_at);
        let request = tests::client().get(url);
        let request =
            last_event_id.into_iter().fold(request, |request, id| request.header("Last-Event-ID", id));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, unread: Vec::new() }
    }

    /// The next event that is no mere sign of life; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                let event = parse(&String::from_utf8(block).expect("text"));
                if !event.name.is_empty() {
                    return Some(event);
                }
            }
            let chunk =
                timeout(SOON, self.response.chunk()).await.expect("in time").expect("a whole stream")?;
            self.unread.extend_from_slice(&chunk);
        }
    }

    async fn named(&mut self, name: &str) -> Event {
        let event = self.next().await.expect("it goes on");
        assert_eq!(event.name, name, "{event:?}");
        event
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => event.id = id.to_owned(),
            Some(("event", name)) => event.name = name.to_owned(),
            Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
            _ => {}
        }
    }
    event
}

async fn send(stack: &Stack, transport: Transport, data: &str) -> Uuid {
    stack.log(transport, &json!({ "name": "event", "data": data })).await.id()
}

#[tokio::test]
async fn each_stored_entry_is_an_event_as_in_the_list() {
    let stack = Stack::start().await;
    send(&stack, Transport::Http, "before").await;
    let mut events = Events::open(&stack, "", None).await;
    assert_eq!(events.named("state").await.data, json!({ "connected": true }));
    for transport in Transport::ALL {
        let id = send(&stack, transport, "a\nb\r\n\u{2028}event: x").await;
        let event = events.named("entry").await;
        stack.eventually_stored(id).await;
        assert_eq!(event.data, stack.get(&format!("/logs/{id}")).await.body["data"]);
    }
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    let stack = Stack::start_direct(&[]).await;
    let mut events = Events::open(&stack, "", None).await;
    let begin = events.named("state").await.id;
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(send(&stack, Transport::Grpc, &number.to_string()).await.to_string());
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(events.named("entry").await);
    }
    drop(events);
    let last = seen.last().expect("three").id.clone();
    for (query, last_event_id, expected) in [
        (String::new(), Some(last.as_str()), &ids[3..]),
        (format!("?after={last}"), None, &ids[3..]),
        // The header is the browser's own, and knows more than the address that it was opened with.
        (format!("?after={begin}"), Some(last.as_str()), &ids[3..]),
        (format!("?after={begin}"), None, &ids[..]),
        ("?after=0&max_lag=2".to_owned(), None, &ids[4..]),
    ] {
        let mut events = Events::open(&stack, &query, last_event_id).await;
        events.named("state").await;
        if query.contains("max_lag") {
            assert_eq!(events.named("missed").await.data, json!({ "count": 4 }));
        }
        for id in expected {
            assert_eq!(events.named("entry").await.data["id"], id.as_str(), "{query}");
        }
    }
}

#[tokio::test]
async fn a_stream_lives_through_a_restart_of_the_logger() {
    let mut stack = Stack::start().await;
    let mut events = Events::open(&stack, "?name=event", None).await;
    events.named("state").await;
    let first = send(&stack, Transport::Http, "before").await.to_string();
    assert_eq!(events.named("entry").await.data["id"], first.as_str());
    stack.logger.kill().await.expect("it runs");
    assert_eq!(events.named("state").await.data["connected"], false);
    // Queued while the logger is down, and told when it is back.
    let second = send(&stack, Transport::Rabbitmq, "meanwhile").await.to_string();
    stack.start_logger().await.expect("it starts");
    assert_eq!(events.named("state").await.data["connected"], true);
    assert_eq!(events.named("entry").await.data["id"], second.as_str());
    // There may be many streams, and the log tells of the logger once for each transport.
    let log = whole_log(&stack.broker).await;
    assert!(log.contains("not connected") && !log.contains("for a tail"), "{log}");
    assert!(!log.contains("source:"), "words, and no dump of a type: {log}");
}

#[tokio::test]
async fn without_the_logger_and_with_a_wrong_question_it_is_refused_as_everywhere() {
    let mut stack = Stack::start_direct(&[]).await;
    for (query, word) in
        [("?level=INFO", "level"), ("?after=x", "after"), ("?colour=red", "colour"), ("?after=9", "after")]
    {
        let answer = stack.get(&format!("/logs/stream{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "bad_query"), "{query}");
        assert!(answer.message().contains(word), "{}", answer.message());
    }
    stack.logger.kill().await.expect("it runs");
    let answer = stack.get("/logs/stream").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_broker_that_drains_ends_its_streams() {
    let mut stack = Stack::start_direct(&[]).await;
    let mut events = Events::open(&stack, "", None).await;
    events.named("state").await;
    stack.broker.signal(Signal::SIGTERM).expect("it runs");
    assert_eq!(events.next().await, None);
    assert!(stack.broker.ended().await.expect("it ends").success());
}

#[tokio::test]
async fn there_are_only_so_many_streams_and_those_that_are_closed_leave_room() {
    let stack = Stack::start_direct(&[]).await;
    let mut open = Vec::new();
    while open.len() < 64 {
        open.push(Events::open(&stack, "", None).await);
    }
    let answer = stack.get("/logs/stream").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "overloaded"));
    drop(open);
    eventually("there is room again", async || {
        let url = format!("{}://{}/logs/stream", tls::scheme(), stack.broker_at);
        let response = tests::client().get(url).send().await.expect("an answer");
        (response.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_whose_time_is_over_ends_for_good_once_all_is_told() {
    let stack = Stack::start_direct(&[]).await;
    let id = send(&stack, Transport::Http, "early").await;
    let stored_at = stack.eventually_stored(id).await.stored_at;
    let until = Time::from_microsecond(stored_at.as_microsecond() + 1_000).expect("a time of this year");
    // The logger's clock is past it.
    eventually("the time is over", async || (Time::now() > until).then_some(())).await;
    let query = format!("?after=0&until={until}");
    let mut events = Events::open(&stack, &query, None).await;
    events.named("state").await;
    let told = events.named("entry").await;
    assert_eq!(told.data["id"], id.to_string());
    assert_eq!(events.next().await, None, "it ends");
    // A browser comes again by itself, and stops where it is told that there is no content.
    let again = async |query: &str, last: &str| {
        let url = format!("{}://{}/logs/stream{query}", tls::scheme(), stack.broker_at);
        tests::client().get(url).header("Last-Event-ID", last).send().await.expect("an answer")
    };
    let answer = again(&query, &told.id).await;
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.bytes().await.expect("a whole answer").len(), 0);
    assert_eq!(again(&format!("?until={until}"), "").await.status(), 204, "from now on, there is nothing");
}

#[tokio::test]
async fn an_empty_last_event_id_says_that_no_event_was_seen() {
    let stack = Stack::start_direct(&[]).await;
    let id = send(&stack, Transport::Http, "early").await;
    let mut events = Events::open(&stack, "?after=0", Some("")).await;
    events.named("state").await;
    assert_eq!(events.named("entry").await.data["id"], id.to_string());
}
