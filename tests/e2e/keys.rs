//! Where keys are asked for, nobody gets in without one, and no key gets out.

mod file;

use std::{path::PathBuf, time::Duration};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use proto::Transport;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    DIRECT, client_with, eventually,
    keys::{Key, write_file},
    raw::{self, until_closed},
    stack::{Answer, Stack},
    tls,
};
use uuid::Uuid;

use crate::openapi::Description;

for_each_transport!(only_who_may_write_gets_an_entry_stored);

async fn only_who_may_write_gets_an_entry_stored(transport: Transport) {
    let (writer, reader, stranger) =
        (Key::new("writer", "write"), Key::new("reader", "read"), Key::new("writer", "write,read"));
    let keys = KeysFile::of(&[&writer, &reader]);
    let stack = Stack::start_with(&keys.settings()).await.with_key(&reader);
    let send = async |key: Option<&Key>| stack.ask(post(&stack, key, &entry(transport))).await;
    for (key, status, code) in [
        (None, 401, "unauthorized"),
        (Some(&stranger), 401, "unauthorized"),
        (Some(&reader), 403, "forbidden"),
    ] {
        let answer = send(key).await;
        assert_refused(&answer, status, code);
    }
    let accepted = send(Some(&writer)).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    stack.eventually_stored(accepted.id()).await;
    // What was refused before it would have been stored before it.
    let stored: Vec<Uuid> = stack.all_stored().await.iter().map(|entry| entry.id).collect();
    assert_eq!(stored, [accepted.id()]);
}

#[tokio::test]
async fn each_address_asks_for_the_scope_that_is_described_and_answers_as_described() {
    let (writer, reader) = (Key::new("writer", "write"), Key::new("reader", "read"));
    let keys = KeysFile::of(&[&writer, &reader]);
    let stack = Stack::start_direct(&keys.settings()).await;
    let description = Description(stack.get("/openapi.json").await.body);
    let scheme = &description.0["components"]["securitySchemes"]["key"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    let echo = json!({ "action": "echo", "log": { "name": "event", "data": "" } }).to_string();
    let id = Uuid::now_v7();
    for (method, path, at, scope) in [
        ("post", "/handle", "/handle".to_owned(), Some("write")),
        ("post", "/log-grpc", "/log-grpc".to_owned(), Some("write")),
        ("get", "/logs", "/logs".to_owned(), Some("read")),
        ("get", "/logs/{id}", format!("/logs/{id}"), Some("read")),
        ("get", "/status", "/status".to_owned(), Some("read")),
        ("get", "", "/metrics".to_owned(), Some("read")),
        ("get", "/", "/".to_owned(), None),
        ("get", "", "/page/main.js".to_owned(), None),
        ("post", "/", "/".to_owned(), None),
        ("get", "/ping", "/ping".to_owned(), None),
        ("get", "", "/openapi.json".to_owned(), None),
        ("get", "", "/healthz".to_owned(), None),
        ("get", "", "/readyz".to_owned(), None),
    ] {
        if !path.is_empty() {
            let described = &description.0["paths"][path][method]["security"];
            assert_eq!(*described, scope.map_or(Value::Null, |scope| json!([{ "key": [scope] }])), "{path}");
        }
        for (key, has) in [(None, None), (Some(&writer), Some("write")), (Some(&reader), Some("read"))] {
            let http_method: Method = method.to_uppercase().parse().expect("a method");
            let url = format!("{}://{}{at}", tls::scheme(), stack.broker_at);
            let answer = stack.ask(client_with(key).request(http_method, url).body(echo.clone())).await;
            let refused = match (scope, has) {
                (Some(_), None) => 401,
                (Some(scope), Some(has)) if scope != has => 403,
                (Some(_) | None, _) => {
                    assert!(!matches!(answer.status.as_u16(), 401 | 403), "{at} with {has:?}");
                    continue;
                }
            };
            assert_eq!(answer.status, refused, "{at} with {has:?}");
            let complaints = description.complaints(method, path, &answer);
            assert!(path.is_empty() || complaints.is_empty(), "{at} with {has:?}: {complaints:?}");
        }
    }
}

#[tokio::test]
async fn without_the_setting_nobody_is_asked_for_a_key() {
    // Under FOURWIRE_TEST_SECURE every stack has the setting.
    if tests::keys::of_this_run().is_some() {
        return;
    }
    let stack = Stack::start_direct(&[]).await;
    assert_eq!(stack.ask(post(&stack, None, &entry(Transport::Http))).await.status, 202);
    // A key that nobody asked for is no mistake: a caller may be ahead of its broker.
    let answer = stack.ask(post(&stack, Some(&Key::new("alice", "read")), &entry(Transport::Http))).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let description = stack.get("/openapi.json").await.body.to_string();
    assert!(!description.contains("\"security"), "{description}");
}

#[tokio::test]
async fn a_key_is_taken_from_one_header_of_the_scheme_bearer_and_from_nowhere_else() {
    let key = Key::new("alice", "write,read");
    let keys = KeysFile::of(&[&key]);
    let stack = Stack::start_direct(&keys.settings()).await;
    let secret = &key.secret;
    let send = async |headers: &[(&str, String)], path: &str| {
        let request = client_with(None).get(format!("{}://{}{path}", tls::scheme(), stack.broker_at));
        // `header` appends: a name may come twice.
        let add = |request: RequestBuilder, (name, value): &(&str, String)| request.header(*name, value);
        stack.ask(headers.iter().fold(request, add)).await
    };
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = send(&[("Authorization", format!("{scheme} {secret}"))], "/logs").await;
        assert_eq!(answer.status, 200, "{scheme}: {}", answer.body);
    }
    let bearer = ("Authorization", key.bearer());
    let hash = key.hash();
    for headers in [
        &[bearer.clone(), bearer.clone()][..],
        &[bearer.clone(), ("Authorization", "Bearer fw_other".to_owned())],
        &[("Authorization", "Bearer fw_other".to_owned()), bearer.clone()],
        &[("Authorization", format!("Basic {secret}"))],
        &[("Authorization", secret.clone())],
        &[("Authorization", format!("Bearer {secret},{secret}"))],
        &[("Authorization", format!("Bearer {}", &secret[..secret.len() - 1]))],
        &[("Authorization", format!("Bearer {secret}0"))],
        &[("Authorization", format!("Bearer {}", secret.to_uppercase()))],
        &[("Authorization", format!("Bearer {hash}"))],
        &[("Authorization", "Bearer".to_owned())],
        &[("Authorization", format!("Bearer {}", "a".repeat(16 * 1024)))],
        &[("X-Api-Key", secret.clone())],
        &[("Proxy-Authorization", key.bearer())],
        &[("Cookie", format!("access_token={secret}"))],
    ] {
        assert_refused(&send(headers, "/logs").await, 401, "unauthorized");
    }
    for query in ["access_token", "key", "authorization"] {
        assert_refused(&send(&[], &format!("/logs?{query}={secret}")).await, 401, "unauthorized");
    }
}

#[tokio::test]
async fn a_key_is_changed_for_another_without_a_restart() {
    let (old, new) = (Key::new("alice", "write,read"), Key::new("alice", "write,read"));
    let keys = KeysFile::of(&[&old]);
    let stack = Stack::start_direct(&keys.settings()).await;
    let status = async |key: &Key| stack.ask(post(&stack, Some(key), &entry(Transport::Http))).await.status;
    let reload = async |content: &[&Key], log: &str| {
        let lines = || stack.broker.log().lines().filter(|line| line.contains(log)).count();
        let before = lines();
        write_file(&keys.path, content);
        stack.broker.signal(Signal::SIGHUP).expect("it runs");
        eventually(log, async || (lines() > before).then_some(())).await;
    };
    assert_eq!((status(&old).await.as_u16(), status(&new).await.as_u16()), (202, 401));
    reload(&[&old, &new], "reloaded keys=2").await;
    assert_eq!((status(&old).await.as_u16(), status(&new).await.as_u16()), (202, 202));
    reload(&[&new], "reloaded keys=1").await;
    assert_eq!((status(&old).await.as_u16(), status(&new).await.as_u16()), (401, 202));
    let broken = Key { line: "alice everything".to_owned(), ..old.clone() };
    for content in [&[&new, &broken][..], &[], &[&new, &new]] {
        reload(content, "were not reloaded").await;
        assert_eq!((status(&old).await.as_u16(), status(&new).await.as_u16()), (401, 202));
    }
    assert!(stack.broker.log().contains("line 2: expected a name"), "{}", stack.broker.log());
}

#[tokio::test]
async fn a_key_that_is_used_too_often_is_refused_for_a_moment_and_others_are_not() {
    const AT_ONCE: usize = 40;
    let (first, second) = (Key::new("alice", "write,read"), Key::new("alice", "write,read"));
    let other = Key::new("bob", "write,read");
    let keys = KeysFile::of(&[&first, &second, &other]);
    let settings = [keys.settings()[0], ("BROKER_KEY_RATE", "4")];
    let stack = Stack::start_direct(&settings).await.with_key(&other);
    // Both keys of a name share its limit.
    let send = |number: usize| {
        let key = if number.is_multiple_of(2) { &first } else { &second };
        stack.ask(post(&stack, Some(key), &entry(DIRECT[number % DIRECT.len()])))
    };
    let answers = join_all((0..AT_ONCE).map(send)).await;
    let (accepted, refused): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|answer| answer.status == 202);
    assert!(accepted.len() >= 4, "as many as in a second may come at once: {}", accepted.len());
    assert!(refused.len() >= AT_ONCE / 2, "{} are refused", refused.len());
    for answer in &refused {
        assert_refused(answer, 429, "rate_limited");
    }
    let bob = stack.log(Transport::Http, &json!({ "name": "bob", "data": "" })).await;
    assert_eq!(bob.status, 202, "{}", bob.body);
    eventually("the limit lets go", async || (send(0).await.status == 202).then_some(())).await;
    let stored = eventually("there is room to read", async || {
        let answer = stack.get("/logs?limit=1000").await;
        (answer.status == 200).then(|| answer.body["data"]["entries"].as_array().map(Vec::len))
    });
    assert_eq!(stored.await, Some(accepted.len() + 2), "what was refused is not stored");
}

#[tokio::test]
async fn neither_a_key_nor_its_hash_is_in_a_log_or_an_answer() {
    let (alice, bob, stranger) =
        (Key::new("alice", "write,read"), Key::new("bob", "read"), Key::new("eve", "read"));
    let keys = KeysFile::of(&[&alice, &bob]);
    let settings = [keys.settings()[0], ("BROKER_KEY_RATE", "50"), ("RUST_LOG", "trace")];
    let stack = Stack::start_with(&settings).await.with_key(&alice);
    let mut answers = Vec::new();
    for transport in Transport::ALL {
        for key in [&alice, &bob, &stranger] {
            answers.push(stack.ask(post(&stack, Some(key), &entry(transport))).await);
        }
    }
    let url = format!("{}://{}/logs?key={}", tls::scheme(), stack.broker_at, alice.secret);
    answers.push(stack.ask(client_with(None).get(&url)).await);
    answers.push(stack.ask(client_with(Some(&alice)).get(format!("{url}x"))).await);
    for header in [format!("Basic {}", alice.secret), format!("{} x", alice.secret), alice.secret.clone()] {
        answers.push(stack.ask(client_with(None).get(&url).header("Authorization", header)).await);
    }
    // A file in which keys themselves stand, where hashes should.
    let leaked = Key { line: format!("alice write,read {}", alice.secret), ..alice.clone() };
    let swapped = Key { line: format!("{} read alice", bob.hash()), ..bob.clone() };
    for (broken, words) in [(&leaked, "a key in plain text"), (&swapped, "1 to 32 ASCII letters")] {
        write_file(&keys.path, &[broken]);
        stack.broker.signal(Signal::SIGHUP).expect("it runs");
        eventually(words, async || stack.broker.log().contains(words).then_some(())).await;
    }
    write_file(&keys.path, &[&alice]);
    let reloaded = || async {
        stack.broker.signal(Signal::SIGHUP).expect("it runs");
        stack.broker.log().contains("reloaded keys=1").then_some(())
    };
    eventually("the keys are read again", reloaded).await;
    let metrics = client_with(Some(&alice))
        .get(format!("{}://{}/metrics", tls::scheme(), stack.broker_at))
        .send()
        .await;
    let mut told = vec![metrics.expect("an answer").text().await.expect("text")];
    told.extend(answers.iter().map(|answer| format!("{:?} {}", answer.headers, answer.body)));
    told.extend([stack.broker.log(), stack.logger.log()]);
    told.push(stack.listener.log());
    assert!(stack.broker.log().contains("alice"), "the log of this run says whose key it was");
    for key in [&alice, &bob, &stranger] {
        // Of each its first half too: a part of a key is none to show.
        let digits = key.secret.trim_start_matches("fw_");
        for secret in [&digits[..16], &digits[32..], &key.hash()[..16], &key.hash()[32..]] {
            let place = told.iter().find(|text| text.contains(secret));
            assert!(place.is_none(), "{secret} stands in {:.2000}", place.expect("it is there"));
        }
    }
}

#[tokio::test]
async fn who_has_no_key_is_refused_before_the_body_is_read() {
    let keys = KeysFile::of(&[&Key::new("alice", "write")]);
    let stack = Stack::start_direct(&keys.settings()).await;
    // 60 bytes are announced; none but the first will come.
    for headers in ["", "Authorization: Bearer fw_wrong\r\n", "Expect: 100-continue\r\n"] {
        let half =
            format!("POST /handle HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: 60\r\n\r\n{{");
        // Who waited for the body would wait 10 s for it.
        let limit = Duration::from_secs(9);
        let (answer, took) = until_closed("half a body", stack.broker_at, half.as_bytes(), limit).await;
        assert!(!answer.contains("100 Continue"), "{answer}");
        assert_eq!(raw::parse(&answer, took).status, 401, "{headers}");
    }
}

#[tokio::test]
async fn a_browser_asks_first_without_a_key_and_may_read_a_refusal() {
    let keys = KeysFile::of(&[&Key::new("alice", "write")]);
    let stack = Stack::start_direct(&keys.settings()).await;
    let (url, origin) = (format!("{}://{}/handle", tls::scheme(), stack.broker_at), "http://localhost:3000");
    let preflight = client_with(None)
        .request(Method::OPTIONS, &url)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization");
    let preflight = stack.ask(preflight).await;
    assert_eq!(preflight.status, 200);
    let allowed = preflight.headers["access-control-allow-headers"].to_str().expect("text");
    assert!(allowed.contains("authorization"), "{allowed}");
    let refused = stack.ask(client_with(None).post(&url).header("Origin", origin)).await;
    assert_refused(&refused, 401, "unauthorized");
    assert_eq!(refused.headers["access-control-allow-origin"], origin);
}

#[tokio::test]
async fn refusals_are_counted_one_by_one_and_logged_in_few_lines() {
    const REFUSED: usize = 200;
    let (alice, stranger) = (Key::new("alice", "read"), Key::new("alice", "read"));
    let keys = KeysFile::of(&[&alice]);
    let stack = Stack::start_direct(&keys.settings()).await;
    let client = client_with(Some(&stranger));
    let url = format!("{}://{}/logs", tls::scheme(), stack.broker_at);
    let begun = std::time::Instant::now();
    for answer in join_all((0..REFUSED).map(|_| stack.ask(client.get(&url)))).await {
        assert_refused(&answer, 401, "unauthorized");
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).expect("few");
    let lines = stack.broker.log().lines().filter(|line| line.contains("request rejected")).count();
    assert!((1..=10 + seconds + 2).contains(&lines), "{lines} lines in {seconds} s");
    let metrics = client_with(Some(&alice))
        .get(format!("{}://{}/metrics", tls::scheme(), stack.broker_at))
        .send()
        .await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    let counted = format!("broker_auth_refused_total{{reason=\"unknown\"}} {REFUSED}");
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[tokio::test]
async fn a_key_that_has_all_streams_gives_one_up_for_another_key() {
    const STREAMS: usize = 64;
    let (greedy, modest) = (Key::new("greedy", "read"), Key::new("modest", "read"));
    let keys = KeysFile::of(&[&greedy, &modest]);
    let stack = Stack::start_direct(&keys.settings()).await;
    let follow = async |key: &Key| {
        let url = format!("{}://{}/logs/stream", tls::scheme(), stack.broker_at);
        client_with(Some(key)).get(url).send().await.expect("an answer")
    };
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let stream = follow(&greedy).await;
        assert_eq!(stream.status(), 200);
        open.push(stream);
    }
    assert_eq!(follow(&greedy).await.status(), 503);
    assert_eq!(follow(&modest).await.status(), 200);
    let newest = open.pop().expect("one");
    let told = tokio::time::timeout(tests::SOON, newest.text()).await.expect("it ends").expect("as a whole");
    assert!(told.contains("event: refused") && told.contains("overloaded"), "{told}");
}

/// A file of keys in a directory of its own.
struct KeysFile {
    path: PathBuf,
    _dir: TempDir,
}

impl KeysFile {
    fn of(keys: &[&Key]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("keys");
        write_file(&path, keys);
        KeysFile { path, _dir: dir }
    }

    fn settings(&self) -> [(&'static str, &str); 1] {
        [("BROKER_KEYS_FILE", self.path.to_str().expect("UTF-8"))]
    }
}

fn entry(transport: Transport) -> String {
    json!({ "action": "log", "transport": transport, "log": { "name": "event", "data": "" } }).to_string()
}

fn post(stack: &Stack, key: Option<&Key>, body: &str) -> RequestBuilder {
    let client: Client = client_with(key);
    client.post(format!("{}://{}/handle", tls::scheme(), stack.broker_at)).body(body.to_owned())
}

/// Fails unless an answer is a refusal in the envelope, with the headers that its status asks for.
fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.body);
    assert_eq!(answer.body["error"], true);
    assert_eq!(answer.body["data"]["retryable"], status == 429);
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("www-authenticate"), (status == 401).then_some("Bearer realm=\"fourwire\""));
    assert_eq!(header("retry-after"), (status == 429).then_some("1"));
}
