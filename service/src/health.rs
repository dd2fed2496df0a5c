//! The endpoints for operators and orchestrators: liveness, readiness, metrics.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use serde_json::Value;

use crate::{Json, Telemetry};

/// What `/readyz` says.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether new work is welcome. It speaks of this service alone: were it false whenever the next hop is
    /// down, one dead logger would take every broker out of service.
    pub ready: bool,
    /// What else is worth knowing, such as the state of each transport.
    pub detail: Value,
}

/// `/healthz` (the process runs), `/readyz` (`readiness`), and `/metrics` in Prometheus' text format.
pub fn routes<F>(readiness: F, telemetry: Telemetry) -> Router
where
    F: Fn() -> Readiness + Clone + Send + Sync + 'static,
{
    Router::new()
        .route("/healthz", get(|| async { Json(serde_json::json!({ "alive": true })) }))
        .route("/readyz", get(ready::<F>).with_state(readiness))
        .route("/metrics", get(metrics).with_state(telemetry))
}

async fn ready<F>(State(readiness): State<F>) -> impl IntoResponse
where
    F: Fn() -> Readiness,
{
    let readiness = readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    match telemetry.metrics() {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        None => (StatusCode::NOT_FOUND, "metrics are disabled: start with METRICS=on\n").into_response(),
    }
}
