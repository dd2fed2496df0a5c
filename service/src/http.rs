//! Serves a router over HTTP/1.1, with a limit on everything that a slow or hostile client could hold open.

use std::{any::Any, time::Duration};

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::task::JoinSet;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{Acceptor, GRACE, Json, Shutdown};

/// How long a client may take to send its headers, and how long a kept connection may idle.
/// A client's pool must let go of a connection before that.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Most headers of a request; more are answered 431.
const HEADERS: usize = 64;

/// Most bytes that are read ahead of the handler.
const BUFFER_BYTES: usize = 64 * 1024;

/// Answers a panic in a handler in the envelope that all answers have, instead of with a broken connection.
pub fn catch_panics(router: Router) -> Router {
    fn answer(_: Box<dyn Any + Send>) -> Response {
        // The panic hook has logged it. The handler may have written before.
        let message = "something went wrong here; sending it again with the same id is safe";
        let envelope = serde_json::json!({
            "error": true, "message": message, "data": { "code": "outcome_unknown", "retryable": true },
        });
        (StatusCode::GATEWAY_TIMEOUT, Json(envelope)).into_response()
    }
    router.layer(CatchPanicLayer::custom(answer))
}

/// Serves until `shutdown` begins. Then it takes no new connection, answers the requests in flight, and drops
/// what is still open after [`GRACE`].
pub async fn serve(acceptor: Acceptor, router: Router, shutdown: Shutdown) {
    let mut http = http1::Builder::new();
    // hyper has no timeouts without a timer.
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(true)
        .half_close(false);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let connection = tokio::select! {
            () = shutdown.begun() => break,
            connection = acceptor.accept() => connection,
        };
        let service = TowerToHyperService::new(router.clone());
        let served = graceful.watch(http.serve_connection(TokioIo::new(connection), service));
        connections.spawn(async move {
            // A client that goes away, or is cut off, is its own affair.
            if let Err(error) = served.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        while connections.try_join_next().is_some() {}
    }
    drop(acceptor);
    // hyper waits for ever on a connection that never sent a request (hyper#4170): the wait has a bound.
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!(open = connections.len(), "dropping connections that did not finish in time");
    }
    connections.shutdown().await;
}
