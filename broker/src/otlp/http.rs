//! OTLP over HTTP: `POST /v1/logs`, in Protocol Buffers or JSON.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::{get, post},
};
use http::header;
use proto::{
    Code, Failure,
    limits::{BODY_BYTES, IN_FLIGHT_BYTES},
};
use serde_json::json;
use service::{Acceptor, Held, Json, Room, Shutdown, traced};

use super::{
    answer::{self, Form},
    body::Encoding,
    deliver::Delivered,
    door::Door,
    json::to_protobuf,
};
use crate::{cors::Origins, handle::about_body};

/// The setting of its address.
pub(super) const SETTING: &str = "BROKER_OTLP_HTTP_LISTEN";

/// The room for bodies that are half sent.
pub(super) fn room() -> Room {
    Room::new(BODY_BYTES, IN_FLIGHT_BYTES)
}

/// What the handlers use.
#[derive(Debug, Clone)]
struct Http {
    door: Arc<Door>,
    origins: Origins,
}

/// Serves until `shutdown`; then answers what is in flight.
pub(super) async fn serve(
    acceptor: Acceptor,
    door: Arc<Door>,
    origins: Origins,
    serving: &service::http::Settings,
    shutdown: Shutdown,
) {
    let not_found =
        || refused(Failure::new(Code::NotFound, "no such endpoint: logs are taken at POST /v1/logs"));
    let not_allowed =
        || refused(Failure::new(Code::MethodNotAllowed, "method not allowed: POST to /v1/logs"));
    let cors = origins.layer();
    let router = Router::new()
        .route("/v1/logs", post(export))
        // What a connection of the reserve may ask.
        .route("/healthz", get(|| async { Json(json!({ "alive": true })) }))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(Http { door, origins })
        .layer(cors);
    service::http::serve(acceptor, service::http::catch_panics(router), serving, shutdown).await;
}

async fn refused(failure: Failure) -> Response {
    answer::refusal(Form::Json, &failure)
}

async fn export(State(http): State<Http>, request: Request) -> Response {
    let caller = traced::caller(request.headers());
    let form = Form::of(request.headers());
    let answer = async {
        let answer = exported(&http, form, request).await;
        http.door.count("http", &answer);
        let form = form.unwrap_or(Form::Json);
        answer.map_or_else(
            |failure| answer::refusal(form, &failure),
            |delivered| answer::success(form, &delivered),
        )
    };
    traced::entering("POST /v1/logs", caller, answer).await
}

async fn exported(http: &Http, form: Option<Form>, mut request: Request) -> Result<Delivered, Failure> {
    let Http { door, origins } = http;
    origins.check(&request)?;
    let admitted = door.admit(request.headers())?;
    let form = form.ok_or_else(|| {
        let message = "unsupported Content-Type: use application/x-protobuf or application/json";
        Failure::new(Code::UnsupportedEncoding, message)
    })?;
    let encoding = Encoding::of(request.headers(), &header::CONTENT_ENCODING)?;
    // What is read is the body as it was sent.
    request.headers_mut().remove(header::CONTENT_ENCODING);
    let mut message = {
        let body = Held::read(request).await.map_err(about_body)?;
        encoding.unpack(&body, &door.memory)?
    };
    if form == Form::Json {
        message.bytes = to_protobuf(&message.bytes)?;
    }
    door.deliver(admitted, &message.bytes).await
}
