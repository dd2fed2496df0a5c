//! A logger whose 202 is true: the entry is on the disk before it is answered, and a restart finds it.

use std::{
    collections::HashMap,
    env,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::Path as FilePath,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

const BODY_BYTES: usize = 1024 * 1024;

/// A file to which a line is appended for each entry, and an index of it in memory.
struct Store {
    file: File,
    entries: HashMap<String, Value>,
}

/// A status, a code and a sentence.
struct Refused(u16, &'static str, String);

impl Store {
    fn open(dir: &FilePath) -> io::Result<Self> {
        let path = dir.join("entries.jsonl");
        let file = File::options().create(true).read(true).append(true).open(&path)?;
        let (mut entries, mut sound) = (HashMap::new(), 0);
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            let entry = serde_json::from_slice::<Value>(&line).ok().filter(|_| line.ends_with(b"\n"));
            // Half a record: it was never answered, since it was never synced whole.
            let Some(entry) = entry else { break };
            entries.insert(entry["id"].as_str().unwrap_or_default().to_owned(), entry);
            sound += line.len() as u64;
            line.clear();
        }
        file.set_len(sound)?;
        // The file's name must be on the disk as well.
        File::open(dir)?.sync_all()?;
        Ok(Store { file, entries })
    }

    fn put(&mut self, id: &str, entry: Value) -> Result<&'static str, Refused> {
        match self.entries.get(id) {
            Some(there) if *there == entry => return Ok("duplicate"),
            Some(_) => {
                return Err(Refused(409, "conflict", "the id is stored with other content".to_owned()));
            }
            None => {}
        }
        let written =
            self.file.write_all(format!("{entry}\n").as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| Refused(503, "storage_full", error.to_string()))?;
        self.entries.insert(id.to_owned(), entry);
        Ok("stored")
    }
}

/// The entry in a body, or why it is none.
fn checked(body: &[u8]) -> Result<(String, Value), Refused> {
    let refused = |code, message: &str| Refused(400, code, message.to_owned());
    let entry: Value =
        serde_json::from_slice(body).map_err(|_| refused("bad_json", "the body is not JSON"))?;
    let fields = entry.as_object().ok_or_else(|| refused("bad_field", "expected an object"))?;
    let name = entry["name"].as_str().filter(|name| (1..=256).contains(&name.len()));
    let name = name.ok_or_else(|| refused("invalid_entry", "name must have 1 to 256 bytes"))?;
    let text = |field: &str, default: &'static str| match fields.get(field) {
        None => Ok(default.to_owned()),
        Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| refused("bad_field", "expected text")),
    };
    let (data, level) = (text("data", "")?, text("level", "info")?);
    if !["info", "warning", "error"].contains(&level.as_str()) {
        return Err(refused("bad_field", "level must be info, warning or error"));
    }
    let id = match text("id", "")?.as_str() {
        "" => uuid::Uuid::now_v7(),
        id => id.parse().map_err(|_| refused("bad_field", "id must be a UUID"))?,
    };
    Ok((id.to_string(), json!({ "id": id.to_string(), "name": name, "data": data, "level": level })))
}

type Answer = (StatusCode, [(&'static str, &'static str); 1], String);

fn answer(status: u16, message: &str, data: Value) -> Answer {
    let body = json!({ "error": status >= 400, "message": message, "data": data }).to_string();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", "application/json")], body)
}

async fn write(State(store): State<Arc<Mutex<Store>>>, body: Bytes) -> Answer {
    // A sync takes a while: it must not hold up the task that serves others.
    let written = tokio::task::spawn_blocking(move || {
        let (id, entry) = checked(&body)?;
        let outcome = store.lock().expect("nobody panics").put(&id, entry)?;
        Ok::<_, Refused>((id, outcome))
    });
    match written.await.expect("it does not panic") {
        Ok((id, outcome)) => answer(202, outcome, json!({ "id": id, "outcome": outcome })),
        Err(Refused(status, code, message)) => answer(status, &message, json!({ "code": code })),
    }
}

async fn read(State(store): State<Arc<Mutex<Store>>>, Path(id): Path<String>) -> Answer {
    match store.lock().expect("nobody panics").entries.get(&id) {
        Some(entry) => answer(200, "found", entry.clone()),
        None => answer(404, "no such entry", json!({ "code": "not_found" })),
    }
}

#[tokio::main]
pub async fn main() {
    let listen = env::var("LOGGER_HTTP_LISTEN").expect("LOGGER_HTTP_LISTEN is set");
    let dir = env::var("DATA_DIR").expect("DATA_DIR is set");
    let mut stopped = signal(SignalKind::terminate()).expect("signals can be handled");
    let store = Store::open(FilePath::new(&dir)).expect("the store can be opened");
    let router = Router::new()
        .route("/log", post(write))
        .route("/logs/{id}", get(read))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(Arc::new(Mutex::new(store)));
    let listener = tokio::net::TcpListener::bind(listen).await.expect("the port is free");
    // Every 202 is on the disk already; requests in hand are answered.
    let served = axum::serve(listener, router).with_graceful_shutdown(async move {
        stopped.recv().await;
    });
    served.await.expect("it serves");
}
