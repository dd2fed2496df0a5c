//! What one reads back: a stored entry, a page of them, and the place where a page ended.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Code, Failure, Level, Time, Transport};

/// An entry as the logger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredEntry {
    /// Identifies the entry.
    pub id: Uuid,
    /// What happened.
    pub name: String,
    /// Its text.
    pub data: String,
    /// Severity.
    pub level: Level,
    /// When it happened, by the clock of the client or of the broker.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// When it was stored, by the clock of the logger.
    #[schema(value_type = String, format = DateTime)]
    pub stored_at: Time,
    /// The transport over which it first arrived.
    pub transport: Transport,
    /// How often this id was written: 1, plus 1 for each duplicate.
    pub attempts: u32,
}

/// A page of entries, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// Entries, newest first by the order in which they were stored.
    pub entries: Vec<StoredEntry>,
    /// `cursor` of the next page; `null` after the last. A page may be short, even empty, and still have a next one: a search
    /// stops at its time limit and resumes from there.
    #[schema(value_type = Option<String>)]
    pub next: Option<Cursor>,
}

/// A place between two entries in the order of their storing: where a page ended, or how far a tail has come. Opaque to
/// callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(i64);

impl Cursor {
    /// No store comes so far: 18 digits can be told from each other by every reader.
    const MAX: i64 = 999_999_999_999_999_999;

    /// The place just after the entry that the store numbered `sequence`.
    pub const fn after(sequence: i64) -> Self {
        Cursor(sequence)
    }

    /// The number of the last entry that was seen: the next page begins below it, a tail goes on above it.
    pub const fn sequence(self) -> i64 {
        self.0
    }

    /// Reads where a tail resumes: after an entry, or at `0` before the first.
    ///
    /// # Errors
    /// [`Code::BadQuery`] if it is neither.
    pub fn parse_or_start(text: &str) -> Result<Self, Failure> {
        if text == "0" {
            return Ok(Cursor::after(0));
        }
        let message =
            "after is not the cursor of an entry: send that of the last entry you have seen, or 0 for all";
        text.parse().map_err(|_: Failure| Failure::new(Code::BadQuery, message))
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> String {
        cursor.0.to_string()
    }
}

impl TryFrom<String> for Cursor {
    type Error = Failure;

    fn try_from(text: String) -> Result<Self, Failure> {
        text.parse()
    }
}

impl FromStr for Cursor {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let given = |sequence: &i64| (1..=Self::MAX).contains(sequence) && sequence.to_string() == text;
        text.parse()
            .ok()
            .filter(given)
            .map(Cursor)
            .ok_or_else(|| Failure::new(Code::BadQuery, "invalid cursor: send `next` of the previous page"))
    }
}

/// Reads the id of an entry from an address.
///
/// # Errors
/// [`Code::BadQuery`] if it is no UUID, or the nil one.
pub fn parse_entry_id(text: &str) -> Result<Uuid, Failure> {
    let message = "the id in the path is not a UUID, or is the nil UUID";
    crate::entry::parse_id(text).map_err(|_| Failure::new(Code::BadQuery, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for sequence in [1, Cursor::MAX] {
            let cursor = Cursor::after(sequence);
            assert_eq!(String::from(cursor).parse(), Ok(cursor));
        }
        for sequence in [0, Cursor::MAX + 1, i64::MAX] {
            assert!(sequence.to_string().parse::<Cursor>().is_err(), "{sequence}");
        }
    }
}
