//! Why an entry was not accepted: what the caller is told, and what only the log is told.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{Certainty, Code, limits::MESSAGE_CHARS};

/// Why an entry was not accepted. It keeps what happened; the message adds what to do, by what is certain and by whether
/// the caller has written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Failure {
    /// The case, in a word.
    pub code: Code,
    /// Without advice, unless it is [`Advice::Included`].
    happened: String,
    advice: Advice,
    /// Which entry of a batch it was, counted from 0.
    pub position: Option<u32>,
    /// The id of the entry, where the entry had one that can be read.
    pub id: Option<Uuid>,
    /// What went wrong inside. It never crosses a wire.
    #[source]
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// What the message adds to what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// Nothing: what happened is told with what to do.
    Included,
    /// What to do about an entry that was sent.
    ToWriter,
    /// Nothing: a reader has sent nothing that could be stored, and may always ask again.
    ToReader,
}

impl Advice {
    const fn text(self, certainty: Certainty) -> &'static str {
        match (self, certainty) {
            (Advice::ToWriter, Certainty::NotStored) => "; nothing was stored, try again",
            (Advice::ToWriter, Certainty::Unknown) => {
                ": it may or may not be stored; sending it again with the same id is safe"
            }
            (Advice::ToWriter, Certainty::Rejected) | (Advice::Included | Advice::ToReader, _) => "",
        }
    }
}

impl Failure {
    /// A failure whose `message` says what happened and what to do. It is cut at [`MESSAGE_CHARS`].
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Failure {
            code,
            happened: cut(message.into()),
            advice: Advice::Included,
            position: None,
            id: None,
            cause: None,
        }
    }

    /// A failure to write of which `happened` says what happened alone: the message adds what to do.
    pub fn advising(code: Code, happened: impl Into<String>) -> Self {
        Failure { advice: Advice::ToWriter, ..Failure::new(code, happened) }
    }

    /// A failure as another process has told it.
    pub fn heard(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        match message.strip_suffix(Advice::ToWriter.text(code.certainty())) {
            Some(happened) => Failure::advising(code, happened),
            None => Failure::new(code, message),
        }
    }

    /// Certainly not stored: `place` cannot be reached.
    pub fn unreachable(place: &str) -> Self {
        Failure::advising(Code::Unavailable, format!("{place} cannot be reached"))
    }

    /// The entry may be stored: the connection to `place` broke, or the deadline passed, in mid-call.
    pub fn unknown(place: &str) -> Self {
        Failure::advising(Code::OutcomeUnknown, format!("no answer from {place}"))
    }

    /// Certainly not stored: `place` answers, and has no call for it. Its address is in `setting`.
    pub fn no_such_call(place: &str, setting: &str) -> Self {
        let message =
            format!("{place} answers, but has no call for entries: nothing was stored; is {setting} right?");
        Failure::new(Code::NoSuchCall, message)
    }

    /// The entry may be stored: `place` is no service of ours, and answered something else than that it is.
    pub fn foreign(place: &str, answer: &str) -> Self {
        let message = format!(
            "{place} is not ours and does not say whether the entry is stored; sent again it may be stored twice; it \
             answered: {}",
            answer.trim()
        );
        Failure::new(Code::OutcomeUnknown, message)
    }

    /// Certainly not stored: `place` is at its concurrency limit.
    pub fn overloaded(place: &str) -> Self {
        Failure::advising(Code::Overloaded, format!("{place} is at its concurrency limit"))
    }

    /// Certainly not stored: `place` is shutting down.
    pub fn draining(place: &str) -> Self {
        Failure::advising(Code::Draining, format!("{place} is shutting down"))
    }

    /// The same for a caller that reads, and has sent nothing that could be stored: it may succeed later, and leaves
    /// nothing unknown.
    #[must_use]
    pub fn about_reading(self) -> Self {
        match (self.certainty(), self.advice) {
            // It speaks of sending in words of its own.
            (Certainty::Unknown, Advice::Included) => {
                let told = Failure::new(Code::Unavailable, "no answer that can be used");
                Failure { code: told.code, happened: told.happened, ..self }
            }
            (Certainty::Unknown, Advice::ToWriter | Advice::ToReader) => {
                Failure { code: Code::Unavailable, advice: Advice::ToReader, ..self }
            }
            (Certainty::Rejected | Certainty::NotStored, Advice::ToWriter) => {
                Failure { advice: Advice::ToReader, ..self }
            }
            (Certainty::Rejected | Certainty::NotStored, Advice::Included | Advice::ToReader) => self,
        }
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
        let happened = format!("entry {position} (counted from 0): {}", self.happened);
        Failure { position: u32::try_from(position).ok(), ..self.reworded(happened) }
    }

    /// Names the entry by its id.
    #[must_use]
    pub fn about(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// What happened, without advice where the failure can tell the two apart.
    pub fn happened(&self) -> &str {
        &self.happened
    }

    /// The same failure in other words.
    #[must_use]
    pub fn reworded(self, happened: String) -> Self {
        Failure { happened: cut(happened), ..self }
    }

    /// What happened and what to do, for the caller: at most [`MESSAGE_CHARS`] characters, and the advice.
    pub fn message(&self) -> Cow<'_, str> {
        match self.advice.text(self.certainty()) {
            "" => Cow::Borrowed(&self.happened),
            advice => Cow::Owned(format!("{}{advice}", self.happened)),
        }
    }

    /// The same, of a failure that is needed no longer.
    pub fn into_message(self) -> String {
        let advice = self.advice.text(self.certainty());
        let mut message = self.happened;
        message.push_str(advice);
        message
    }

    /// What went wrong inside, for the log; the message where nothing more is known.
    pub fn cause(&self) -> String {
        self.cause.as_ref().map_or_else(|| self.message().into_owned(), ToString::to_string)
    }

    /// Whether its cause is of a kind that the caller knows.
    pub fn is_because_of<E: Error + 'static>(&self) -> bool {
        self.cause.as_deref().is_some_and(|cause| cause.is::<E>())
    }

    /// What it says about the store.
    pub const fn certainty(&self) -> Certainty {
        self.code.certainty()
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.code, self.happened, self.advice.text(self.certainty()))
    }
}

/// Two failures are the same if the caller is told the same.
impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        let told = |failure: &Failure| (failure.code, failure.position, failure.id);
        told(self) == told(other) && self.message() == other.message()
    }
}

impl Eq for Failure {}

/// A failure on a wire: as the caller is told it.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Failure")]
struct Told<'a> {
    code: Code,
    message: Cow<'a, str>,
    position: Option<u32>,
    id: Option<Uuid>,
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Failure { code, position, id, .. } = *self;
        Told { code, message: self.message(), position, id }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Told { code, message, position, id } = Told::deserialize(deserializer)?;
        Ok(Failure { position, id, ..Failure::heard(code, message) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_is_told_what_is_certain_and_who_reads_nothing_of_storing() {
        const NOT_STORED: &str = "; nothing was stored, try again";
        const UNSURE: &str = ": it may or may not be stored; sending it again with the same id is safe";
        for (failure, happened, advice) in [
            (Failure::unreachable("the logger"), "the logger cannot be reached", NOT_STORED),
            (Failure::unknown("the logger"), "no answer from the logger", UNSURE),
            (Failure::overloaded("the logger"), "the logger is at its concurrency limit", NOT_STORED),
            (Failure::draining("the logger"), "the logger is shutting down", NOT_STORED),
        ] {
            assert_eq!(failure.message(), format!("{happened}{advice}"));
            assert_eq!(failure.clone().into_message(), failure.message());
            let told = failure.because("a cause").about_reading();
            assert_eq!((&*told.message(), told.certainty()), (happened, Certainty::NotStored));
            assert_eq!(told.cause(), "a cause");
        }
        let refusal = Failure::new(Code::NotFound, "no entry of this id is stored");
        assert_eq!(refusal.clone().about_reading(), refusal);
        let unknown = Failure::new(Code::OutcomeUnknown, "send it again").about_reading();
        assert_eq!(unknown, Failure::new(Code::Unavailable, "no answer that can be used"));
    }

    #[test]
    fn what_another_process_tells_is_told_as_it_was_and_to_who_reads_without_advice() {
        for code in Code::ALL {
            for told in [Failure::new(code, "what happened"), Failure::advising(code, "what happened").at(3)]
            {
                let heard = Failure::heard(code, told.message());
                assert_eq!(heard.message(), told.message(), "{code}");
                if code.certainty() != Certainty::Unknown {
                    let read = heard.about_reading().into_message();
                    assert!(read.ends_with("what happened"), "{read}");
                }
                let wire = serde_json::to_value(&told).expect("it has a JSON form");
                assert_eq!(serde_json::from_value::<Failure>(wire).expect("our own JSON"), told);
            }
        }
    }

    #[test]
    fn a_cause_is_known_by_its_kind() {
        let failure = Failure::unreachable("the logger").because(fmt::Error);
        assert!(failure.is_because_of::<fmt::Error>());
        assert!(!failure.is_because_of::<std::io::Error>());
        assert!(!Failure::unreachable("the logger").because("words").is_because_of::<fmt::Error>());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let failure = Failure::new(Code::BadJson, "ж".repeat(MESSAGE_CHARS + 1));
        assert_eq!(failure.message().chars().count(), MESSAGE_CHARS + 1);
        assert!(failure.message().ends_with('…'));
    }
}
