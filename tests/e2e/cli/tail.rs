//! `fourwire tail`.

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpListener,
    process::{ChildStderr, ChildStdout},
};
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// A tail that runs.
struct Tail {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

impl Tail {
    /// Starts one, and waits until it follows.
    async fn start(stack: &Stack, arguments: &[&str]) -> Self {
        let mut child =
            fourwire(stack, &[&["tail", "--json"], arguments].concat()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let err = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut tail = Tail { child, out, err };
        tail.says("following").await;
        tail
    }

    async fn next(&mut self) -> Value {
        let line =
            timeout(SOON, self.out.next_line()).await.expect("in time").expect("a pipe").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.push(self.next().await["id"].as_str().expect("an id").to_owned());
        }
        ids
    }

    /// Waits until it says a line with this word on standard error.
    async fn says(&mut self, word: &str) -> String {
        loop {
            let line = timeout(SOON, self.err.next_line()).await.unwrap_or_else(|_| panic!("{word} in time"));
            let line = line.expect("a pipe").unwrap_or_else(|| panic!("it ended without {word}"));
            if line.contains(word) {
                return line;
            }
        }
    }

    /// Interrupts it; returns the cursor with which it says to go on.
    async fn stop(mut self) -> String {
        signal(&self.child, Signal::SIGINT);
        let line = self.says("resume with").await;
        assert!(timeout(SOON, self.child.wait()).await.expect("it ends").expect("it ran").success());
        line.rsplit_once("--after ").expect("a cursor").1.to_owned()
    }
}

async fn send(stack: &Stack, transport: Transport, data: &str) -> String {
    let arguments = ["send", "--transport", transport.as_str(), "--name", "event", "--json", data];
    run(stack, &arguments).await.ended_with(0).json()["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_tail_shows_what_comes_over_each_transport_and_goes_on_after_its_cursor() {
    let stack = Stack::start().await;
    send(&stack, Transport::Http, "before").await;
    let mut all = Tail::start(&stack, &[]).await;
    let mut some = Tail::start(&stack, &["--transport", "rpc", "--contains", "live"]).await;
    let mut sent = Vec::new();
    for transport in Transport::ALL {
        let id = send(&stack, transport, "live").await;
        stack.eventually_stored(id.parse().expect("a UUID")).await;
        sent.push(id);
    }
    assert_eq!(all.ids(4).await, sent);
    assert_eq!(some.ids(1).await, sent[1..2]);
    let cursor = all.stop().await;
    let later = send(&stack, Transport::Grpc, "later").await;
    let mut again = Tail::start(&stack, &["--after", &cursor]).await;
    assert_eq!(again.ids(1).await, std::slice::from_ref(&later));
    let mut whole = Tail::start(&stack, &["--from-start"]).await;
    assert_eq!(whole.ids(6).await[5], later);
    let mut newest = Tail::start(&stack, &["--from-start", "--max-lag", "2"]).await;
    newest.says("missed: 4").await;
    assert_eq!(newest.ids(2).await[1], later);
}

#[tokio::test]
async fn a_tail_over_restarts_of_the_logger_misses_nothing_and_repeats_nothing() {
    let mut stack = Stack::start_direct(&[]).await;
    let mut tail = Tail::start(&stack, &[]).await;
    let mut told = Vec::new();
    for round in 0..3 {
        let lines: String =
            (0..100).map(|number| format!("{{\"name\":\"r{round}\",\"data\":\"{number}\"}}\n")).collect();
        run_with(&stack, &["load", "-"], lines.as_bytes()).await.ended_with(0);
        told.extend(tail.ids(if round == 0 { 100 } else { 50 }).await);
        stack.logger.kill().await.expect("it runs");
        tail.says("lost").await;
        stack.start_logger().await.expect("it starts");
        tail.says("back").await;
    }
    told.extend(tail.ids(300 - told.len()).await);
    let stored: Vec<_> = stack.all_stored().await.iter().rev().map(|entry| entry.id.to_string()).collect();
    assert_eq!(told, stored);
}

/// A tail that cannot reach the logger, and has said so; what it says.
async fn waiting(stack: &Stack, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStderr>>, String) {
    let mut child = fourwire(stack, &[&["tail"], arguments].concat()).spawn().expect("it starts");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let said = until("make run", &mut err).await;
    (child, err, said)
}

async fn until(word: &str, lines: &mut Lines<BufReader<ChildStderr>>) -> String {
    let mut said = String::new();
    while !said.contains(word) {
        let line = timeout(SOON, lines.next_line()).await.expect("in time").expect("a pipe");
        said.push_str(&line.unwrap_or_else(|| panic!("it ended without {word}: {said}")));
    }
    said
}

#[tokio::test]
async fn a_tail_waits_for_a_logger_that_is_not_there_yet() {
    let mut stack = Stack::start_direct(&[]).await;
    stack.logger.kill().await.expect("it runs");
    let (_child, mut err, said) = waiting(&stack, &["--json"]).await;
    assert!(said.starts_with("waiting for the logger") && said.matches("refused").count() == 1, "{said}");
    assert!(!said.contains("lost") && !said.contains("stored"), "{said}");
    stack.start_logger().await.expect("it starts");
    until("following", &mut err).await;
}

#[tokio::test]
async fn a_tail_that_has_not_begun_says_how_to_go_on_where_something_is_missed() {
    let mut stack = Stack::start_direct(&[]).await;
    stack.logger.kill().await.expect("it runs");
    for (arguments, goes_on) in
        [(&["--from-start"][..], true), (&["--after", "7", "--json"], true), (&["--json"], false)]
    {
        let (mut child, mut err, _) = waiting(&stack, arguments).await;
        signal(&child, Signal::SIGINT);
        assert!(timeout(SOON, child.wait()).await.expect("it ends").expect("it ran").success());
        let said = err.next_line().await.expect("a pipe").unwrap_or_default();
        let command = format!("tail {}", arguments.join(" "));
        assert!(
            said.starts_with("resume with: ") == goes_on && said.ends_with(&command) == goes_on,
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_tail_ends_at_its_time() {
    let stack = Stack::start_direct(&[]).await;
    send(&stack, Transport::Http, "hello").await;
    let until = (jiff::Timestamp::now() + std::time::Duration::from_secs(1)).to_string();
    let ran = run(&stack, &["tail", "--from-start", "--until", &until]).await.ended_with(0);
    assert!(ran.out.lines().count() == 1 && ran.out.contains("event: hello"), "{ran:?}");
}

#[tokio::test]
async fn an_address_that_is_no_loggers_is_told_and_not_waited_for() {
    let stack = Stack::start_direct(&[]).await;
    let other = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other_at = other.local_addr().expect("its address");
    let _greeting = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let (mut stream, _) = other.accept().await.expect("a caller");
            // As another server greets, or one that speaks only TLS.
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    }));
    for address in [stack.logger_at.http, stack.logger_at.rpc, other_at] {
        let url = format!("http://{address}");
        let ran = run(&stack, &["tail", "--logger-grpc-url", &url]).await.ended_with(3);
        let (_, told) = ran.err.split_once("error: ").expect("an error");
        assert!(told.contains("no Fourwire logger") && told.contains("LOGGER_GRPC_URL"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_tail_that_was_there_before_the_logger_misses_nothing_of_it() {
    let mut stack = Stack::start_direct(&[]).await;
    send(&stack, Transport::Http, "before").await;
    stack.logger.kill().await.expect("it runs");
    let (mut child, mut err, _) = waiting(&stack, &["--json"]).await;
    // However fast others are, it comes after them.
    signal(&child, Signal::SIGSTOP);
    stack.start_logger().await.expect("it starts");
    let early = send(&stack, Transport::Http, "early").await;
    signal(&child, Signal::SIGCONT);
    until("following", &mut err).await;
    let late = send(&stack, Transport::Rpc, "late").await;
    let mut out = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for id in [early, late] {
        let line = timeout(SOON, out.next_line()).await.expect("in time").expect("a pipe").expect("a line");
        let told: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(told["id"], id.as_str());
    }
}
