//! What the log says of a delivery.

use proto::{Certainty, Code, Failure, Transport};
use tracing::field::display;
use uuid::Uuid;

/// The log shows few of the lines of an outage that is still the same.
const REPEATED: &str = concat!(module_path!(), "::repeated");

/// What is told of a batch once it has been handed over.
pub(crate) struct About {
    pub(crate) transport: Transport,
    pub(crate) entries: usize,
    pub(crate) first: Uuid,
    /// Whether a queue keeps what is not stored: the listener's case.
    pub(crate) kept: bool,
}

impl About {
    pub(crate) fn log_success(&self, outcome: &str) {
        let About { transport, entries, first, .. } = self;
        tracing::debug!(
            %transport, entries, entry_id = %first,
            trace_id = spans::current_id().map(display), outcome, "delivered"
        );
    }

    /// The one place where a failed delivery is logged, with its cause, the id of its first entry, and its trace.
    pub(crate) fn log_failure(&self, failure: &Failure) {
        let About { transport, entries, first, kept } = self;
        let (code, cause, entry_id) = (failure.code, failure.cause(), display(first));
        let trace_id = spans::current_id().map(display);
        let next = if *kept { "stays in the queue, and is retried" } else { "the caller is told so" };
        match failure.certainty() {
            // Under overload a line for each would cost more than the refusal; the metrics count them.
            _ if code == Code::Overloaded => {
                tracing::debug!(%transport, entries, entry_id, trace_id, %code, cause, "not stored: {next}");
            }
            Certainty::Rejected => {
                tracing::debug!(%transport, entries, entry_id, trace_id, %code, cause, "refused");
            }
            Certainty::NotStored => {
                tracing::warn!(target: REPEATED, %transport, entries, entry_id, trace_id, %code, cause, "not stored: {next}");
            }
            Certainty::Unknown => {
                tracing::warn!(target: REPEATED, %transport, entries, entry_id, trace_id, %code, cause, "outcome unknown: {next}");
            }
        }
    }
}

/// Nobody's entry: a reader was told, or a probe found nobody there.
pub(crate) fn log_no_answer(transport: Transport, failure: &Failure) {
    tracing::debug!(%transport, code = %failure.code, cause = failure.cause(), "no answer");
}
