//! A request of OTLP logs at the broker.

use std::collections::BTreeSet;

use proto::LogEntry;
use serde_json::Value;

use crate::entry::{NOW, check_entry, check_refusal};

/// Any bytes as a request: in JSON where they begin as an object does, else in Protocol Buffers.
///
/// # Panics
/// If an entry is out of its limits, its `data` no JSON object, an id given twice, or not the same when the request is
/// sent again; or if a refusal is not one.
pub fn otlp_logs(request: &[u8]) {
    let is_json = request.first() == Some(&b'{');
    let read = || broker::otlp::entries(request, is_json, NOW);
    let entries = match read() {
        Ok(entries) => entries,
        Err(failure) => return check_refusal(&failure),
    };
    let mut ids = BTreeSet::new();
    for entry in &entries {
        match entry {
            Ok(entry) => {
                check_entry(entry);
                assert!(
                    serde_json::from_str::<Value>(entry.data()).is_ok_and(|data| data.is_object()),
                    "{entry:?}"
                );
                assert!(ids.insert(entry.id()), "{} is given twice", entry.id());
            }
            Err(failure) => check_refusal(failure),
        }
    }
    let again = read().expect("it was read before");
    let again: BTreeSet<_> = again.iter().flatten().map(LogEntry::id).collect();
    assert_eq!(again, ids);
}
