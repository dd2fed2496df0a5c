//! What the gathering stage makes of entries, before a logger that answers when the test says so.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use proto::EntryDraft;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use uuid::Uuid;

use super::*;
use crate::Endpoints;

const DEADLINE: Duration = Duration::from_secs(10);

/// Calls that are made before anything waits for others: 8 from callers, and 4 of the stage, which has nothing yet that
/// could go along.
const FILLED: usize = 12;

/// What a logger answers to a path with the names of the entries: a status, or 0 to close the connection, and a body.
type Answers = fn(&str, &[String]) -> (u16, Value);

/// The path of a call, and the names of its entries.
type Asked = (String, Vec<String>);

/// A logger that answers only as often as it may.
struct Logger {
    at: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    may_answer: Arc<Semaphore>,
    _server: JoinSet<()>,
}

impl Logger {
    async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let (asked, may_answer) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(Semaphore::new(0)));
        let mut server = JoinSet::new();
        let (all, gate) = (Arc::clone(&asked), Arc::clone(&may_answer));
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (all, gate) = (Arc::clone(&all), Arc::clone(&gate));
                connections.spawn(async move {
                    while let Some((path, names)) = read_request(&mut stream).await {
                        let (status, body) = answers(&path, &names);
                        all.lock().unwrap_or_else(PoisonError::into_inner).push((path, names));
                        gate.acquire().await.expect("it is never closed").forget();
                        if status == 0 {
                            return;
                        }
                        let (body, end) = (body.to_string(), "\r\n");
                        let head =
                            format!("HTTP/1.1 {status} so{end}Content-Length: {}{end}{end}", body.len());
                        let answer = head + &body;
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Logger { at, asked, may_answer, _server: server }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The calls for many, by how many they had.
    fn batches(&self) -> Vec<usize> {
        let asked = self.asked();
        asked.iter().filter(|(path, _)| path == "/logs").map(|(_, names)| names.len()).collect()
    }

    fn answers_all(&self) {
        self.may_answer.add_permits(10_000);
    }

    fn transports(&self, coalesce: bool) -> Arc<Transports> {
        Arc::new(Transports::new(&Settings {
            endpoints: Endpoints {
                logger_http_url: format!("http://{}", self.at).parse().expect("a URL"),
                logger_rpc_addr: "127.0.0.1:1".parse().expect("an address"),
                logger_grpc_url: "http://127.0.0.1:1".parse().expect("a URL"),
            },
            amqp_url: None,
            tls: None,
            coalesce,
            deadline: DEADLINE,
            came_by: None,
        }))
    }

    /// Hands over entries until the next ones have to wait for each other.
    async fn filled(&self, transports: &Arc<Transports>) -> Vec<JoinHandle<Told>> {
        let mut fillers = Vec::new();
        for already in 0..FILLED {
            fillers.push(write(transports, "good"));
            until("it is asked", || self.asked().len() == already + 1).await;
        }
        fillers
    }
}

/// The names of the entries of a request, and its path; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str::<Value>(body)
        {
            let path = head.split(' ').nth(1).expect("a path").to_owned();
            let one = std::slice::from_ref(&body);
            let entries = body["entries"].as_array().map_or(one, Vec::as_slice);
            let name = |entry: &Value| entry["name"].as_str().expect("a name").to_owned();
            return Some((path, entries.iter().map(name).collect()));
        }
    }
}

/// What a caller was told: the outcome, or the code of the failure.
type Told = Result<Outcome, Code>;

fn write(transports: &Arc<Transports>, name: &str) -> JoinHandle<Told> {
    write_bytes(transports, name, 1)
}

fn write_bytes(transports: &Arc<Transports>, name: &str, data_bytes: usize) -> JoinHandle<Told> {
    let draft = EntryDraft { name: name.into(), data: "x".repeat(data_bytes), ..EntryDraft::default() };
    let entry = draft.check("2026-01-31T12:00:00Z".parse().expect("a time")).expect("valid");
    let transports = Arc::clone(transports);
    tokio::spawn(async move {
        let delivered = transports.write(Transport::Http, entry.into(), BatchMode::AllOrNone).await;
        let outcomes = delivered.and_then(Delivered::outcomes).map_err(|failure| failure.code)?;
        Ok(*outcomes.first())
    })
}

/// Hands over an entry of each name, which wait in this order.
async fn waiting(transports: &Arc<Transports>, names: &[&str]) -> Vec<JoinHandle<Told>> {
    let mut callers = Vec::new();
    for name in names {
        let before = transports.in_flight[Transport::Http].entries();
        callers.push(write(transports, name));
        until("it waits", || transports.in_flight[Transport::Http].entries() == before + 1).await;
    }
    callers
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn told(callers: Vec<JoinHandle<Told>>) -> Vec<Told> {
    let mut all = Vec::new();
    for caller in callers {
        all.push(caller.await.expect("it does not panic"));
    }
    all
}

async fn all_are_stored(callers: Vec<JoinHandle<Told>>) {
    for told in told(callers).await {
        assert_eq!(told, Ok(Outcome::Stored));
    }
}

fn refusal(code: Code) -> Value {
    json!({ "error": true, "message": "no", "data": { "code": code, "retryable": false } })
}

/// What our logger answers, where an entry's fate is in its name.
fn as_ours(path: &str, names: &[String]) -> (u16, Value) {
    let code = |name: &str| match name {
        "conflict" => Some(Code::Conflict),
        "invalid" => Some(Code::InvalidEntry),
        _ => None,
    };
    if path == "/logs" {
        let result = |name: &String| match code(name) {
            Some(code) => json!({ "code": code, "message": "no" }),
            None => json!({ "outcome": "stored" }),
        };
        let results: Vec<Value> = names.iter().map(result).collect();
        return (
            202,
            json!({ "error": false, "message": "ok", "data": { "results": results, "store_us": 7 } }),
        );
    }
    match code(&names[0]) {
        Some(code) => (code.http_status(), refusal(code)),
        None => {
            let data = json!({ "id": Uuid::nil(), "outcome": "stored", "store_us": 7 });
            (202, json!({ "error": false, "message": "ok", "data": data }))
        }
    }
}

#[tokio::test]
async fn each_entry_of_a_group_gets_its_own_answer() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let callers = waiting(&transports, &["good", "conflict", "invalid", "good"]).await;
    logger.answers_all();
    let expected = [Ok(Outcome::Stored), Err(Code::Conflict), Err(Code::InvalidEntry), Ok(Outcome::Stored)];
    assert_eq!(told(callers).await, expected);
    all_are_stored(fillers).await;
    assert_eq!(logger.batches(), [4]);
    assert_eq!(transports.in_flight[Transport::Http].entries(), 0);
    assert_eq!(transports.in_flight[Transport::Http].calls(), (0, 0));
}

#[tokio::test]
async fn a_group_that_is_refused_as_a_whole_goes_again_one_by_one() {
    let refuses: [Answers; 3] = [
        |path: &str, names: &[String]| match path {
            "/logs" => (413, refusal(Code::TooLarge)),
            _ => as_ours(path, names),
        },
        |path: &str, names: &[String]| match path {
            "/logs" => (400, refusal(Code::BadBatch)),
            _ => as_ours(path, names),
        },
        |path: &str, names: &[String]| match path {
            "/logs" => (400, refusal(Code::BadJson)),
            _ => as_ours(path, names),
        },
    ];
    for answers in refuses {
        let logger = Logger::start(answers).await;
        let transports = logger.transports(true);
        let fillers = logger.filled(&transports).await;
        let callers = waiting(&transports, &["good", "conflict", "good"]).await;
        logger.answers_all();
        let expected = [Ok(Outcome::Stored), Err(Code::Conflict), Ok(Outcome::Stored)];
        assert_eq!(told(callers).await, expected);
        all_are_stored(fillers).await;
        assert_eq!((logger.batches(), logger.asked().len()), (vec![3], FILLED + 1 + 3));
    }
}

#[tokio::test]
async fn to_a_logger_without_batches_entries_go_one_by_one_and_it_is_not_asked_again() {
    for status in [404, 405, 501] {
        let answers: Answers = match status {
            404 => |path, names| if path == "/log" { as_ours(path, names) } else { (404, json!("none")) },
            405 => |path, names| if path == "/log" { as_ours(path, names) } else { (405, json!("none")) },
            _ => |path, names| if path == "/log" { as_ours(path, names) } else { (501, json!("none")) },
        };
        let logger = Logger::start(answers).await;
        let transports = logger.transports(true);
        let fillers = logger.filled(&transports).await;
        let callers = waiting(&transports, &["good", "conflict", "good"]).await;
        logger.answers_all();
        let expected = [Ok(Outcome::Stored), Err(Code::Conflict), Ok(Outcome::Stored)];
        assert_eq!(told(callers).await, expected, "{status}");
        all_are_stored(fillers).await;
        assert_eq!(logger.batches(), [3]);
        all_are_stored((0..100).map(|_| write(&transports, "good")).collect()).await;
        assert_eq!(logger.batches(), [3], "it was asked again");
        // What is to be stored as one cannot be.
        let entries: Vec<LogEntry> = (0..2).map(|_| entry()).collect();
        let batch = Batch::try_from(entries).expect("two");
        let refused = transports.write(Transport::Http, batch.clone(), BatchMode::AllOrNone).await;
        assert_eq!(refused.map_err(|failure| failure.code), Err(Code::Unavailable));
        let each = transports.write(Transport::Http, batch, BatchMode::Each).await.expect("each is sent");
        assert!(each.results.iter().all(|result| *result == Ok(Outcome::Stored)));
        assert_eq!(transports.ping(Direct::Http).await, Ok(()), "it is there");
    }
}

fn entry() -> LogEntry {
    let draft = EntryDraft { name: "good".into(), ..EntryDraft::default() };
    draft.check("2026-01-31T12:00:00Z".parse().expect("a time")).expect("valid")
}

#[tokio::test]
async fn a_call_that_fails_leaves_all_in_it_unknown() {
    let logger = Logger::start(|path, names| match path {
        "/logs" => (0, Value::Null),
        _ => as_ours(path, names),
    })
    .await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let callers = waiting(&transports, &["good", "good"]).await;
    logger.answers_all();
    assert_eq!(told(callers).await, [Err(Code::OutcomeUnknown); 2]);
    all_are_stored(fillers).await;
    assert_eq!(logger.batches(), [2], "it was sent once");
}

#[tokio::test]
async fn who_hangs_up_cancels_nobody_and_is_left_out_if_nothing_was_sent_yet() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let mut callers = waiting(&transports, &["left out", "good", "sent", "conflict"]).await;
    callers.remove(0).abort();
    // Those that came first are answered, and one call of the stage, which then takes what waits.
    logger.may_answer.add_permits(9);
    until("the group is sent", || logger.batches() == [3]).await;
    callers.remove(1).abort();
    logger.answers_all();
    assert_eq!(told(callers).await, [Ok(Outcome::Stored), Err(Code::Conflict)]);
    all_are_stored(fillers).await;
}

#[tokio::test]
async fn a_large_entry_goes_by_itself_while_others_wait() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let small = waiting(&transports, &["good", "good"]).await;
    let large = write_bytes(&transports, "large", crate::gather::ALONE_BYTES);
    until("it is sent", || logger.asked().len() == FILLED + 1).await;
    assert_eq!(logger.asked()[FILLED], ("/log".to_owned(), vec!["large".to_owned()]));
    logger.answers_all();
    all_are_stored(small.into_iter().chain(fillers).chain([large]).collect()).await;
    assert_eq!(logger.batches(), [2]);
}

#[tokio::test]
async fn switched_off_every_entry_has_a_call_of_its_own() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(false);
    let callers: Vec<_> = (0..40).map(|_| write(&transports, "good")).collect();
    until("all are sent at once", || logger.asked().len() == callers.len()).await;
    assert!(logger.asked().iter().all(|(path, _)| path == "/log"));
    logger.answers_all();
    all_are_stored(callers).await;
}

#[tokio::test]
async fn what_waits_too_long_to_be_sent_is_certainly_not_stored() {
    let logger = Logger::start(as_ours).await;
    let transports = logger.transports(true);
    let fillers = logger.filled(&transports).await;
    let begun = Instant::now();
    let callers = waiting(&transports, &["good"]).await;
    assert_eq!(told(callers).await, [Err(Code::Overloaded)]);
    assert!(begun.elapsed() >= DEADLINE / PATIENCE_PART);
    logger.answers_all();
    all_are_stored(fillers).await;
    assert_eq!(logger.batches(), [0_usize; 0]);
}
