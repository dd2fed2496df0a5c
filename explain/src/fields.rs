//! What the fields of an entry, and of what is said of one, are for. They are called the same on each wire.

use crate::{To, annotation::Purpose};

/// By the name of a field.
pub(crate) fn purpose_of(field: &str, to: To) -> Purpose {
    match field {
        "name" | "data" | "Name" | "Data" => Purpose::Entry,
        "id" | "level" | "created_at" | "stored_at" | "transport" | "cursor" | "position" | "attempts" => {
            Purpose::Ids
        }
        _ => match to {
            To::Server => Purpose::Ids,
            To::Client => Purpose::Answer,
        },
    }
}
