//! Span attributes: OpenTelemetry's names where there is one, and ours, which begin with `fourwire`.
//!
//! They never hold the name or data of an entry.

use std::fmt::Display;

use opentelemetry::KeyValue;

/// The id of the entry that a span is about, or of the first of them.
pub const ENTRY_ID: &str = "fourwire.entry.id";

/// How many entries a span is about.
pub const ENTRIES: &str = "fourwire.entries";

/// What happened to them.
pub const OUTCOME: &str = "fourwire.outcome";

/// How many entries were committed together.
pub const COMMIT_ENTRIES: &str = "fourwire.commit.entries";

/// The case of a failure.
pub const ERROR_TYPE: &str = "error.type";

/// Which entries a span is about: how many, and the id of the first.
pub fn entries(first: impl Display, count: usize) -> [KeyValue; 2] {
    [KeyValue::new(ENTRY_ID, first.to_string()), number(ENTRIES, count)]
}

/// A count.
pub fn number(name: &'static str, count: usize) -> KeyValue {
    KeyValue::new(name, i64::try_from(count).unwrap_or(i64::MAX))
}
