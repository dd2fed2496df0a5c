//! The body of the broker's `POST /handle`.

use proto::json::{Entries, Handle};
use serde_json::Value;

use crate::entry::{NOW, check_batch, check_entry, check_refusal};

/// Any bytes as the body.
///
/// # Panics
/// If an accepted entry is out of its limits, is not what another JSON parser reads, or does not stay the same
/// on its way; or if a refusal is not one.
pub fn handle_body(body: &[u8]) {
    let handle = match Handle::parse(body, NOW) {
        Ok(handle) => handle,
        Err(failure) => return check_refusal(&failure),
    };
    let entries = handle.entries.as_slice();
    check_batch(entries);
    entries.iter().for_each(check_entry);
    // It refuses some of what is nested just within our limit: there is nothing to compare then.
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    assert_eq!(value["action"].as_str(), Some(if is_log(&handle) { "log" } else { "echo" }));
    assert_eq!(value["transport"].as_str(), handle.transport.map(|transport| transport.as_str()));
    let sent = match &handle.entries {
        Entries::One(_) => std::slice::from_ref(&value["log"]),
        Entries::Batch(_) => value["log"].as_array().expect("a batch is an array"),
    };
    assert_eq!(sent.len(), entries.len());
    for (sent, entry) in sent.iter().zip(entries) {
        assert_eq!(sent["name"].as_str(), Some(entry.name()));
        assert_eq!(sent["level"].as_str().unwrap_or("info"), entry.level().as_str());
        match sent["data"].as_str() {
            Some(text) => assert_eq!(text, entry.data()),
            None => {
                assert_eq!(serde_json::from_str::<Value>(entry.data()).ok().as_ref(), Some(&sent["data"]))
            }
        }
    }
}

fn is_log(handle: &Handle) -> bool {
    handle.action == proto::json::Action::Log
}
