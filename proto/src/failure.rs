//! Why an entry was not accepted: what the caller is told, and what only the log is told.

use std::{error::Error, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Certainty, Code, limits::MESSAGE_CHARS};

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
