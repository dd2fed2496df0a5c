//! The log entry: raw bytes become a valid one here, and nowhere else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumCount, VariantArray};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Code, Failure, Time, Transport,
    limits::{DATA_BYTES, NAME_BYTES},
    words::choice,
};

/// An entry that keeps the contract's limits; there is no other way to have one than
/// [`EntryDraft::check`]. It is what travels, and what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogEntry {
    id: Uuid,
    name: String,
    data: String,
    level: Level,
    created_at: Time,
}

impl LogEntry {
    /// Identifies the entry; never nil.
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// What happened, in 1 to [`NAME_BYTES`] bytes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text, of at most [`DATA_BYTES`] bytes.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// How serious it is.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// When it happened, in whole microseconds, since that is what every store keeps.
    pub const fn created_at(&self) -> Time {
        self.created_at
    }

    /// The bytes that limits on memory count: those of `name` and `data`.
    pub const fn payload_bytes(&self) -> usize {
        self.name.len() + self.data.len()
    }
}

/// The severity of an entry. It sets the routing key in RabbitMQ.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    EnumCount,
    VariantArray,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = Failure, parse_err_fn = unknown_level)]
pub enum Level {
    /// The default.
    #[default]
    Info,
    /// Something to look at.
    Warning,
    /// Something to fix.
    Error,
}

impl Level {
    /// All of them.
    pub const ALL: [Level; Level::COUNT] =
        *Level::VARIANTS.as_array().expect("both are derived from the same variants");

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        <Level as strum::VariantNames>::VARIANTS[self as usize]
    }
}

fn unknown_level(word: &str) -> Failure {
    let words = choice(Level::ALL.map(Level::as_str));
    // As many logging libraries call it.
    let meant = if word.eq_ignore_ascii_case("warn") { "; did you mean \"warning\"?" } else { "" };
    invalid(format!("unknown level {word:?}: use {words}{meant}"))
}

/// An entry as it came off a wire, not yet looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryDraft {
    /// What happened.
    pub name: String,
    /// Its text.
    pub data: String,
    /// A UUID; `None`: one is made.
    pub id: Option<String>,
    /// `info`, `warning` or `error`; `None`: `info`.
    pub level: Option<String>,
    /// RFC 3339; `None`: now.
    pub created_at: Option<String>,
    /// By which transport it came, if not by the one that it is now read from. Only the listener sets it.
    pub transport: Option<String>,
}

impl EntryDraft {
    /// The one way to a valid entry. Fills in a UUIDv7 and `now` where the caller sent none.
    ///
    /// # Errors
    /// [`Code::InvalidEntry`], with the field and its limit, for the first field that is out of its limits.
    pub fn check(self, now: Timestamp) -> Result<LogEntry, Failure> {
        let id = self.id.as_deref().map(parse_id).transpose()?;
        let about = |failure: Failure| id.into_iter().fold(failure, Failure::about);
        let (level, created_at) = self.check_fields(now).map_err(about)?;
        Ok(LogEntry {
            id: id.unwrap_or_else(Uuid::now_v7),
            name: self.name,
            data: self.data,
            level,
            created_at,
        })
    }

    fn check_fields(&self, now: Timestamp) -> Result<(Level, Time), Failure> {
        check_text("name", &self.name, NAME_BYTES)?;
        if self.name.is_empty() {
            return Err(invalid(format!("name is empty: it must have 1 to {NAME_BYTES} bytes")));
        }
        check_text("data", &self.data, DATA_BYTES)?;
        let level = self.level.as_deref().map_or(Ok(Level::default()), str::parse)?;
        let created_at = self.created_at.as_deref().map_or(Ok(now.into()), parse_created_at)?;
        Ok((level, created_at))
    }

    /// By which transport it came: what it says itself, or else `seen`, the one that it was read from.
    ///
    /// # Errors
    /// [`Code::UnknownTransport`] if what it says is none of the four.
    pub fn came_by(&self, seen: Transport) -> Result<Transport, Failure> {
        self.transport.as_deref().map_or(Ok(seen), str::parse)
    }
}

impl From<&LogEntry> for EntryDraft {
    fn from(entry: &LogEntry) -> Self {
        EntryDraft {
            name: entry.name.clone(),
            data: entry.data.clone(),
            id: Some(entry.id.to_string()),
            level: Some(entry.level.as_str().to_owned()),
            created_at: Some(entry.created_at.to_string()),
            transport: None,
        }
    }
}

/// Reads an entry's id.
///
/// # Errors
/// [`Code::InvalidEntry`] if it is no UUID, or the nil one.
pub(crate) fn parse_id(text: &str) -> Result<Uuid, Failure> {
    let id = Uuid::try_parse(text).map_err(|_| {
        invalid("id is not a UUID: send one such as \"0197f5c1-5d3a-7c6e-8a54-2f1b6c0d9e7a\", or omit it")
    })?;
    if id.is_nil() {
        return Err(invalid("id is the nil UUID, which identifies nothing: send another, or omit it"));
    }
    Ok(id)
}

fn parse_created_at(text: &str) -> Result<Time, Failure> {
    Time::parse(text).ok_or_else(|| {
        invalid("created_at is not an RFC 3339 time: send one such as \"2026-01-31T12:00:00Z\", or omit it")
    })
}

fn check_text(field: &str, text: &str, limit_bytes: usize) -> Result<(), Failure> {
    if text.len() > limit_bytes {
        return Err(too_long(field, limit_bytes));
    }
    if text.contains('\0') {
        return Err(invalid(format!("{field} contains U+0000, which not every store can keep: remove it")));
    }
    Ok(())
}

/// The refusal of an entry with a field above its limit. It does not say how long the field is: a reader that stops at
/// the limit does not know.
pub fn too_long(field: &str, limit_bytes: usize) -> Failure {
    invalid(format!("{field} is longer than {limit_bytes} bytes"))
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Code::InvalidEntry, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draft() -> EntryDraft {
        EntryDraft { name: "event".into(), data: "text".into(), ..EntryDraft::default() }
    }

    fn refusal(draft: EntryDraft) -> String {
        let failure = draft.check(Timestamp::UNIX_EPOCH).expect_err("the draft is out of its limits");
        assert_eq!(failure.code, Code::InvalidEntry);
        failure.into_message()
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let entry = draft().check(Timestamp::UNIX_EPOCH).expect("a course entry is valid");
        assert_eq!(entry.level(), Level::Info);
        assert_eq!(entry.created_at(), Time::UNIX_EPOCH);
        assert_eq!(entry.id().get_version_num(), 7);
    }

    #[test]
    fn who_writes_warn_is_told_what_the_level_is_called() {
        let of = |level: &str| refusal(EntryDraft { level: Some(level.into()), ..draft() });
        for level in ["warn", "WARN"] {
            assert!(of(level).ends_with(r#"use "info", "warning" or "error"; did you mean "warning"?"#));
        }
        assert!(of("debug").ends_with(r#"use "info", "warning" or "error""#), "nothing is near");
    }

    #[test]
    fn the_limits_are_met_to_the_byte() {
        let at = |name: usize, data: usize| EntryDraft {
            name: "n".repeat(name),
            data: "d".repeat(data),
            ..draft()
        };
        assert!(at(NAME_BYTES, DATA_BYTES).check(Timestamp::UNIX_EPOCH).is_ok());
        assert!(refusal(at(NAME_BYTES + 1, 1)).contains("name is longer than 256 bytes"));
        assert!(refusal(at(1, DATA_BYTES + 1)).contains("data is longer than 262144 bytes"));
        assert!(refusal(at(0, 1)).contains("name is empty"));
    }

    #[test]
    fn u0000_is_refused_in_name_and_data() {
        assert!(refusal(EntryDraft { name: "a\0b".into(), ..draft() }).contains("name contains U+0000"));
        assert!(refusal(EntryDraft { data: "\0".into(), ..draft() }).contains("data contains U+0000"));
    }

    #[test]
    fn an_id_must_be_a_uuid_and_not_nil() {
        let with = |id: &str| EntryDraft { id: Some(id.into()), ..draft() };
        assert!(refusal(with("7")).contains("not a UUID"));
        assert!(refusal(with("")).contains("not a UUID"));
        assert!(refusal(with("00000000-0000-0000-0000-000000000000")).contains("nil"));
    }

    #[test]
    fn a_time_must_be_rfc_3339() {
        let with = |time: &str| EntryDraft { created_at: Some(time.into()), ..draft() };
        for time in ["yesterday", "2026-01-31", "2026-01-31T12:00:00", "-009000-01-01T00:00:00Z", "1"] {
            assert!(refusal(with(time)).contains("RFC 3339"), "{time}");
        }
        let entry = with("2026-01-31T13:00:00.1234567+01:00")
            .check(Timestamp::UNIX_EPOCH)
            .expect("an offset and a fraction are RFC 3339");
        assert_eq!(entry.created_at().to_string(), "2026-01-31T12:00:00.123456Z");
    }

    #[test]
    fn the_last_moments_that_rfc_3339_can_write_are_taken_and_a_fine_fraction_is_cut() {
        for (sent, kept) in [
            ("9999-12-30T22:00:00.000001Z", "9999-12-30T22:00:00.000001Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("2026-01-31T12:00:00.1234567890123Z", "2026-01-31T12:00:00.123456Z"),
        ] {
            let draft = EntryDraft { created_at: Some(sent.into()), ..draft() };
            let entry = draft.check(Timestamp::UNIX_EPOCH).expect("an RFC 3339 time");
            assert_eq!(entry.created_at().to_string(), kept);
            assert_eq!(EntryDraft::from(&entry).check(Timestamp::UNIX_EPOCH), Ok(entry));
        }
    }

    proptest! {
        #[test]
        fn a_valid_entry_survives_the_way_through_a_draft(name in "[^\0]{1,60}", data in "[^\0]{0,200}") {
            let entry = EntryDraft { name, data, ..EntryDraft::default() }
                .check(Timestamp::now())
                .expect("within the limits");
            let again = EntryDraft::from(&entry).check(Timestamp::UNIX_EPOCH).expect("it was valid before");
            prop_assert_eq!(again, entry);
        }
    }
}
