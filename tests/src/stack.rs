//! Logger, listener and broker, wired together, with a virtual host and a directory of the test's own.

use std::{
    collections::BTreeMap,
    ops::{ControlFlow, Deref, DerefMut},
    path::Path,
    time::{Duration, Instant},
};

use proto::{StoredEntry, Transport};
use reqwest::{Body, Client, RequestBuilder, StatusCode, header::HeaderMap};
use rig::{LogTo, Services};
use serde_json::{Value, json};
use tempfile::TempDir;
use transport::{Endpoints, Settings, Tls, grpc::Streams};
use uuid::Uuid;

use crate::{
    DIRECT, SOON, client, client_with, eventually,
    keys::{self, Key},
    process,
    rabbitmq::VirtualHost,
    tls,
};

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
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

/// The three services of one test.
#[derive(Debug)]
pub struct Stack {
    services: Services,
    /// The test's own part of RabbitMQ.
    pub rabbitmq: VirtualHost,
    client: Client,
    dir: TempDir,
}

impl Deref for Stack {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

impl DerefMut for Stack {
    fn deref_mut(&mut self) -> &mut Services {
        &mut self.services
    }
}

/// What a stack is started with.
type Given<'a> = &'a [(&'static str, &'a str)];

impl Stack {
    /// Starts all three.
    ///
    /// # Panics
    /// As everything here, if what the test stands on does not work.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts all three with some settings of their own.
    pub async fn start_with(settings: Given<'_>) -> Self {
        Self::start_on(VirtualHost::create().await, settings).await
    }

    /// Starts logger and broker, and waits until the broker reaches the logger and RabbitMQ.
    pub async fn start_without_listener(settings: Given<'_>) -> Self {
        let stack = Self::start_direct(settings).await;
        stack.reaches(&Transport::ALL).await.expect("the broker is ready");
        stack
    }

    /// Starts all three on a RabbitMQ of the test's own.
    pub async fn start_on(rabbitmq: VirtualHost, settings: Given<'_>) -> Self {
        Self::of(rabbitmq, &[], LogTo::File, settings).start_all().await
    }

    /// Starts all three, each under a command that becomes it, such as `taskset --cpu-list 0`.
    pub async fn start_under(wrapper: &[&str], settings: Given<'_>) -> Self {
        Self::of(VirtualHost::create().await, wrapper, LogTo::File, settings).start_all().await
    }

    /// Starts all three, with their logs somewhere else.
    pub async fn start_logging(log_to: LogTo, settings: Given<'_>) -> Self {
        Self::of(VirtualHost::create().await, &[], log_to, settings).start_all().await
    }

    /// Starts logger and broker, and waits until the broker reaches the logger.
    pub async fn start_direct(settings: Given<'_>) -> Self {
        let mut stack = Self::of(VirtualHost::create().await, &[], LogTo::File, settings);
        stack.start_logger().await.expect("the logger starts");
        stack.start_broker().await.expect("the broker starts");
        stack.reaches(&DIRECT).await.expect("the broker is ready");
        stack
    }

    async fn start_all(mut self) -> Self {
        self.services.start().await.expect("all three start");
        self
    }

    /// One of which nothing is started yet.
    fn of(rabbitmq: VirtualHost, wrapper: &[&str], log_to: LogTo, settings: Given<'_>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut all = BTreeMap::from([("AMQP_URL", rabbitmq.service_url())]);
        all.extend(tls::directory().map(tls::settings).unwrap_or_default());
        all.extend(keys::setting(dir.path()).map(|(name, file)| (name, file.display().to_string())));
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut launch = process::launch(&all);
        launch.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        launch.log_to = log_to;
        let services = Services::new(launch, all, dir.path(), client()).expect("free ports");
        Stack { services, rabbitmq, client: client(), dir }
    }

    /// Sends this key from now on.
    #[must_use]
    pub fn with_key(mut self, key: &Key) -> Self {
        self.client = client_with(Some(key));
        self.services.ask_with(self.client.clone());
        self
    }

    /// The logger's streaming calls, as a client of its own makes them.
    pub fn streams(&self) -> Streams {
        let tls = tls::directory().map(|directory| {
            let read = |file| std::fs::read_to_string(directory.join(file)).expect("a certificate");
            Tls::from_pem(&read("broker.pem"), &read("broker.key"), &read("ca.pem")).expect("certificates")
        });
        Streams::new(&Settings { tls, ..transport_settings(&self.services, SOON) })
    }

    /// The directory of the store and the logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Posts a body to the broker as `curl -d` would: without JSON's content type.
    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.ask(self.client.post(format!("{}://{}{path}", self.scheme(), self.broker_at)).body(body)).await
    }

    /// Posts an entry, or a batch, to `/handle`.
    pub async fn log(&self, transport: Transport, log: &Value) -> Answer {
        self.log_with(transport, log, []).await
    }

    /// As [`Stack::log`], with headers besides.
    pub async fn log_with<const N: usize>(
        &self,
        transport: Transport,
        log: &Value,
        headers: [(&str, &[u8]); N],
    ) -> Answer {
        let body = json!({ "action": "log", "transport": transport, "log": log });
        let request = self.client.post(format!("{}://{}/handle", self.scheme(), self.broker_at));
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        self.ask(request.body(body.to_string())).await
    }

    /// Asks the broker.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(self.client.get(format!("{}://{}{path}", self.scheme(), self.broker_at))).await
    }

    /// Asks the listener.
    pub async fn get_from_listener(&self, path: &str) -> Answer {
        self.ask(self.client.get(format!("{}://{}{path}", self.scheme(), self.listener_at))).await
    }

    /// Posts a body to the logger.
    pub async fn post_to_logger(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.ask(self.client.post(format!("{}://{}{path}", self.scheme(), self.logger_at.http)).body(body))
            .await
    }

    /// Sends a request, and reads its answer.
    pub async fn ask(&self, request: RequestBuilder) -> Answer {
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
        self.broker_client().stored(id).await.expect("an answer")
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
        let page_of = |page: Vec<StoredEntry>| {
            if !tls::secrets().is_empty() {
                tls::assert_no_secret("a page", &format!("{page:?}"));
            }
            page_of(page);
            ControlFlow::Continue(())
        };
        self.broker_client().patient(SOON).each_page(page_of).await.expect("pages");
    }
}

/// How the broker of some services calls their logger, without TLS and RabbitMQ.
///
/// # Panics
/// If an address is none.
pub fn transport_settings(services: &Services, deadline: Duration) -> Settings {
    let [http, rpc, grpc] = services.logger_urls().map(|(_, url)| url);
    Settings {
        endpoints: Endpoints {
            logger_http_url: http.parse().expect("an address"),
            logger_rpc_addr: rpc.parse().expect("an address"),
            logger_grpc_url: grpc.parse().expect("an address"),
        },
        amqp_url: None,
        tls: None,
        coalesce: true,
        deadline,
        came_by: None,
    }
}
