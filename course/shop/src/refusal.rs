//! Why a call is refused, and the gRPC status and the `x-code` that say so.

use tonic::{Code, Status, metadata::MetadataValue};

/// The metadata with the word for the case.
pub const X_CODE: &str = "x-code";

/// A refusal. Nothing of the call has been done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A field is out of its limits: the same call would be refused again.
    #[error("{0}")]
    Invalid(String),
    /// The id is known with other content.
    #[error("{0}")]
    Conflict(&'static str),
    /// The id is not known.
    #[error("{0}")]
    NotFound(&'static str),
    /// What was done before rules it out; the first is the word for the case.
    #[error("{1}")]
    Precondition(&'static str, String),
    /// A limit is reached, or the service is about to end: retry.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] rusqlite::Error),
}

impl Refusal {
    fn code(&self) -> (Code, &'static str) {
        match self {
            Refusal::Invalid(_) => (Code::InvalidArgument, "bad_field"),
            Refusal::Conflict(_) => (Code::AlreadyExists, "conflict"),
            Refusal::NotFound(_) => (Code::NotFound, "not_found"),
            Refusal::Precondition(word, _) => (Code::FailedPrecondition, *word),
            Refusal::Unavailable(_) => (Code::Unavailable, "overloaded"),
            Refusal::Store(_) => (Code::Unavailable, "store_failed"),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        if let Refusal::Store(error) = &refusal {
            // The caller is not told the cause.
            tracing::error!(%error, "the store failed");
        }
        let (code, word) = refusal.code();
        let mut status = Status::new(code, refusal.to_string());
        status.metadata_mut().insert(X_CODE, MetadataValue::from_static(word));
        status
    }
}

/// The word of a status that one of our services has answered; empty if it is not from one.
pub fn word(status: &Status) -> &str {
    status.metadata().get(X_CODE).and_then(|word| word.to_str().ok()).unwrap_or_default()
}

/// Whether a status says that nothing was done and the same call would be refused again. All others are unknown: the
/// call may have been carried out, and its answer lost.
pub fn is_definite(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_carried_out_is_never_taken_for_a_no() {
        for code in
            [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled, Code::Unknown, Code::Internal]
        {
            assert!(!is_definite(&Status::new(code, "")), "{code:?}");
        }
        let status = Status::from(Refusal::Precondition("cancelled", "it was cancelled".to_owned()));
        assert!(is_definite(&status));
        assert_eq!((word(&status), status.message()), ("cancelled", "it was cancelled"));
    }
}
