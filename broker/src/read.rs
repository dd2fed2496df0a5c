//! Reading back: questions are passed on to the logger, and its answers passed back as they are.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use proto::{
    Filter, Page, Query, StoredEntry,
    json::{Envelope, FailureData},
    parse_entry_id,
};

use crate::{
    App,
    answer::{Refusal, advise_retry},
};

/// Stored entries, newest first; all filters must match.
#[utoipa::path(
    get, path = "/logs", params(Filter, Query),
    responses(
        (status = 200, body = Envelope<Page>, description = "A page, newest first"),
        (status = 400, body = Envelope<FailureData>, description = "A parameter is unknown or out of its limits"),
        (status = 401, body = Envelope<FailureData>, description = "No API key, or an unknown one, where keys are required"),
        (status = 403, body = Envelope<FailureData>, description = "The key lacks the scope `read`, or the origin of the page is not allowed"),
        (status = 429, body = Envelope<FailureData>, description = "Rate limit of the key exceeded: retry later"),
        (status = 503, body = Envelope<FailureData>, description = "The logger is unreachable or overloaded"),
    )
)]
pub async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    pass_on(&app, &format!("/logs{query}")).await
}

/// One stored entry.
#[utoipa::path(
    get, path = "/logs/{id}", params(("id" = String, Path, format = Uuid, pattern = "[1-9a-fA-F]", description = "The entry's id, not the nil one")),
    responses(
        (status = 200, body = Envelope<StoredEntry>, description = "The entry"),
        (status = 400, body = Envelope<FailureData>, description = "The id is not a UUID"),
        (status = 401, body = Envelope<FailureData>, description = "No API key, or an unknown one, where keys are required"),
        (status = 403, body = Envelope<FailureData>, description = "The key lacks the scope `read`, or the origin of the page is not allowed"),
        (status = 404, body = Envelope<FailureData>, description = "No entry has this id"),
        (status = 429, body = Envelope<FailureData>, description = "Rate limit of the key exceeded: retry later"),
        (status = 503, body = Envelope<FailureData>, description = "The logger is unreachable or overloaded"),
    )
)]
pub async fn entry(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Refusal> {
    // What is not UTF-8 is no id either.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let id = parse_entry_id(&id)?;
    pass_on(&app, &format!("/logs/{id}")).await
}

async fn pass_on(app: &App, path_and_query: &str) -> Result<Response, Refusal> {
    let (status, body) = app.transports.read(path_and_query).await?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    advise_retry(&mut response);
    Ok(response)
}
