//! What an accepted entry has reached: the same words over all transports.

use serde::{Deserialize, Serialize};
use strum::{EnumCount, VariantArray};
use utoipa::ToSchema;

use crate::{Failure, words::UnknownWord};

/// What an accepted entry has reached.
#[derive(
    Debug,
    Clone,
    Copy,
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
#[strum(parse_err_ty = UnknownWord, parse_err_fn = UnknownWord::new)]
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
    pub const ALL: [Outcome; Outcome::COUNT] =
        *Outcome::VARIANTS.as_array().expect("both are derived from the same variants");

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        <Outcome as strum::VariantNames>::VARIANTS[self as usize]
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_found_by_its_word_and_its_json_is_that_word() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
            let json = serde_json::to_value(outcome).expect("a unit variant serialises");
            assert_eq!(json, outcome.as_str());
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
}
