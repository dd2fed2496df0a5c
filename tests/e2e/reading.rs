//! What is stored can be found again.

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use proto::Transport;
use serde_json::{Value, json};
use tests::{
    eventually,
    stack::{Answer, Stack},
    tls,
};

async fn store(stack: &Stack, transport: Transport, name: &str, level: &str, data: &str) {
    let log = json!({ "name": name, "level": level, "data": data });
    let answer = stack.log(transport, &log).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    stack.eventually_stored(answer.id()).await;
}

fn texts(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let entries = answer.body["data"]["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry["data"].as_str().expect("text")).collect()
}

#[tokio::test]
async fn every_filter_finds_its_own_newest_first() {
    let stack = Stack::start().await;
    store(&stack, Transport::Http, "login", "info", "first").await;
    store(&stack, Transport::Rpc, "login", "warning", "second").await;
    store(&stack, Transport::Rabbitmq, "logout", "error", "third: 100% of a_b").await;
    store(&stack, Transport::Grpc, "логин", "info", "fourth").await;
    let all = stack.get("/logs").await;
    assert_eq!(texts(&all), ["fourth", "third: 100% of a_b", "second", "first"]);
    assert_eq!(all.body["data"]["next"], Value::Null);
    let second = all.body["data"]["entries"][2]["stored_at"].as_str().expect("a time").to_owned();
    for (query, expected) in [
        ("name=login", vec!["second", "first"]),
        ("name=%D0%BB%D0%BE%D0%B3%D0%B8%D0%BD", vec!["fourth"]),
        ("name=nobody", vec![]),
        ("level=error", vec!["third: 100% of a_b"]),
        ("transport=rabbitmq", vec!["third: 100% of a_b"]),
        ("transport=http&level=info", vec!["first"]),
        ("contains=r", vec!["fourth", "third: 100% of a_b", "first"]),
        ("contains=100%25%20of", vec!["third: 100% of a_b"]),
        ("contains=a%25b", vec![]),
        ("limit=1", vec!["fourth"]),
        (&format!("since={second}"), vec!["fourth", "third: 100% of a_b", "second"]),
        (&format!("until={second}"), vec!["first"]),
    ] {
        assert_eq!(texts(&stack.get(&format!("/logs?{query}")).await), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_while_entries_arrive() {
    let stack = Stack::start_without_listener(&[]).await;
    let batch: Vec<Value> = (0..95).map(|n| json!({ "name": "event", "data": n.to_string() })).collect();
    assert_eq!(stack.log(Transport::Http, &json!(batch)).await.status, 202);
    let mut seen = Vec::new();
    let mut path = "/logs?limit=10".to_owned();
    loop {
        let page = stack.get(&path).await;
        seen.extend(texts(&page).into_iter().map(str::to_owned));
        store(&stack, Transport::Grpc, "newcomer", "info", "late").await;
        let Some(next) = page.body["data"]["next"].as_str() else { break };
        path = format!("/logs?limit=10&cursor={next}");
    }
    let expected: Vec<String> = (0..95).rev().map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_says_why() {
    let stack = Stack::start_without_listener(&[]).await;
    for (path, status, code, word) in [
        ("/logs?limit=0", 400, "bad_query", "limit"),
        ("/logs?limit=ten", 400, "bad_query", "limit"),
        ("/logs?colour=red", 400, "bad_query", "unknown parameter `colour`"),
        ("/logs?limit=1&limit=2", 400, "bad_query", "duplicate parameter `limit`"),
        ("/logs/stream?colour=red", 400, "bad_query", "unknown parameter `colour`"),
        ("/logs?level=INFO", 400, "bad_query", "level"),
        ("/logs?transport=amqp", 400, "bad_query", "rabbitmq"),
        ("/logs?since=yesterday", 400, "bad_query", "since"),
        ("/logs?cursor=-1", 400, "bad_query", "cursor"),
        ("/logs?contains=%ff", 400, "bad_query", "`contains` is not UTF-8"),
        ("/logs?contains=%c3&name=%a9", 400, "bad_query", "`contains` is not UTF-8"),
        ("/logs/stream?name=a%c3", 400, "bad_query", "`name` is not UTF-8"),
        ("/logs/7", 400, "bad_query", "UUID"),
        ("/logs/%ff", 400, "bad_query", "UUID"),
        ("/page/%ff", 404, "not_found", "no such file"),
        ("/logs/00000000-0000-0000-0000-000000000000", 400, "bad_query", "nil"),
        ("/logs/0197f5c1-5d3a-7c6e-8a54-2f1b6c0d9e7a", 404, "not_found", "no entry"),
        ("/nowhere", 404, "not_found", "endpoint"),
        ("/handle", 405, "method_not_allowed", "method"),
    ] {
        let answer = stack.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{path}: {}", answer.body);
        assert!(answer.message().contains(word), "{path}: {}", answer.message());
    }
    // Those who ask the logger itself are told the same.
    for (path, word) in [("/logs?name=%ff", "`name` is not UTF-8"), ("/logs/%ff", "UUID")] {
        let url = format!("{}://{}{path}", tls::scheme(), stack.logger_at.http);
        let answer = stack.ask(tests::client().get(url)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "bad_query"), "{path}: {}", answer.body);
        assert!(answer.message().contains(word), "{path}: {}", answer.message());
    }
}

#[tokio::test]
async fn reading_while_the_logger_is_down_is_refused_at_once() {
    let mut stack = Stack::start_without_listener(&[]).await;
    stack.logger.kill().await.expect("it runs");
    let answer = stack.get("/logs").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn what_is_older_than_the_retention_by_size_is_deleted() {
    let stack = Stack::start_with(&[("LOGGER_RETENTION_BYTES", "2000000")]).await;
    let data = "x".repeat(10_000);
    for n in 0..10 {
        let batch: Vec<Value> =
            (0..50).map(|_| json!({ "name": format!("batch {n}"), "data": data })).collect();
        assert_eq!(stack.log(Transport::Rpc, &json!(batch)).await.status, 202);
    }
    eventually("the oldest are deleted", async || (stack.all_stored().await.len() < 200).then_some(())).await;
    let names = stack.all_stored().await;
    assert_eq!(names[0].name, "batch 9", "the newest stay");
}

#[tokio::test]
async fn a_read_that_finds_all_turns_taken_is_told_so_and_one_without_an_answer_that() {
    const AT_A_TIME: usize = 8;
    // A read waits for its turn for half of it: for less than a handshake may take with TLS, whose end frees a turn.
    let stack = Stack::start_without_listener(&[("BROKER_DEADLINE_MS", "3000")]).await;
    stack.logger.freeze().await.expect("it runs");
    let asked = (0..2 * AT_A_TIME).map(|_| stack.get("/logs"));
    let answers = join_all(asked).await;
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    assert!(answers.iter().all(|answer| answer.status == 503), "{answers:?}");
    let of = |code: &str| answers.iter().filter(|answer| answer.code() == code).count();
    // The first find the logger silent; the others never get to ask it.
    assert_eq!((of("unavailable"), of("overloaded")), (AT_A_TIME, AT_A_TIME), "{answers:?}");
    let busy = answers.iter().find(|answer| answer.code() == "overloaded").expect("counted");
    assert_eq!(busy.body["message"], "the broker is at its concurrency limit");
}
