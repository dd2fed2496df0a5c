//! Fourwire, as any user sees it: the broker's HTTP.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use secrecy::{ExposeSecret, SecretString};

/// How long it may take: longer than the broker's own deadline, so that it is the broker that gives up.
const TIMEOUT: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Less than the 75 s that the broker keeps an idle connection.
const IDLE: Duration = Duration::from_secs(30);

/// Most bytes of an answer.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A client of the broker.
#[derive(Debug, Clone)]
pub struct Broker {
    client: Client<HttpConnector, Full<Bytes>>,
    base: Uri,
    key: Option<SecretString>,
}

/// Why there is no answer.
pub type NoAnswer = Box<dyn Error + Send + Sync>;

impl Broker {
    /// One at a URL of scheme, host and port.
    pub fn new(base: Uri, key: Option<SecretString>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Broker { client, base, key }
    }

    /// Hands entries over: a JSON array of them, as `POST /handle` takes it.
    ///
    /// # Errors
    /// If there is no answer: they may be stored or not.
    pub async fn log(&self, transport: &str, entries: &str) -> Result<(StatusCode, Bytes), NoAnswer> {
        let body = format!(r#"{{"action":"log","transport":"{transport}","log":{entries}}}"#);
        self.ask(Method::POST, "/handle", body.into()).await
    }

    /// Reads.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn get(&self, path_and_query: &str) -> Result<(StatusCode, Bytes), NoAnswer> {
        self.ask(Method::GET, path_and_query, Bytes::new()).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), NoAnswer> {
        let host = self.base.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{host}{path}"))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.expose_secret()));
        }
        let request = request.body(Full::new(body))?;
        let answered = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await?.to_bytes();
            Ok((status, body))
        };
        tokio::time::timeout(TIMEOUT, answered).await?
    }
}
