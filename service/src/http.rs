//! Serves a router over HTTP/1.1, with a limit on everything that a slow or hostile client could hold open.

mod answer;
mod files;
mod own_words;
mod pages;
#[cfg(test)]
mod tests;

pub use files::PageFile;
pub use pages::{follows_a_link, is_from_elsewhere, refuse_pages, refuse_pages_but_hosts};

use std::{any::Any, convert::Infallible, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tower_http::catch_panic::CatchPanicLayer;
use tower_service::Service;

use self::{answer::Answer, own_words::OwnWords};
use crate::{Acceptor, Client, Json, Shutdown, serve_each};

/// Maximum headers of a request; more are answered 431.
const HEADERS: usize = 64;

/// Maximum bytes of a request's head; more are answered 431. A question with the longest text to look for takes 14 KiB.
const HEAD_BYTES: usize = 32 * 1024;

/// Maximum bytes that are read ahead of the handler.
const BUFFER_BYTES: usize = 64 * 1024;

/// How long a connection beyond the limit may take, with its one request.
const RESERVED_TIMEOUT: Duration = Duration::from_secs(1);

/// What such a connection may ask.
const ALIVE: &str = "/healthz";

/// Settings of HTTP.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// HTTP keep-alive timeout in seconds; must exceed that of a proxy in front (usually 60), or the proxy may send a request on a connection that is being closed
    #[arg(long, env, default_value_t = 75, value_parser = clap::value_parser!(u64).range(5..=3_600))]
    pub http_idle_seconds: u64,
}

/// Answers a panic in a handler in the envelope that all answers have, instead of with a broken connection.
pub fn catch_panics(router: Router) -> Router {
    fn answer(_: Box<dyn Any + Send>) -> Response {
        // The panic hook has logged it. The handler may have written before.
        let message = "internal error; retrying with the same id is safe";
        refusal(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", message)
    }
    router.layer(CatchPanicLayer::custom(answer))
}

/// A refusal in that envelope, for what ends before a handler of a service. `code` is a word of `proto`'s table.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    let envelope = serde_json::json!({
        "error": true, "message": message, "data": { "code": code, "retryable": status.is_server_error() },
    });
    let mut response = (status, Json(envelope)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn overloaded(message: &str) -> Response {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
}

/// Serves until `shutdown` begins. Then it takes no new connection, answers the requests that have arrived, and drops
/// what is still open when nothing of [`GRACE`](crate::GRACE) is left. While a shutdown lingers before, responses say
/// `Connection: close`, and idle connections stay open.
pub async fn serve(acceptor: Acceptor, router: Router, settings: &Settings, shutdown: Shutdown) {
    let mut http = http1::Builder::new();
    // hyper has no timeouts without a timer.
    http.timer(TokioTimer::new())
        // It runs from one answer to the end of the next head, and so bounds the wait for a request. How long its head
        // may take once it has begun, a connection knows itself.
        .header_read_timeout(Duration::from_secs(settings.http_idle_seconds))
        .max_headers(HEADERS)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES)
        // A client that has closed its sending half may wait for its response. One that has disconnected is not noticed before
        // something is written to it, so every handler ends by itself: at the broker a delivery ends with its deadline,
        // at the logger a write after 8 s, and a stream is written to every few seconds.
        .half_close(true);
    let mut connections = serve_each(acceptor, shutdown.clone(), |connection| {
        let (client, reserved, router) =
            (connection.client().clone(), connection.is_reserved(), router.clone());
        let ends = shutdown.clone();
        let service = service_fn(move |request| {
            answer(router.clone(), request, client.clone(), reserved, ends.clone())
        });
        // hyper's own graceful shutdown would close an idle connection without a look at what has arrived on it.
        let io = TokioIo::new(OwnWords::new(connection.until(shutdown.clone())));
        let served = http.clone().keep_alive(!reserved).serve_connection(io, service);
        async move {
            let served = if reserved {
                tokio::time::timeout(RESERVED_TIMEOUT, served).await.unwrap_or(Ok(()))
            } else {
                served.await
            };
            // Clients that disconnect or are cut off are no error.
            if let Err(error) = served {
                tracing::debug!(%error, "connection ended");
            }
        }
    })
    .await;
    let all_end = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(shutdown.left(), all_end).await.is_err() {
        tracing::warn!(open = connections.len(), "dropping connections that did not finish in time");
    }
    connections.shutdown().await;
}

async fn answer(
    mut router: Router,
    mut request: Request<Incoming>,
    client: Client,
    reserved: bool,
    ends: Shutdown,
) -> Result<Response<Answer>, Infallible> {
    let working = client.begin();
    let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let response = if reserved && request.uri().path() != ALIVE {
        overloaded("the connection limit is reached; nothing was stored: retry")
    } else {
        request.extensions_mut().insert(client.clone());
        router.call(request).await?
    };
    let mut answer = answer::bounded(response, &client, working, only_reads);
    if ends.is_told() {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    client.answered();
    Ok(answer)
}
