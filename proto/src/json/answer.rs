//! What goes out: the course's envelope, and what stands in its `data`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Certainty, Code, Failure, Outcome, Transport};

/// The course's envelope, around every answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Envelope<T> {
    /// Whether the call failed.
    pub error: bool,
    /// What happened and, after a failure, what to do; for people.
    pub message: String,
    /// The same for programs.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub data: Option<T>,
}

impl<T> Envelope<T> {
    /// The envelope of a call that went well.
    pub fn ok(message: impl Into<String>, data: T) -> Self {
        Envelope { error: false, message: message.into(), data: Some(data) }
    }
}

impl Envelope<FailureData> {
    /// The envelope of a failure. `ids` are those of all the entries concerned, as far as they are known.
    pub fn failure(failure: &Failure, transport: Option<Transport>, ids: &[Uuid]) -> Self {
        let (id, ids) = match ids {
            [] => (failure.id, None),
            [id] => (Some(*id), None),
            many => (failure.id, Some(many.to_vec())),
        };
        let data = FailureData {
            code: failure.code,
            retryable: failure.certainty() != Certainty::Rejected,
            position: failure.position,
            transport,
            id,
            ids,
        };
        Envelope { error: true, message: failure.message().into_owned(), data: Some(data) }
    }
}

/// `data` of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureData {
    /// The case, in a word that does not change.
    pub code: Code,
    /// Whether sending the same again, with the same id, may help.
    pub retryable: bool,
    /// Which entry of the batch it was, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// By which transport the entry was to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// The entry's id; of a batch, that of the entry at fault, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// The ids of the batch, in its order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<Uuid>>,
}

/// `data` of an entry that the broker accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The entry's id: the caller's own, or the one that the broker made.
    pub id: Uuid,
    /// By which transport it went.
    pub transport: Transport,
    /// What it has reached; left out for `echo`, which delivers nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Where the time went.
    pub timing_us: Timing,
}

/// `data` of a batch that the broker accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedBatch {
    /// By which transport it went.
    pub transport: Transport,
    /// Its entries, in its order.
    pub entries: Vec<AcceptedEntry>,
    /// Where the time went.
    pub timing_us: Timing,
}

/// One entry of a batch that the broker accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedEntry {
    /// The entry's id.
    pub id: Uuid,
    /// What it has reached; left out for `echo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// Where the time of a call went, in microseconds. Each part lies within the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Timing {
    /// In the broker, from the whole body read to the answer ready.
    pub total: u64,
    /// From handing the entry to the transport to its answer, without the wait for room; left out for `echo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<u64>,
    /// In the logger, from its queue to the commit; left out where the answer comes before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<u64>,
}

/// `data` of an entry that the logger stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The entry's id.
    pub id: Uuid,
    /// `stored` or `duplicate`.
    pub outcome: Outcome,
    /// From the queue to the commit, in microseconds.
    pub store_us: Option<u64>,
}

/// `data` of a batch that the logger stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenBatch {
    /// One for each entry, in the order of the batch.
    pub results: Vec<EntryResult>,
    /// From the queue to the commit, in microseconds.
    pub store_us: Option<u64>,
}

/// What became of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EntryResult {
    /// It is stored.
    Written {
        /// `stored` or `duplicate`.
        outcome: Outcome,
    },
    /// It is not.
    Failed {
        /// The case.
        code: Code,
        /// What to do.
        message: String,
    },
}

impl From<Result<Outcome, Failure>> for EntryResult {
    fn from(result: Result<Outcome, Failure>) -> Self {
        match result {
            Ok(outcome) => EntryResult::Written { outcome },
            Err(failure) => EntryResult::Failed { code: failure.code, message: failure.into_message() },
        }
    }
}

impl From<EntryResult> for Result<Outcome, Failure> {
    fn from(result: EntryResult) -> Self {
        match result {
            EntryResult::Written { outcome } => Ok(outcome),
            EntryResult::Failed { code, message } => Err(Failure::heard(code, message)),
        }
    }
}

fn none<T>() -> Option<T> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_entry_at_fault_beside_the_ids_of_the_batch() {
        let [first, second] = [Uuid::now_v7(), Uuid::now_v7()];
        let failure = Failure::new(Code::Conflict, "stored with other content").at(1).about(second);
        let ids = |ids: &[Uuid]| {
            let data = Envelope::failure(&failure, None, ids).data.expect("a failure has data");
            (data.id, data.ids)
        };
        assert_eq!(ids(&[first, second]), (Some(second), Some(vec![first, second])));
        assert_eq!(ids(&[first]), (Some(first), None));
        assert_eq!(ids(&[]), (Some(second), None));
    }
}
