//! A logger that keeps entries in memory, as the course's first one does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

type Entries = Arc<Mutex<HashMap<String, Value>>>;

async fn write(State(entries): State<Entries>, body: String) -> (StatusCode, String) {
    // TODO: what is stored when the body is no JSON, and what does the client believe?
    let entry: Value = serde_json::from_str(&body).unwrap_or_default();
    let id = entry["id"].as_str().map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    // TODO: 202 promises that the entry is stored. Is it, after a restart?
    entries.lock().unwrap().insert(id.clone(), entry);
    let data = json!({ "id": id, "outcome": "stored" });
    (StatusCode::ACCEPTED, json!({ "error": false, "message": "stored", "data": data }).to_string())
}

async fn read(State(entries): State<Entries>, Path(id): Path<String>) -> (StatusCode, String) {
    match entries.lock().unwrap().get(&id) {
        Some(entry) => {
            (StatusCode::OK, json!({ "error": false, "message": "found", "data": entry }).to_string())
        }
        None => (StatusCode::NOT_FOUND, json!({ "error": true, "message": "no such entry" }).to_string()),
    }
}

#[tokio::main]
pub async fn main() {
    let listen = std::env::var("LOGGER_HTTP_LISTEN").unwrap();
    let router = Router::new()
        .route("/log", post(write))
        .route("/logs/{id}", get(read))
        .with_state(Entries::default());
    axum::serve(tokio::net::TcpListener::bind(listen).await.unwrap(), router).await.unwrap();
}
