//! The bodies of the logger's `POST /log` and `POST /logs`.

use proto::{
    json::{parse_batch, parse_entry},
    limits::BATCH_ENTRIES,
};

use crate::entry::{check_draft, check_refusal};

/// Any bytes as the body of either.
///
/// # Panics
/// If an accepted entry or batch is out of its limits, or an entry does not stay the same on its way; or if a
/// refusal is not one.
pub fn logger_body(body: &[u8]) {
    match parse_entry(body) {
        Ok(draft) => check_draft(draft),
        Err(failure) => check_refusal(&failure),
    }
    match parse_batch(body) {
        Ok(batch) => {
            // An empty one asks whether the logger could store an entry.
            assert!(batch.entries.len() <= BATCH_ENTRIES, "{}", batch.entries.len());
            for entry in batch.entries {
                match entry {
                    Ok(draft) => check_draft(draft),
                    Err(failure) => check_refusal(&failure),
                }
            }
        }
        Err(failure) => check_refusal(&failure),
    }
}
