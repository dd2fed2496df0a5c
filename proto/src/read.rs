//! What one reads back: a stored entry, a page of them, and the question that a page answers.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    Code, Failure, Level, Time, Transport,
    limits::{CONTAINS_CHARS, NAME_CHARS, PAGE_ENTRIES},
};

/// An entry as the logger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredEntry {
    /// Identifies the entry.
    pub id: Uuid,
    /// What happened.
    pub name: String,
    /// Its text.
    pub data: String,
    /// How serious it is.
    pub level: Level,
    /// When it happened, by the clock of the caller or of the broker.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// When it was stored, by the clock of the logger.
    #[schema(value_type = String, format = DateTime)]
    pub stored_at: Time,
    /// By which way it came first.
    pub transport: Transport,
    /// How often this id was written: 1, and 1 more for each duplicate.
    pub attempts: u32,
}

/// A page of entries, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// The entries, newest first in the order of their storing.
    pub entries: Vec<StoredEntry>,
    /// What to send as `cursor` for the next page; `null` after the last. A page may be short, even empty,
    /// and still have a next one: a search stops after its time is up and goes on from there.
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
        text.parse().ok().filter(given).map(Cursor).ok_or_else(|| {
            Failure::new(
                Code::BadQuery,
                "cursor is not one that a page has given: take `next` of the page before",
            )
        })
    }
}

/// Which entries a page is to hold; all conditions must be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Entries of exactly this name.
    pub name: Option<String>,
    /// Entries of this level.
    pub level: Option<Level>,
    /// Entries that came by this transport.
    pub transport: Option<Transport>,
    /// Stored at this time or later.
    pub since: Option<Time>,
    /// Stored before this time.
    pub until: Option<Time>,
    /// Whose data holds this text, letter case and all.
    pub contains: Option<String>,
    /// At most so many, 1 to [`PAGE_ENTRIES`].
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
}

impl Query {
    /// Whether no entry can meet it. It is answered with no entry, since it keeps all the limits that are described.
    pub fn is_contradictory(&self) -> bool {
        self.since.zip(self.until).is_some_and(|(since, until)| since > until)
    }
}

impl Default for Query {
    fn default() -> Self {
        Query {
            name: None,
            level: None,
            transport: None,
            since: None,
            until: None,
            contains: None,
            limit: 100,
            cursor: None,
        }
    }
}

/// The parameters of `GET /logs` as they came, not yet looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QueryDraft {
    /// Entries of exactly this name.
    #[param(max_length = 256)]
    pub(crate) name: Option<String>,
    /// `info`, `warning` or `error`.
    #[param(value_type = Option<Level>)]
    pub(crate) level: Option<String>,
    /// `http`, `rpc`, `rabbitmq` or `grpc`.
    #[param(value_type = Option<Transport>)]
    pub(crate) transport: Option<String>,
    /// Stored at this RFC 3339 time or later.
    #[param(format = DateTime)]
    pub(crate) since: Option<String>,
    /// Stored before this RFC 3339 time.
    #[param(format = DateTime)]
    pub(crate) until: Option<String>,
    /// Whose data holds this text, letter case and all.
    #[param(max_length = 4096)]
    pub(crate) contains: Option<String>,
    /// Entries on the page: 1 to 1,000; 100 when left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^[1-9][0-9]{0,17}$")]
    pub(crate) cursor: Option<String>,
}

impl QueryDraft {
    /// The one way to a valid query.
    ///
    /// # Errors
    /// [`Code::BadQuery`], with the parameter and what it takes.
    pub fn check(self) -> Result<Query, Failure> {
        Ok(Query {
            name: self.name.map(|text| within("name", text, NAME_CHARS)).transpose()?,
            level: self.level.as_deref().map(Level::from_str).transpose().map_err(bad_query)?,
            transport: self.transport.as_deref().map(Transport::from_str).transpose().map_err(bad_query)?,
            since: self.since.as_deref().map(|text| time("since", text)).transpose()?,
            until: self.until.as_deref().map(|text| time("until", text)).transpose()?,
            contains: self.contains.map(|text| within("contains", text, CONTAINS_CHARS)).transpose()?,
            limit: self.limit.as_deref().map_or(Ok(Query::default().limit), parse_limit)?,
            cursor: self.cursor.as_deref().map(Cursor::from_str).transpose()?,
        })
    }
}

/// Reads where a tail is to go on: after an entry, or before all of them.
pub(crate) fn parse_cursor_or_start(text: &str) -> Result<Cursor, Failure> {
    if text == "0" {
        return Ok(Cursor::after(0));
    }
    text.parse().map_err(|_: Failure| {
        Failure::new(
            Code::BadQuery,
            "after is not the cursor of an entry: take the one of the last that you have seen, or 0 for all",
        )
    })
}

/// In characters, as the description at `/openapi.json` counts.
fn within(parameter: &str, text: String, limit_chars: usize) -> Result<String, Failure> {
    if text.chars().nth(limit_chars).is_some() {
        let message = format!("{parameter} is longer than {limit_chars} characters: make it shorter");
        return Err(Failure::new(Code::BadQuery, message));
    }
    Ok(text)
}

fn time(parameter: &str, text: &str) -> Result<Time, Failure> {
    Time::parse_bound(text).ok_or_else(|| {
        let message = format!(
            "{parameter} is not an RFC 3339 time: send one such as 2026-01-31T12:00:00Z, with %2B for a +"
        );
        Failure::new(Code::BadQuery, message)
    })
}

fn parse_limit(text: &str) -> Result<usize, Failure> {
    text.parse()
        .ok()
        .filter(|limit| (1..=PAGE_ENTRIES).contains(limit))
        .ok_or_else(|| Failure::new(Code::BadQuery, format!("limit takes a number from 1 to {PAGE_ENTRIES}")))
}

fn bad_query(failure: Failure) -> Failure {
    Failure::new(Code::BadQuery, failure.into_message())
}

/// Refuses what stands behind the `?` of an address and is not UTF-8: the decoder behind it replaces what is none, and
/// the search would be for something else.
///
/// # Errors
/// [`Code::BadQuery`], with the parameter.
pub fn check_query_text(query: Option<&str>) -> Result<(), Failure> {
    let is_text = |part: &str| percent_decode_str(part).decode_utf8().is_ok();
    let broken = query.into_iter().flat_map(|query| query.split('&')).find(|pair| !is_text(pair));
    broken.map_or(Ok(()), |pair| {
        let parameter = pair.split('=').next().filter(|name| is_text(name));
        let parameter = parameter.map_or_else(String::new, |name| format!(" `{name}`"));
        let message = format!("the parameter{parameter} is not UTF-8: percent-encode the bytes of UTF-8");
        Err(Failure::new(Code::BadQuery, message))
    })
}

/// The refusal of parameters that could not be read, from what axum says of them.
pub fn unread_query(text: &str) -> Failure {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    Failure::new(Code::BadQuery, text.replace("field `", "parameter `"))
}

/// Reads the id of an entry from an address.
///
/// # Errors
/// [`Code::BadQuery`] if it is no UUID, or the nil one.
pub fn parse_entry_id(text: &str) -> Result<Uuid, Failure> {
    let message = "the address ends with no id of an entry: send its UUID, which is not the nil one";
    crate::entry::parse_id(text).map_err(|_| Failure::new(Code::BadQuery, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_without_parameters_is_the_newest_page() {
        assert_eq!(QueryDraft::default().check(), Ok(Query::default()));
    }

    #[test]
    fn each_parameter_out_of_its_limits_is_named() {
        let refusals: [(QueryDraft, &str); 10] = [
            (QueryDraft { limit: Some("0".into()), ..QueryDraft::default() }, "limit"),
            (QueryDraft { limit: Some("1001".into()), ..QueryDraft::default() }, "limit"),
            (QueryDraft { cursor: Some("+5".into()), ..QueryDraft::default() }, "cursor"),
            (QueryDraft { cursor: Some("005".into()), ..QueryDraft::default() }, "cursor"),
            (QueryDraft { since: Some("noon".into()), ..QueryDraft::default() }, "since"),
            (QueryDraft { since: Some("2026-01-31T12Z".into()), ..QueryDraft::default() }, "since"),
            (QueryDraft { until: Some("20260131T120000Z".into()), ..QueryDraft::default() }, "until"),
            (
                QueryDraft { contains: Some("ж".repeat(CONTAINS_CHARS + 1)), ..QueryDraft::default() },
                "contains",
            ),
            (QueryDraft { level: Some("INFO".into()), ..QueryDraft::default() }, "level"),
            (QueryDraft { name: Some("n".repeat(257)), ..QueryDraft::default() }, "name"),
        ];
        for (draft, parameter) in refusals {
            let failure = draft.check().expect_err(parameter);
            assert_eq!(failure.code, Code::BadQuery);
            assert!(failure.message().contains(parameter), "{}", failure.message());
        }
    }

    #[test]
    fn a_time_that_ends_before_it_begins_is_met_by_nothing() {
        let [early, late] = ["2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z"].map(|time| Some(time.into()));
        let query = |since: &Option<String>, until: &Option<String>| {
            let draft = QueryDraft { since: since.clone(), until: until.clone(), ..QueryDraft::default() };
            draft.check().expect("each is a time")
        };
        assert!(query(&late, &early).is_contradictory());
        for (since, until) in [(&early, &late), (&early, &early), (&late, &None), (&None, &early)] {
            assert!(!query(since, until).is_contradictory());
        }
    }

    #[test]
    fn a_parameter_that_is_not_utf8_is_named() {
        for sound in ["", "contains=%D0%B6&name=a%26b", "contains=100%&x=%zz", "&&="] {
            assert_eq!(check_query_text(Some(sound)), Ok(()), "{sound}");
        }
        assert_eq!(check_query_text(None), Ok(()));
        for (query, word) in [
            ("contains=%ff", "`contains`"),
            ("level=info&name=a%C3", "`name`"),
            ("contains=%c3&name=%a9", "`contains`"),
            ("%ff=1", "the parameter is"),
        ] {
            let failure = check_query_text(Some(query)).expect_err(query);
            assert!(failure.code == Code::BadQuery && failure.message().contains(word), "{failure}");
        }
    }

    #[test]
    fn the_longest_text_is_looked_for() {
        // In characters, as they are described.
        let (name, contains) = (Some("ж".repeat(NAME_CHARS)), Some("ж".repeat(CONTAINS_CHARS)));
        let draft = QueryDraft { name: name.clone(), contains: contains.clone(), ..QueryDraft::default() };
        let query = draft.check().expect("as long as they may be");
        assert_eq!((query.name, query.contains), (name, contains));
    }

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
