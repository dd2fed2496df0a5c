//! Entries that share a call: each keeps its own answer, whatever becomes of its neighbours, and the logger may be one that
//! takes one entry at a time.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{StreamExt, future::join_all};
use nix::sys::signal::Signal;
use proto::{
    EntryDraft, Failure, Outcome, Receipt, Transport,
    grpc::{
        LogRequest, LogResponse,
        log_service_server::{LogService, LogServiceServer},
    },
    rpc::{VERSION, frame},
};
use serde_json::{Value, json};
use tarpc::server::{BaseChannel, Channel};
use tests::{
    client, eventually,
    prometheus::Scrape,
    stack::{Answer, Stack},
    tls,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};
use uuid::Uuid;

/// At once, so that their entries meet.
const CLIENTS: usize = 64;

/// Of each client, one after the other.
const ENTRIES: usize = 10;

for_each_transport!(
    each_entry_of_many_clients_gets_its_own_answer,
    switched_off_no_entry_goes_along_with_another,
    a_logger_that_takes_one_entry_at_a_time_serves_many_clients,
);

async fn each_entry_of_many_clients_gets_its_own_answer(transport: Transport) {
    let stack = Stack::start().await;
    let client = async |number: usize| {
        for round in 0..ENTRIES {
            let log = |data: &str| json!({ "id": id(number, round), "name": "event", "data": data });
            let answers = [stack.log(transport, &log("a")).await, stack.log(transport, &log("a")).await];
            let other = stack.log(transport, &log("b")).await;
            let [first, second] = answers.each_ref().map(Answer::outcome);
            match transport {
                Transport::Http | Transport::Rpc | Transport::Grpc => {
                    assert_eq!((first, second), ("stored", "duplicate"));
                    assert_eq!((other.status.as_u16(), other.code()), (409, "conflict"), "{}", other.body);
                }
                Transport::Rabbitmq => {
                    assert_eq!((first, second, other.outcome()), ("queued", "queued", "queued"));
                }
            }
        }
    };
    join_all((0..CLIENTS).map(client)).await;
    let (calls, entries) = groups(&stack, transport).await;
    assert!(entries > calls, "none shared a call: {calls} with {entries}");
    for number in 0..CLIENTS {
        for round in 0..ENTRIES {
            assert_eq!(stack.eventually_stored(id(number, round)).await.data, "a");
        }
    }
    assert_eq!(stack.all_stored().await.len(), CLIENTS * ENTRIES);
}

fn id(client: usize, round: usize) -> Uuid {
    Uuid::from_u128(((client as u128) << 64) | (round as u128) | 1 << 127)
}

async fn switched_off_no_entry_goes_along_with_another(transport: Transport) {
    let stack = Stack::start_without_listener(&[("BROKER_COALESCE", "off")]).await;
    all_accepted(&stack, transport).await;
    let (calls, entries) = groups(&stack, transport).await;
    let expected = match transport {
        Transport::Http | Transport::Rpc | Transport::Grpc => 0.0,
        Transport::Rabbitmq => (CLIENTS * ENTRIES) as f64,
    };
    assert_eq!((calls, entries), (expected, expected));
}

async fn a_logger_that_takes_one_entry_at_a_time_serves_many_clients(transport: Transport) {
    let logger = match transport {
        Transport::Http | Transport::Rabbitmq => TwoFieldLogger::over_http().await,
        Transport::Rpc => TwoFieldLogger::over_rpc().await,
        Transport::Grpc => TwoFieldLogger::over_grpc(),
    };
    let (setting, url) = &logger.setting;
    let mut stack = Stack::start_without_listener(&[(setting, url), ("LISTENER_TRANSPORT", "http")]).await;
    if transport == Transport::Rabbitmq {
        stack.start_listener().await.expect("it starts");
    }
    all_accepted(&stack, transport).await;
    eventually("each is stored once", async || {
        let stored = logger.stored.lock().unwrap_or_else(PoisonError::into_inner);
        (stored.len() == CLIENTS * ENTRIES).then_some(())
    })
    .await;
    let stored = logger.stored.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(stored.values().all(|times| *times == 1), "{stored:?}");
    let service = match transport {
        Transport::Http | Transport::Rpc | Transport::Grpc => stack.broker_at,
        Transport::Rabbitmq => stack.listener_at,
    };
    let found = scrape(service).await.sum("transport_without_batches_total");
    assert!((1.0..=16.0).contains(&found), "a batch was tried {found} times");
}

/// Sends from many clients at once: every entry must be accepted.
async fn all_accepted(stack: &Stack, transport: Transport) {
    let client = async |number: usize| {
        for round in 0..ENTRIES {
            let log = json!({ "name": format!("event.{number}.{round}"), "data": "text" });
            let answer = stack.log(transport, &log).await;
            assert_eq!(answer.status, 202, "{}", answer.body);
        }
    };
    join_all((0..CLIENTS).map(client)).await;
}

#[tokio::test]
async fn a_broker_that_is_told_to_stop_delivers_what_waits_for_a_call() {
    let mut stack = Stack::start_direct(&[]).await;
    stack.logger.signal(Signal::SIGSTOP).expect("it runs");
    let address = format!("{}://{}/handle", tls::scheme(), stack.broker_at);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let body = json!({ "action": "log", "transport": "http", "log": { "name": "event", "data": "" } });
        let request = client().post(&address).body(body.to_string());
        clients.spawn(async move { request.send().await.expect("an answer").status().as_u16() });
    }
    eventually("all wait", async || {
        let waiting = scrape(stack.broker_at).await.sum("transport_in_flight_entries");
        (waiting == CLIENTS as f64).then_some(())
    })
    .await;
    stack.broker.signal(Signal::SIGTERM).expect("it runs");
    eventually("no new connection is taken", async || {
        TcpStream::connect(stack.broker_at).await.is_err().then_some(())
    })
    .await;
    stack.logger.signal(Signal::SIGCONT).expect("it runs");
    assert!(clients.join_all().await.iter().all(|status| *status == 202));
    stack.broker.ends_well().await.expect("it drains");
    stack.start_broker().await.expect("it starts");
    assert_eq!(stack.all_stored().await.len(), CLIENTS);
}

#[tokio::test]
async fn clients_that_hang_up_cancel_nobody() {
    let stack = Stack::start_direct(&[]).await;
    stack.logger.signal(Signal::SIGSTOP).expect("it runs");
    let hung_up = AtomicUsize::new(0);
    let client = async |number: usize| {
        let log = json!({ "name": "event", "data": "" });
        let answer = stack.log(Transport::Rpc, &log);
        if number.is_multiple_of(2) {
            let given_up = tokio::time::timeout(std::time::Duration::from_millis(500), answer).await;
            assert!(given_up.is_err(), "the logger stands still");
            hung_up.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(answer.await)
    };
    let patient = async {
        eventually("half of them have hung up", async || {
            (hung_up.load(Ordering::Relaxed) == CLIENTS / 2).then_some(())
        })
        .await;
        stack.logger.signal(Signal::SIGCONT).expect("it runs");
    };
    let (answers, ()) = tokio::join!(join_all((0..CLIENTS).map(client)), patient);
    for answer in answers.into_iter().flatten() {
        assert_eq!((answer.status.as_u16(), answer.outcome()), (202, "stored"), "{}", answer.body);
    }
}

/// How many calls the stage has made over a transport, and for how many entries.
async fn groups(stack: &Stack, transport: Transport) -> (f64, f64) {
    let shown = scrape(stack.broker_at).await;
    let number = |name: &str| shown.value(name, &[("transport", transport.as_str())]).unwrap_or_default();
    (number("transport_group_entries_count"), number("transport_group_entries_sum"))
}

/// The metrics of a service.
pub(crate) async fn scrape(service: SocketAddr) -> Scrape {
    let answer = client().get(format!("{}://{service}/metrics", tls::scheme())).send().await;
    let text = answer.expect("an answer").text().await.expect("text");
    Scrape::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A learner's logger: it takes an entry of a name and data, and knows no other call.
struct TwoFieldLogger {
    /// By which it is found.
    setting: (&'static str, String),
    stored: Stored,
    _server: JoinSet<()>,
}

/// How often each name came.
type Stored = Arc<Mutex<BTreeMap<String, usize>>>;

fn store(stored: &Stored, name: &str) {
    *stored.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default() += 1;
}

impl TwoFieldLogger {
    async fn over_http() -> Self {
        let (listener, address) = listen().await;
        let (stored, mut server) = (Stored::default(), JoinSet::new());
        let all = Arc::clone(&stored);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer_http(stream, Arc::clone(&all)));
            }
        });
        TwoFieldLogger { setting: ("LOGGER_HTTP_URL", format!("http://{address}")), stored, _server: server }
    }

    async fn over_rpc() -> Self {
        let (listener, address) = listen().await;
        let (stored, mut server) = (Stored::default(), JoinSet::new());
        let all = Arc::clone(&stored);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let calls =
                    BaseChannel::with_defaults(frame(stream)).execute(OneAtATime(Arc::clone(&all)).serve());
                connections.spawn(calls.for_each(|call| call));
            }
        });
        TwoFieldLogger { setting: ("LOGGER_RPC_ADDR", address.to_string()), stored, _server: server }
    }

    fn over_grpc() -> Self {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = incoming.local_addr().expect("its address");
        let (stored, mut server) = (Stored::default(), JoinSet::new());
        let service = LogServiceServer::new(OneAtATime(Arc::clone(&stored)));
        server.spawn(async move {
            let served = tonic::transport::Server::builder().add_service(service);
            served.serve_with_incoming(incoming).await.expect("it serves");
        });
        TwoFieldLogger { setting: ("LOGGER_GRPC_URL", format!("http://{address}")), stored, _server: server }
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// Answers `POST /log` as the course's logger does, and nothing else.
async fn answer_http(mut stream: TcpStream, stored: Stored) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            let path = head.split(' ').nth(1)?.to_owned();
            let is_get = head.starts_with("GET");
            let body = if is_get { Value::Null } else { serde_json::from_str(body).ok()? };
            Some((path, body))
        });
        let Some((path, body)) = whole else {
            if stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                continue;
            }
            return;
        };
        bytes.clear();
        let (status, body) = if path == "/log" {
            store(&stored, body["name"].as_str().expect("a name"));
            ("202 Accepted", r#"{"error":false,"message":"logged"}"#)
        } else {
            ("404 Not Found", "404 page not found\n")
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Over rpc and gRPC.
#[derive(Clone)]
struct OneAtATime(Stored);

/// What is left of the logger's rpc service without batches.
#[tarpc::service]
trait TwoFields {
    async fn version() -> u32;
    async fn write(entry: EntryDraft) -> Result<Receipt, Failure>;
}

impl TwoFields for OneAtATime {
    async fn version(self, _: tarpc::context::Context) -> u32 {
        VERSION
    }

    async fn write(self, _: tarpc::context::Context, entry: EntryDraft) -> Result<Receipt, Failure> {
        store(&self.0, &entry.name);
        Ok(Receipt { outcome: Outcome::Stored, store_us: None })
    }
}

#[tonic::async_trait]
impl LogService for OneAtATime {
    async fn write_log(&self, request: Request<LogRequest>) -> Result<Response<LogResponse>, Status> {
        let log = request.into_inner().log_entry.unwrap_or_default();
        store(&self.0, &log.name);
        Ok(Response::new(LogResponse { result: "logged!".to_owned(), ..LogResponse::default() }))
    }
}
