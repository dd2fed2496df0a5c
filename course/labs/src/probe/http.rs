//! An HTTP server that answers by a script.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

/// Largest body that it reads.
const BODY_BYTES: usize = 32 * 1024 * 1024;

/// How it answers a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With a response, so much later.
    Answer {
        /// The status.
        status: u16,
        /// Headers besides the content's own.
        headers: Vec<(&'static str, String)>,
        /// The body, JSON.
        body: String,
        /// How long it waits before.
        after: Duration,
    },
    /// Not at all.
    Hang,
    /// By closing the connection.
    Cut,
}

impl Reply {
    /// A response at once.
    pub fn now(status: u16, body: impl Into<String>) -> Self {
        Reply::Answer { status, headers: Vec::new(), body: body.into(), after: Duration::ZERO }
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Reply::Answer { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }

    /// The same, later.
    #[must_use]
    pub fn later(mut self, delay: Duration) -> Self {
        if let Reply::Answer { after, .. } = &mut self {
            *after = delay;
        }
        self
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its number, counted from 0 since the probe was opened or last forgot.
    pub number: usize,
    /// When it had come.
    pub at: Instant,
    /// The number of its connection.
    pub connection: u64,
    /// `GET`, `POST`.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Seen {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What another server answers to it.
    pub async fn forwarded(&self, http: &reqwest::Client, to: SocketAddr) -> Reply {
        let method = reqwest::Method::from_bytes(self.method.as_bytes()).unwrap_or(reqwest::Method::POST);
        let mut request = http.request(method, format!("http://{to}{}", self.path)).body(self.body.clone());
        let own = |name: &str| ["host", "content-length", "transfer-encoding", "connection"].contains(&name);
        for (name, value) in self.headers.iter().filter(|(name, _)| !own(name)) {
            request = request.header(name, value);
        }
        let Ok(response) = request.send().await else { return Reply::Cut };
        let status = response.status().as_u16();
        response.text().await.map_or(Reply::Cut, |body| Reply::now(status, body))
    }
}

type Script = Arc<dyn Fn(Seen) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// The server. It ends when it is dropped.
pub struct HttpProbe {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    _serving: JoinSet<()>,
}

impl std::fmt::Debug for HttpProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpProbe").field("address", &self.address).finish_non_exhaustive()
    }
}

struct State {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicU64,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl HttpProbe {
    /// Opens it on a free port of loopback.
    ///
    /// # Errors
    /// If there is none.
    pub async fn open<F>(script: impl Fn(Seen) -> F + Send + Sync + 'static) -> std::io::Result<Self>
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            script: Mutex::new(Arc::new(move |seen| script(seen).boxed())),
            seen: Mutex::default(),
            connections: AtomicU64::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&state)));
        Ok(HttpProbe { address, state, _serving: serving })
    }

    /// Answers otherwise from now on.
    pub fn script<F>(&self, script: impl Fn(Seen) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        *self.state.script.lock().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(move |seen| script(seen).boxed());
    }

    /// What came, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Over how many connections they came.
    pub fn connections(&self) -> usize {
        self.seen().iter().map(|seen| seen.connection).collect::<BTreeSet<_>>().len()
    }

    /// The most requests that were in the works at a time.
    pub fn most_at_once(&self) -> usize {
        self.state.most_at_once.load(Ordering::Relaxed)
    }

    /// Forgets what came.
    pub fn forget(&self) {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.state.most_at_once.store(0, Ordering::Relaxed);
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let connection = state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        let answer = service_fn(move |request| answer(request, connection, Arc::clone(&state)));
        let served =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        // How a connection ends is the client's affair.
        connections.spawn(async move { drop(served.await) });
        while connections.try_join_next().is_some() {}
    }
}

#[derive(Debug)]
struct CutOff;

impl std::fmt::Display for CutOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut by the script")
    }
}

impl std::error::Error for CutOff {}

async fn answer(
    request: Request<Incoming>,
    connection: u64,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, CutOff> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES).collect().await.map_err(|_| CutOff)?.to_bytes();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let mut seen = Seen {
        number: 0,
        at: Instant::now(),
        connection,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: headers.collect(),
        body,
    };
    {
        let mut all = state.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.number = all.len();
        all.push(seen.clone());
    }
    let _working = Working::begin(&state);
    let script = Arc::clone(&state.script.lock().unwrap_or_else(PoisonError::into_inner));
    match script(seen).await {
        Reply::Answer { status, headers, body, after } => {
            tokio::time::sleep(after).await;
            let mut response = Response::builder().status(status).header("content-type", "application/json");
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Full::new(body.into())).map_err(|_| CutOff)
        }
        Reply::Hang => std::future::pending::<Result<_, Infallible>>().await.map_err(|never| match never {}),
        Reply::Cut => Err(CutOff),
    }
}

/// Counts a request for as long as it is in the works.
struct Working<'a>(&'a State);

impl<'a> Working<'a> {
    fn begin(state: &'a State) -> Self {
        let now = state.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        state.most_at_once.fetch_max(now, Ordering::Relaxed);
        Working(state)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}
