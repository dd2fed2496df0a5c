//! Logger, listener and broker, wired together.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use proto::{Page, StoredEntry, Transport, json::Envelope};
use reqwest::{Client, StatusCode};
use rig::{LogTo, Relay};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use transport::{Settings, Tls, grpc::Streams};
use uuid::Uuid;

use crate::{
    DIRECT, SOON, client_with, eventually,
    keys::{self, Key},
    process::Process,
    rabbitmq::VirtualHost,
    tls,
};

/// The three services of one test.
#[derive(Debug)]
pub struct Stack {
    /// The store's process.
    pub logger: Process,
    /// The listener's process; `None` until it is started.
    pub listener: Option<Process>,
    /// The broker's process.
    pub broker: Process,
    /// Where the logger listens; it keeps its ports over a restart.
    pub logger_at: LoggerAddresses,
    /// Where the broker listens.
    pub broker_at: SocketAddr,
    /// Where the listener listens, once it is started.
    pub listener_at: Option<SocketAddr>,
    /// The test's own part of RabbitMQ.
    pub rabbitmq: VirtualHost,
    settings: BTreeMap<&'static str, String>,
    wrapper: &'static [&'static str],
    log_to: LogTo,
    client: Client,
    dir: TempDir,
    /// Keep the ports for the three: the broker asks the listener's before that is there, and who is started again must
    /// get its own.
    _ports: [TcpSocket; 5],
}

/// Where a logger listens.
#[derive(Debug, Clone, Copy)]
pub struct LoggerAddresses {
    /// HTTP.
    pub http: SocketAddr,
    /// rpc.
    pub rpc: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
}

impl LoggerAddresses {
    /// The settings by which a logger listens there.
    pub fn listens(self) -> [(&'static str, String); 3] {
        [
            ("LOGGER_HTTP_LISTEN", self.http.to_string()),
            ("LOGGER_RPC_LISTEN", self.rpc.to_string()),
            ("LOGGER_GRPC_LISTEN", self.grpc.to_string()),
        ]
    }

    /// The settings by which it is found there.
    pub fn urls(self) -> [(&'static str, String); 3] {
        [
            ("LOGGER_HTTP_URL", format!("{}://{}", tls::scheme(), self.http)),
            ("LOGGER_RPC_ADDR", format!("{}{}", rpc_prefix(), self.rpc)),
            ("LOGGER_GRPC_URL", format!("{}://{}", tls::scheme(), self.grpc)),
        ]
    }
}

/// What an address for rpc begins with.
fn rpc_prefix() -> &'static str {
    if tls::directory().is_some() { "tls://" } else { "" }
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body; `Null` if it is no JSON.
    pub body: Value,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    /// `data.code`.
    pub fn code(&self) -> &str {
        self.body["data"]["code"].as_str().unwrap_or_default()
    }

    /// `data.outcome`.
    pub fn outcome(&self) -> &str {
        self.body["data"]["outcome"].as_str().unwrap_or_default()
    }

    /// `message`.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// `data.id`.
    ///
    /// # Panics
    /// If there is none.
    pub fn id(&self) -> Uuid {
        let id = self.body["data"]["id"].as_str();
        id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no id in {}", self.body))
    }
}

impl Stack {
    /// Starts all three.
    ///
    /// # Panics
    /// As everything here, if what the test stands on does not work.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts all three with some settings of their own.
    pub async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let mut stack = Self::start_without_listener(settings).await;
        stack.start_listener().await;
        stack
    }

    /// Starts logger and broker, and waits until the broker reaches the logger and RabbitMQ.
    pub async fn start_without_listener(settings: &[(&'static str, &str)]) -> Self {
        let stack = Self::start_direct(settings).await;
        stack.reaches(Transport::Rabbitmq).await;
        stack
    }

    /// Starts all three on a RabbitMQ of the test's own.
    pub async fn start_on(rabbitmq: VirtualHost, settings: &[(&'static str, &str)]) -> Self {
        let mut stack = Self::start_direct_on(rabbitmq, &[], LogTo::File, settings).await;
        stack.reaches(Transport::Rabbitmq).await;
        stack.start_listener().await;
        stack
    }

    /// Starts logger and broker, and waits until the broker reaches the logger.
    pub async fn start_direct(settings: &[(&'static str, &str)]) -> Self {
        Self::start_direct_on(VirtualHost::create().await, &[], LogTo::File, settings).await
    }

    /// Starts all three, each under a command that becomes it: see [`Process::start_under`].
    pub async fn start_under(wrapper: &'static [&'static str], settings: &[(&'static str, &str)]) -> Self {
        let mut stack =
            Self::start_direct_on(VirtualHost::create().await, wrapper, LogTo::File, settings).await;
        stack.reaches(Transport::Rabbitmq).await;
        stack.start_listener().await;
        stack
    }

    /// Starts all three, with their logs somewhere else.
    pub async fn start_logging(log_to: LogTo, settings: &[(&'static str, &str)]) -> Self {
        let mut stack = Self::start_direct_on(VirtualHost::create().await, &[], log_to, settings).await;
        stack.reaches(Transport::Rabbitmq).await;
        stack.start_listener().await;
        stack
    }

    async fn start_direct_on(
        rabbitmq: VirtualHost,
        wrapper: &'static [&'static str],
        log_to: LogTo,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let reserved = [(); 5].map(|()| reserve());
        let [listener_at, broker_at, http, rpc, grpc] =
            reserved.each_ref().map(|port| port.local_addr().expect("its address"));
        let mut all = BTreeMap::from([
            ("AMQP_URL", rabbitmq.service_url()),
            ("BROKER_HTTP_LISTEN", broker_at.to_string()),
            ("LISTENER_HTTP_LISTEN", listener_at.to_string()),
            ("LISTENER_HTTP_URL", format!("{}://{listener_at}", tls::scheme())),
        ]);
        all.extend(LoggerAddresses { http, rpc, grpc }.listens());
        all.extend(tls::directory().map(tls::settings).unwrap_or_default());
        all.extend(keys::setting(dir.path()).map(|(name, file)| (name, file.display().to_string())));
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut logger = Process::start_logging(log_to, wrapper, "logger", &all, dir.path());
        let ports = logger.ready().await;
        let logger_at = LoggerAddresses { http: ports["http"], rpc: ports["rpc"], grpc: ports["grpc"] };
        all.extend(logger_at.listens());
        for (name, value) in logger_at.urls() {
            all.entry(name).or_insert(value);
        }
        let mut broker = Process::start_logging(log_to, wrapper, "broker", &all, dir.path());
        let broker_at = broker.ready().await["http"];
        all.insert("BROKER_HTTP_LISTEN", broker_at.to_string());
        let stack = Stack {
            logger,
            listener: None,
            broker,
            logger_at,
            broker_at,
            listener_at: None,
            rabbitmq,
            settings: all,
            wrapper,
            log_to,
            client: crate::client(),
            dir,
            _ports: reserved,
        };
        for direct in DIRECT {
            stack.reaches(direct).await;
        }
        stack
    }

    /// Sends this key from now on.
    #[must_use]
    pub fn with_key(mut self, key: &Key) -> Self {
        self.client = client_with(Some(key));
        self
    }

    /// Changes a setting for what is started from now on.
    pub fn set(&mut self, setting: &'static str, value: String) {
        self.settings.insert(setting, value);
    }

    /// A relay in front of the other end of a transport, for the services that are started from now on.
    pub async fn relay(&mut self, transport: Transport) -> Relay {
        let at = self.logger_at;
        let http = format!("{}://", tls::scheme());
        let (setting, server, scheme) = match transport {
            Transport::Http => ("LOGGER_HTTP_URL", at.http, http.as_str()),
            Transport::Rpc => ("LOGGER_RPC_ADDR", at.rpc, rpc_prefix()),
            Transport::Grpc => ("LOGGER_GRPC_URL", at.grpc, http.as_str()),
            Transport::Rabbitmq => {
                let (relay, url) = self.rabbitmq.relay().await;
                self.set("AMQP_URL", url);
                return relay;
            }
        };
        let relay = Relay::open(server).await.expect("a free port");
        self.set(setting, format!("{scheme}{}", relay.address()));
        relay
    }

    /// Starts the listener, and waits until it takes deliveries.
    pub async fn start_listener(&mut self) {
        self.launch_listener().await;
        let listener = self.listener.as_ref().expect("it was started");
        let consumes = || async {
            match self.log_to {
                LogTo::File | LogTo::Pipe => listener.log().contains("consuming").then_some(()),
                LogTo::Full => {
                    let ready = self.get_from_listener("/readyz").await;
                    ready.body["detail"]["consuming"].as_bool().filter(|consuming| *consuming).map(|_| ())
                }
            }
        };
        eventually("the listener consumes", consumes).await;
    }

    /// Starts the listener, whether it finds anything to take or not.
    pub async fn launch_listener(&mut self) {
        let mut listener = self.process("listener");
        self.listener_at = Some(listener.ready().await["http"]);
        self.listener = Some(listener);
    }

    /// Starts the logger again, on the ports and with the store that it had.
    pub async fn start_logger(&mut self) {
        self.start_logger_unasked().await;
        // A broker that has just failed to dial refuses for a moment.
        eventually("the broker reads again", async || (self.get("/logs").await.status == 200).then_some(()))
            .await;
    }

    /// As [`Stack::start_logger`], and nobody calls it yet.
    pub async fn start_logger_unasked(&mut self) {
        self.logger = self.process("logger");
        self.logger.ready().await;
    }

    /// Starts the broker again, on the port that it had.
    pub async fn start_broker(&mut self) {
        self.broker = self.process("broker");
        self.broker.ready().await;
    }

    /// As [`Stack::start_broker`], with its log somewhere else.
    pub async fn start_broker_logging(&mut self, to: LogTo) {
        self.broker = Process::start_logging(to, self.wrapper, "broker", &self.settings, self.dir.path());
        self.broker.ready().await;
    }

    fn process(&self, name: &str) -> Process {
        Process::start_logging(self.log_to, self.wrapper, name, &self.settings, self.dir.path())
    }

    /// Waits until the broker reaches the other end of a transport.
    pub async fn reaches(&self, transport: Transport) {
        let what = format!("the broker reaches its peer by {transport}");
        eventually(&what, || async {
            let ready = self.get("/readyz").await;
            ready.body["detail"]["reachable"][transport.as_str()].as_bool().filter(|reachable| *reachable)
        })
        .await;
    }

    /// The logger's streaming calls, as a client of its own makes them.
    pub fn streams(&self) -> Streams {
        let [http, rpc, grpc] = self.logger_at.urls().map(|(_, url)| url);
        let tls = tls::directory().map(|directory| {
            let read = |file| std::fs::read_to_string(directory.join(file)).expect("a certificate");
            Tls::from_pem(&read("broker.pem"), &read("broker.key"), &read("ca.pem")).expect("certificates")
        });
        Streams::new(&Settings {
            logger_http_url: http.parse().expect("an address"),
            logger_rpc_addr: rpc.parse().expect("an address"),
            logger_grpc_url: grpc.parse().expect("an address"),
            amqp_url: None,
            tls,
            deadline: SOON,
            came_by: None,
        })
    }

    /// The directory of the store and the logs.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Posts a body to the broker as `curl -d` would: without JSON's content type.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.ask(self.client.post(format!("{}://{}{path}", tls::scheme(), self.broker_at)).body(body)).await
    }

    /// Posts an entry, or a batch, to `/handle`.
    pub async fn log(&self, transport: Transport, log: &Value) -> Answer {
        let body = json!({ "action": "log", "transport": transport, "log": log });
        self.post("/handle", body.to_string()).await
    }

    /// As [`Stack::log`], with headers besides.
    pub async fn log_with<const N: usize>(
        &self,
        transport: Transport,
        log: &Value,
        headers: [(&str, &[u8]); N],
    ) -> Answer {
        let body = json!({ "action": "log", "transport": transport, "log": log });
        let request = self.client.post(format!("{}://{}/handle", tls::scheme(), self.broker_at));
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        self.ask(request.body(body.to_string())).await
    }

    /// Asks the broker.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(self.client.get(format!("{}://{}{path}", tls::scheme(), self.broker_at))).await
    }

    /// Asks the listener.
    ///
    /// # Panics
    /// If it was never started.
    pub async fn get_from_listener(&self, path: &str) -> Answer {
        let at = self.listener_at.expect("it was started");
        self.ask(self.client.get(format!("{}://{at}{path}", tls::scheme()))).await
    }

    /// Posts a body to the logger.
    pub async fn post_to_logger(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.ask(self.client.post(format!("{}://{}{path}", tls::scheme(), self.logger_at.http)).body(body))
            .await
    }

    /// Sends a request, and reads its answer.
    pub async fn ask(&self, request: reqwest::RequestBuilder) -> Answer {
        let begun = Instant::now();
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("a whole answer");
        tls::assert_no_secret("an answer", &String::from_utf8_lossy(&bytes));
        tls::assert_no_secret("a header of an answer", &format!("{headers:?}"));
        if headers.get("content-type").is_some_and(|is| is == "application/json") {
            assert!(bytes.ends_with(b"\n"), "JSON ends in a line feed: {}", String::from_utf8_lossy(&bytes));
        }
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, headers, body, took: begun.elapsed() }
    }

    /// The stored entry of an id.
    pub async fn stored(&self, id: Uuid) -> Option<StoredEntry> {
        let answer = self.get(&format!("/logs/{id}")).await;
        let envelope: Envelope<StoredEntry> = if answer.status == 200 {
            serde_json::from_value(answer.body).expect("an entry")
        } else {
            return None;
        };
        envelope.data
    }

    /// Waits until an entry is stored.
    pub async fn eventually_stored(&self, id: Uuid) -> StoredEntry {
        eventually("the entry is stored", || self.stored(id)).await
    }

    /// All stored entries, newest first, page by page.
    pub async fn all_stored(&self) -> Vec<StoredEntry> {
        let mut entries = Vec::new();
        self.each_page(|page| entries.extend(page)).await;
        entries
    }

    /// Hands over all stored entries page by page: more than memory holds.
    pub async fn each_page(&self, mut page_of: impl FnMut(Vec<StoredEntry>)) {
        let mut path = "/logs?limit=1000".to_owned();
        loop {
            // On a busy machine a broker with a short deadline may answer that the logger did not.
            let page = async || Some(self.get(&path).await).filter(|answer| answer.status == 200);
            let answer = eventually("a page is read", page).await;
            let envelope: Envelope<Page> = serde_json::from_value(answer.body).expect("a page");
            let page = envelope.data.expect("data");
            page_of(page.entries);
            let Some(next) = page.next else { return };
            path = format!("/logs?limit=1000&cursor={}", String::from(next));
        }
    }
}

/// A port that nobody gets by chance while the socket is there, and a service that asks for it does: a service's port
/// may be bound again, as this one, and this one does not listen.
///
/// # Panics
/// If there is none.
pub fn reserve() -> TcpSocket {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(any).expect("a free port");
    socket
}
