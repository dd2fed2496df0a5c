//! The logger behind the program, played by a probe.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use crate::probe::{HttpProbe, Reply, Seen};

/// How the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Stores,
    /// The same, 100 ms later.
    Slow,
    /// A refusal.
    Status(u16),
    Cuts,
    Hangs,
}

/// The logger behind the program, played by a probe.
pub(super) struct Store {
    pub(super) probe: HttpProbe,
    mode: Arc<Mutex<Mode>>,
    /// The entries by their id.
    entries: Arc<Mutex<HashMap<String, Value>>>,
}

impl Store {
    pub(super) async fn open() -> anyhow::Result<Self> {
        let (mode, entries) = (Arc::new(Mutex::new(Mode::Stores)), Arc::new(Mutex::new(HashMap::new())));
        let (asked, kept) = (Arc::clone(&mode), Arc::clone(&entries));
        let probe = HttpProbe::open(move |seen: Seen| {
            let mode = *asked.lock().unwrap_or_else(PoisonError::into_inner);
            let reply = match mode {
                Mode::Stores => stored(&kept, &seen),
                Mode::Slow => stored(&kept, &seen).later(Duration::from_millis(100)),
                Mode::Status(status) => refused(status),
                Mode::Cuts => Reply::Cut,
                Mode::Hangs => Reply::Hang,
            };
            async move { reply }
        });
        Ok(Store { probe: probe.await?, mode, entries })
    }

    pub(super) fn answer(&self, mode: Mode) {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    pub(super) fn names(&self) -> HashSet<String> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.values().map(|entry| entry["name"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn stored(entries: &Mutex<HashMap<String, Value>>, seen: &Seen) -> Reply {
    let entry = seen.json();
    let id = entry["id"].as_str().unwrap_or_default().to_owned();
    let before = entries.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), entry);
    let outcome = if before.is_some() { "duplicate" } else { "stored" };
    let data = json!({ "id": id, "outcome": outcome });
    Reply::now(202, json!({ "error": false, "message": outcome, "data": data }).to_string())
}

fn refused(status: u16) -> Reply {
    let code = match status {
        400 => "invalid_entry",
        409 => "conflict",
        _ => "unavailable",
    };
    let data = json!({ "code": code, "retryable": status == 503 });
    Reply::now(status, json!({ "error": true, "message": code, "data": data }).to_string())
}
