//! What the log says of an order: entries of all services, each with the transport that it came over.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    answer::{Failure, answer},
};
use crate::check;

/// Most entries: an order has at most seven states, and its stock and its money a few each.
const ENTRIES: usize = 100;

#[derive(Deserialize)]
struct Envelope {
    data: Page,
}

#[derive(Deserialize)]
struct Page {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    name: String,
    /// JSON as text, as the log keeps it.
    data: String,
    transport: String,
    created_at: Timestamp,
}

/// `GET /api/orders/{id}/story`: oldest first.
pub(super) async fn story(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Failure> {
    let id = check::id(&id, "order_id")?;
    let read = app.broker.get(&format!("/logs?contains={id}&limit={ENTRIES}")).await;
    let page = read.ok().filter(|(status, _)| *status == StatusCode::OK);
    let page = page.and_then(|(_, body)| serde_json::from_slice::<Envelope>(&body).ok());
    let page = page.ok_or_else(|| Failure::unavailable("the log cannot be read now: retry"))?;
    let mut entries = page.data.entries;
    // By when it happened; queued entries are stored later than others.
    entries.sort_by_key(|entry| entry.created_at);
    let entries: Vec<Value> = entries.into_iter().map(told).collect();
    Ok(answer(StatusCode::OK, "story", json!({ "entries": entries })))
}

fn told(entry: Entry) -> Value {
    let data: Value = serde_json::from_str(&entry.data).unwrap_or(Value::Null);
    json!({
        "id": entry.id, "name": entry.name, "transport": entry.transport, "at": entry.created_at,
        "reason": data["reason"], "minor": data["minor"], "trace_id": data["trace_id"],
    })
}
