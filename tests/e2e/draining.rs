//! What a service that was told to stop says to those whose request had begun before.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rig::Process;
use service::LAST_CALL;
use tests::{
    SOON, eventually,
    raw::{self, begin, one_answer},
    stack::{Answer, Stack},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Between SIGTERM and SIGKILL container engines wait so long.
const MOST: Duration = Duration::from_secs(10);

const READY: &str = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ALIVE: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

const LOG: &str = r#"{"action":"log","transport":"http","log":{"name":"event","data":""}}"#;

#[tokio::test]
async fn a_broker_that_was_just_told_to_stop_takes_what_arrives_on_connections_old_and_new() {
    let mut stack = Stack::start_direct(&[]).await;
    let address = stack.broker.ready().await.expect("it is ready")["http"];
    let mut idle = begin(address, READY.as_bytes()).await.expect("it is open");
    one_answer(&mut idle).await;
    let begun = Instant::now();
    stack.broker.signal(Signal::SIGTERM).expect("it runs");
    let work = post("/handle", LOG);
    // A load balancer that looks now sends nobody any more.
    let leaves = async || {
        let mut looks = begin(address, READY.as_bytes()).await.expect("the port is open");
        let (ready, head) = one_answer(&mut looks).await;
        (ready.status == 503).then_some(head)
    };
    let head = eventually("it says that it leaves", leaves).await;
    assert!(head.contains("connection: close"), "its client opens another one: {head}");
    let new = begin(address, work.as_bytes()).await.expect("the port is open");
    idle.write_all(work.as_bytes()).await.expect("it is open");
    for mut stream in [idle, new] {
        let (answer, head) = one_answer(&mut stream).await;
        assert_eq!(answer.status, 202, "{:?}: {}", begun.elapsed(), answer.body);
        assert!(head.contains("connection: close"), "its client opens another one: {head}");
    }
    assert!(stack.broker.ended().await.expect("it ends").success(), "{}", stack.broker.log());
    assert!(begun.elapsed() < MOST, "{:?}", begun.elapsed());
    stack.start_broker().await.expect("it starts");
    assert_eq!(stack.all_stored().await.len(), 2);
}

#[tokio::test]
async fn no_connection_is_broken_that_a_broker_has_taken_however_late() {
    const CLIENTS: usize = 8;
    let mut stack = Stack::start_direct(&[]).await;
    let address = stack.broker.ready().await.expect("it is ready")["http"];
    let work = post("/handle", LOG);
    // Each has a connection for every request, as behind a proxy whose clients come and go, until none is taken.
    let until_refused = async || {
        let mut statuses = Vec::new();
        while let Ok(mut stream) = TcpStream::connect(address).await {
            stream.write_all(work.as_bytes()).await.expect("it was taken");
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.expect("what was taken is answered");
            statuses.push(String::from_utf8_lossy(&head).into_owned());
        }
        statuses
    };
    let clients = futures_util::future::join_all((0..CLIENTS).map(|_| until_refused()));
    stack.broker.signal(Signal::SIGTERM).expect("it runs");
    let statuses = clients.await.concat();
    assert!(statuses.len() >= CLIENTS, "{statuses:?}");
    assert!(statuses.iter().all(|status| status == "HTTP/1.1 202"), "{statuses:?}");
    assert!(stack.broker.ended().await.expect("it ends").success(), "{}", stack.broker.log());
    stack.start_broker().await.expect("it starts");
    assert_eq!(stack.all_stored().await.len(), statuses.len(), "what was taken is stored");
}

#[tokio::test]
async fn a_broker_that_drains_is_alive_and_not_ready_and_refuses_new_work() {
    let mut stack = Stack::start_direct(&[]).await;
    let work = post("/handle", LOG);
    let late = LAST_CALL + Duration::from_millis(100);
    is_draining(&drained(&mut stack.broker, Signal::SIGTERM, late, &[READY, ALIVE, &work]).await);
    stack.start_broker().await.expect("it starts");
    assert!(stack.all_stored().await.is_empty(), "what was refused is not stored");
}

#[tokio::test]
async fn a_logger_that_drains_is_alive_and_not_ready_and_refuses_new_work() {
    let mut stack = Stack::start_direct(&[]).await;
    let work = post("/log", r#"{"name":"event","data":""}"#);
    is_draining(&drained(&mut stack.logger, Signal::SIGINT, Duration::ZERO, &[READY, ALIVE, &work]).await);
}

#[tokio::test]
async fn a_listener_that_drains_is_alive_and_not_ready() {
    let mut stack = Stack::start().await;
    let listener = &mut stack.listener;
    is_draining(&drained(listener, Signal::SIGTERM, Duration::ZERO, &[READY, ALIVE]).await);
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn is_draining(answers: &[(Answer, String)]) {
    let (ready, _) = &answers[0];
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert_eq!(ready.body["ready"], false);
    assert_eq!(ready.body["detail"]["draining"], true);
    assert_eq!(answers[1].0.status, 200, "{}", answers[1].0.body);
    for (work, head) in &answers[2..] {
        assert_eq!((work.status.as_u16(), work.code()), (503, "draining"), "{}", work.body);
        assert!(head.contains("retry-after: 1"), "{head}");
    }
}

/// Sends the first half of each request, tells the process to stop, and sends the rest `later`: the answers, and their
/// texts. The process must end well, and in time.
async fn drained(
    process: &mut Process,
    signal: Signal,
    later: Duration,
    requests: &[&str],
) -> Vec<(Answer, String)> {
    let address = process.ready().await.expect("it is ready")["http"];
    let halves = requests.iter().map(|request| request.split_at(request.len() / 2));
    let halves: Vec<(&str, &str)> = halves.collect();
    let mut streams = Vec::new();
    for (first, _) in &halves {
        streams.push(begin(address, first.as_bytes()).await.expect("it is open"));
    }
    for stream in &streams {
        raw::is_read(stream).await;
    }
    let begun = Instant::now();
    process.signal(signal).expect("it runs");
    eventually("no new connection is taken", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    tokio::time::sleep(later.saturating_sub(begun.elapsed())).await;
    let mut answers = Vec::new();
    for (mut stream, (_, second)) in streams.into_iter().zip(halves) {
        stream.write_all(second.as_bytes()).await.expect("it is still open");
        let mut answer = String::new();
        let read = tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await;
        read.expect("it is closed after the answer").expect("text");
        answers.push((raw::parse(&answer, begun.elapsed()), answer));
    }
    assert!(process.ended().await.expect("it ends").success(), "{}", process.log());
    assert!(begun.elapsed() < MOST, "{:?}", begun.elapsed());
    answers
}
