//! A logger over HTTP for tests, that answers what and when the test says.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use proto::Code;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use uuid::Uuid;

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a logger answers to a path with the names of the entries: a status, or 0 to close the connection, and a body.
pub(crate) type Answers = fn(&str, &[String]) -> (u16, Value);

/// The path of a call, and the names of its entries.
pub(crate) type Asked = (String, Vec<String>);

/// A logger that answers only as often as it may.
pub(crate) struct Logger {
    pub(crate) at: SocketAddr,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) may_answer: Arc<Semaphore>,
    _server: JoinSet<()>,
}

impl Logger {
    pub(crate) async fn start(
        answers: impl Fn(&str, &[String]) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0", answers).await
    }

    pub(crate) async fn start_at(
        at: &str,
        answers: impl Fn(&str, &[String]) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(at).await.expect("a port");
        let answers = Arc::new(answers);
        let at = listener.local_addr().expect("its address");
        let (asked, may_answer) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(Semaphore::new(0)));
        let mut server = JoinSet::new();
        let (all, gate) = (Arc::clone(&asked), Arc::clone(&may_answer));
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (all, gate, answers) = (Arc::clone(&all), Arc::clone(&gate), Arc::clone(&answers));
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

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The calls for many, by how many they had.
    pub(crate) fn batches(&self) -> Vec<usize> {
        let asked = self.asked();
        asked.iter().filter(|(path, _)| path == "/logs").map(|(_, names)| names.len()).collect()
    }

    pub(crate) fn answers_all(&self) {
        self.may_answer.add_permits(10_000);
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
        if text.starts_with("GET ") && text.ends_with("\r\n\r\n") {
            return Some((text.split(' ').nth(1).expect("a path").to_owned(), Vec::new()));
        }
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

pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) fn refusal(code: Code) -> Value {
    json!({ "error": true, "message": "no", "data": { "code": code, "retryable": false } })
}

/// What our logger answers, where an entry's fate is in its name.
pub(crate) fn as_ours(path: &str, names: &[String]) -> (u16, Value) {
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
