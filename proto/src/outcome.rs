//! What may become of an entry: the same words over all four transports.

use std::{error::Error, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::limits::MESSAGE_CHARS;

/// What an accepted entry has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Committed and synced by the logger.
    Stored,
    /// Confirmed by RabbitMQ in a durable quorum queue; not yet stored.
    Queued,
    /// An entry of this id and content was stored before.
    Duplicate,
}

impl Outcome {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Outcome; 3] = [Outcome::Stored, Outcome::Queued, Outcome::Duplicate];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Stored => "stored",
            Outcome::Queued => "queued",
            Outcome::Duplicate => "duplicate",
        }
    }
}

impl Outcome {
    /// What a batch counts as: a duplicate only if all of its entries are; `None` if it has none.
    pub fn best(outcomes: impl IntoIterator<Item = Outcome>) -> Option<Outcome> {
        let mut outcomes = outcomes.into_iter();
        let first = outcomes.next()?;
        if first == Outcome::Duplicate {
            outcomes.find(|outcome| *outcome != first).or(Some(first))
        } else {
            Some(first)
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == word)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// A word that this version of the contract does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown word {0:?}")]
pub struct UnknownWord(pub String);

/// The answer to one accepted entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// What it has reached.
    pub outcome: Outcome,
    /// From the writer's queue to the commit, in microseconds; `None` for what is only queued.
    pub store_us: Option<u64>,
}

/// How the entries of a batch share their fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchMode {
    /// One entry that cannot be stored keeps all out.
    #[default]
    AllOrNone,
    /// Every entry has its own result; one that cannot be stored does not harm its neighbours.
    Each,
}

/// The answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReceipt {
    /// One for each entry, in the order of the batch. All are `Ok` after [`BatchMode::AllOrNone`].
    pub results: Vec<Result<Outcome, Failure>>,
    /// From the writer's queue to the commit, in microseconds; `None` for what is only queued.
    pub store_us: Option<u64>,
}

/// Why an entry was not accepted: a stable error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The body is no JSON: broken, not UTF-8, or nested too deeply.
    BadJson,
    /// A field is missing, unknown, given twice or of the wrong type.
    BadField,
    /// A batch without entries, or with too many.
    BadBatch,
    /// A query parameter is unknown or out of its limits.
    BadQuery,
    /// The action is none of those known.
    UnknownAction,
    /// The transport is none of the four.
    UnknownTransport,
    /// A field of the entry is out of its limits.
    InvalidEntry,
    /// The request has no key, or none that is known.
    Unauthorized,
    /// The key is known, but not for this address.
    Forbidden,
    /// The request came from a page of an origin that is not allowed.
    ForbiddenOrigin,
    /// There is no such entry or address.
    NotFound,
    /// The address is there, but not for this method.
    MethodNotAllowed,
    /// What was sent is no HTTP request that can be read.
    BadRequest,
    /// The address of the request and its headers are too large, or these too many.
    HeadersTooLarge,
    /// The body has an encoding, such as gzip, and is to be sent without one.
    UnsupportedEncoding,
    /// The body did not arrive in time.
    SlowRequest,
    /// The id is stored with other content.
    Conflict,
    /// The body or the frame is larger than the limit.
    TooLarge,
    /// The key is used more often than its limit allows.
    RateLimited,
    /// More is in flight than the limit allows.
    Overloaded,
    /// The next hop cannot be reached.
    Unavailable,
    /// RabbitMQ takes no messages: it is short of memory or disk.
    Blocked,
    /// The service is shutting down.
    Draining,
    /// The store's disk is full.
    StorageFull,
    /// The entry may or may not be stored.
    OutcomeUnknown,
}

/// What a failure says about the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// Never stored; the same request will fail again. The statuses 400 to 499, but for 408 and 429.
    Rejected,
    /// Certainly not stored; the same request may succeed later. The statuses 408, 429 and 503.
    NotStored,
    /// It may be stored. Sending it again with the same id is safe. The status 504.
    Unknown,
}

impl Code {
    /// All of them, in the order in which they are declared. A new code belongs here too; a test holds the two against
    /// each other.
    pub const ALL: [Code; 25] = [
        Code::BadJson,
        Code::BadField,
        Code::BadBatch,
        Code::BadQuery,
        Code::UnknownAction,
        Code::UnknownTransport,
        Code::InvalidEntry,
        Code::Unauthorized,
        Code::Forbidden,
        Code::ForbiddenOrigin,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::BadRequest,
        Code::HeadersTooLarge,
        Code::UnsupportedEncoding,
        Code::SlowRequest,
        Code::Conflict,
        Code::TooLarge,
        Code::RateLimited,
        Code::Overloaded,
        Code::Unavailable,
        Code::Blocked,
        Code::Draining,
        Code::StorageFull,
        Code::OutcomeUnknown,
    ];

    /// The word for it: `data.code` in JSON, metadata in gRPC, a header on a dead letter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::BadJson => "bad_json",
            Code::BadField => "bad_field",
            Code::BadBatch => "bad_batch",
            Code::BadQuery => "bad_query",
            Code::UnknownAction => "unknown_action",
            Code::UnknownTransport => "unknown_transport",
            Code::InvalidEntry => "invalid_entry",
            Code::Unauthorized => "unauthorized",
            Code::Forbidden => "forbidden",
            Code::ForbiddenOrigin => "forbidden_origin",
            Code::NotFound => "not_found",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::BadRequest => "bad_request",
            Code::HeadersTooLarge => "headers_too_large",
            Code::UnsupportedEncoding => "unsupported_encoding",
            Code::SlowRequest => "slow_request",
            Code::Conflict => "conflict",
            Code::TooLarge => "too_large",
            Code::RateLimited => "rate_limited",
            Code::Overloaded => "overloaded",
            Code::Unavailable => "unavailable",
            Code::Blocked => "blocked",
            Code::Draining => "draining",
            Code::StorageFull => "storage_full",
            Code::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// The HTTP status for it: the one table, which both HTTP servers answer by.
    pub const fn http_status(self) -> u16 {
        match self {
            Code::BadJson
            | Code::BadField
            | Code::BadBatch
            | Code::BadQuery
            | Code::UnknownAction
            | Code::UnknownTransport
            | Code::InvalidEntry
            | Code::BadRequest => 400,
            Code::Unauthorized => 401,
            Code::Forbidden | Code::ForbiddenOrigin => 403,
            Code::NotFound => 404,
            Code::MethodNotAllowed => 405,
            Code::SlowRequest => 408,
            Code::Conflict => 409,
            Code::TooLarge => 413,
            Code::UnsupportedEncoding => 415,
            Code::HeadersTooLarge => 431,
            Code::RateLimited => 429,
            Code::Overloaded | Code::Unavailable | Code::Blocked | Code::Draining | Code::StorageFull => 503,
            Code::OutcomeUnknown => 504,
        }
    }

    /// Whether it speaks of the entry itself, so that this can never be stored.
    pub const fn is_about_the_entry(self) -> bool {
        match self {
            Code::BadJson
            | Code::BadField
            | Code::UnknownTransport
            | Code::InvalidEntry
            | Code::Conflict
            | Code::TooLarge => true,
            Code::BadBatch
            | Code::BadQuery
            | Code::UnknownAction
            | Code::Unauthorized
            | Code::Forbidden
            | Code::ForbiddenOrigin
            | Code::NotFound
            | Code::MethodNotAllowed
            | Code::BadRequest
            | Code::HeadersTooLarge
            | Code::UnsupportedEncoding
            | Code::SlowRequest
            | Code::RateLimited
            | Code::Overloaded
            | Code::Unavailable
            | Code::Blocked
            | Code::Draining
            | Code::StorageFull
            | Code::OutcomeUnknown => false,
        }
    }

    /// What it says about the store.
    pub const fn certainty(self) -> Certainty {
        match self {
            Code::BadJson
            | Code::BadField
            | Code::BadBatch
            | Code::BadQuery
            | Code::UnknownAction
            | Code::UnknownTransport
            | Code::InvalidEntry
            | Code::Unauthorized
            | Code::Forbidden
            | Code::ForbiddenOrigin
            | Code::NotFound
            | Code::MethodNotAllowed
            | Code::BadRequest
            | Code::HeadersTooLarge
            | Code::UnsupportedEncoding
            | Code::Conflict
            | Code::TooLarge => Certainty::Rejected,
            Code::SlowRequest
            | Code::RateLimited
            | Code::Overloaded
            | Code::Unavailable
            | Code::Blocked
            | Code::Draining
            | Code::StorageFull => Certainty::NotStored,
            Code::OutcomeUnknown => Certainty::Unknown,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Code::ALL.into_iter().find(|code| code.as_str() == word).ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// How a message ends whose entry is certainly not stored.
const NOT_STORED: &str = "; nothing was stored, try again";

/// How a message ends whose entry may be stored.
const UNSURE: &str = ": it may or may not be stored; sending it again with the same id is safe";

/// Why an entry was not accepted: what the caller is told, and what only the log is told.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// The case, in a word.
    pub code: Code,
    /// What is wrong and what to do, for the caller. At most [`MESSAGE_CHARS`] characters.
    pub message: String,
    /// Which entry of a batch it was, counted from 0.
    pub position: Option<u32>,
    /// The id of the entry, where the entry had one that can be read.
    pub id: Option<Uuid>,
    /// What went wrong inside. It never crosses a wire.
    #[serde(skip)]
    #[source]
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure of the case `code`; `message` is cut at [`MESSAGE_CHARS`].
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS) {
            message.truncate(end);
            message.push('…');
        }
        Failure { code, message, position: None, id: None, cause: None }
    }

    /// Certainly not stored: `place` cannot be reached.
    pub fn unreachable(place: &str) -> Self {
        Failure::new(Code::Unavailable, format!("{place} cannot be reached{NOT_STORED}"))
    }

    /// The entry may be stored: the connection to `place` broke, or the deadline passed, in mid-call.
    pub fn unknown(place: &str) -> Self {
        Failure::new(Code::OutcomeUnknown, format!("no answer from {place}{UNSURE}"))
    }

    /// Certainly not stored: more is in flight than `place` takes.
    pub fn overloaded(place: &str) -> Self {
        Failure::new(Code::Overloaded, format!("{place} has as much in flight as it takes{NOT_STORED}"))
    }

    /// Certainly not stored: `place` is shutting down.
    pub fn draining(place: &str) -> Self {
        Failure::new(Code::Draining, format!("{place} is shutting down{NOT_STORED}"))
    }

    /// The same for who reads, and has sent nothing that could be stored: it may succeed later, and leaves nothing
    /// unknown.
    #[must_use]
    pub fn about_reading(mut self) -> Self {
        let unknown = self.certainty() == Certainty::Unknown;
        let plain = [NOT_STORED, UNSURE].into_iter().find_map(|end| self.message.strip_suffix(end));
        match plain.map(str::len) {
            Some(bytes) => self.message.truncate(bytes),
            // It speaks of sending in words of its own.
            None if unknown => self.message = "no answer that can be used".to_owned(),
            None => {}
        }
        if unknown {
            self.code = Code::Unavailable;
        }
        self
    }

    /// Adds what the log should say and the caller should not read.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    /// Names the entry of a batch, counted from 0, in the message too.
    #[must_use]
    pub fn at(self, position: usize) -> Self {
        let message = format!("entry {position} (counted from 0): {}", self.message);
        Failure {
            position: u32::try_from(position).ok(),
            id: self.id,
            cause: self.cause,
            ..Failure::new(self.code, message)
        }
    }

    /// Names the entry by its id.
    #[must_use]
    pub fn about(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// What went wrong inside, for the log; the message where nothing more is known.
    pub fn cause(&self) -> String {
        self.cause.as_ref().map_or_else(|| self.message.clone(), ToString::to_string)
    }

    /// What it says about the store.
    pub const fn certainty(&self) -> Certainty {
        self.code.certainty()
    }
}

/// Two failures are the same if the caller is told the same.
impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        let told = |failure: &Failure| (failure.code, failure.position, failure.id);
        told(self) == told(other) && self.message == other.message
    }
}

impl Eq for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_word_and_its_json_is_that_word() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            let json = serde_json::to_value(code).expect("a unit variant serialises");
            assert_eq!(json, code.as_str());
        }
    }

    #[test]
    fn a_batch_is_a_duplicate_only_as_a_whole() {
        use Outcome::{Duplicate, Queued, Stored};
        for (outcomes, best) in [
            (&[][..], None),
            (&[Duplicate, Duplicate], Some(Duplicate)),
            (&[Duplicate, Stored, Queued], Some(Stored)),
            (&[Queued, Duplicate], Some(Queued)),
        ] {
            assert_eq!(Outcome::best(outcomes.iter().copied()), best);
        }
    }

    #[test]
    fn the_list_of_codes_is_whole() {
        let listed: std::collections::HashSet<Code> = Code::ALL.into_iter().collect();
        assert_eq!(listed.len(), Code::ALL.len(), "a code stands in the list twice");
        // `OutcomeUnknown` is declared last, so its number is the count of the others.
        assert_eq!(Code::OutcomeUnknown as usize + 1, Code::ALL.len());
    }

    #[test]
    fn status_and_certainty_agree() {
        for code in Code::ALL {
            let status = code.http_status();
            let agree = match code.certainty() {
                Certainty::Rejected => (400..500).contains(&status) && !matches!(status, 408 | 429),
                Certainty::NotStored => matches!(status, 408 | 429 | 503),
                Certainty::Unknown => status == 504,
            };
            assert!(agree, "{code}");
        }
        assert_eq!(Code::SlowRequest.certainty(), Certainty::NotStored);
        assert_eq!(
            (Code::ForbiddenOrigin.http_status(), Code::ForbiddenOrigin.as_str()),
            (403, "forbidden_origin")
        );
    }

    #[test]
    fn who_reads_is_told_nothing_of_storing() {
        for (failure, message) in [
            (Failure::unreachable("the logger"), "the logger cannot be reached"),
            (Failure::unknown("the logger"), "no answer from the logger"),
            (Failure::overloaded("the logger"), "the logger has as much in flight as it takes"),
            (Failure::draining("the logger"), "the logger is shutting down"),
        ] {
            let told = failure.because("a cause").about_reading();
            assert_eq!((told.message.as_str(), told.certainty()), (message, Certainty::NotStored));
            assert_eq!(told.cause(), "a cause");
        }
        let refusal = Failure::new(Code::NotFound, "no entry of this id is stored");
        assert_eq!(refusal.clone().about_reading(), refusal);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let failure = Failure::new(Code::BadJson, "ж".repeat(MESSAGE_CHARS + 1));
        assert_eq!(failure.message.chars().count(), MESSAGE_CHARS + 1);
        assert!(failure.message.ends_with('…'));
    }
}
