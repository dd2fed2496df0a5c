//! The endpoints that the course has besides: they say that the broker is up.

use axum::body::Body;
use proto::json::Envelope;
use serde::Serialize;
use service::Json;
use utoipa::ToSchema;

/// `data` of an answer that has none.
#[derive(Debug, Serialize, ToSchema)]
pub struct Nothing {}

/// Says that the broker is up, whatever the body.
#[utoipa::path(post, path = "/", responses((status = 200, body = Envelope<Nothing>, description = "The broker is up")))]
pub async fn hit(_: Body) -> Json<Envelope<Nothing>> {
    Json(Envelope { error: false, message: "Hit the broker".to_owned(), data: None })
}

/// The course's heartbeat.
#[utoipa::path(get, path = "/ping", responses((status = 200, body = String, content_type = "text/plain", description = "A full stop")))]
pub async fn ping() -> &'static str {
    "."
}
