//! What became of the entries of a call, whether the wire had one or many of them.

use proto::{Batch, BatchMode, BatchReceipt, Code, Failure, LogEntry, Outcome, Receipt};

/// What the other end answered to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipts {
    /// One result for each entry, in the order of the batch. All are `Ok` after [`BatchMode::AllOrNone`].
    pub results: Batch<Result<Outcome, Failure>>,
    /// In the logger, from the writer's queue to the commit, in microseconds; `None` if it is not known.
    pub store_us: Option<u64>,
}

impl Receipts {
    /// The answer to a call of the wire that takes one entry. With [`BatchMode::Each`] a refusal of the entry itself is
    /// its result, as it would be in a call for many.
    ///
    /// # Errors
    /// What is certain of the entry.
    pub(crate) fn of_one(answer: Result<Receipt, Failure>, mode: BatchMode) -> Result<Self, Failure> {
        match (answer, mode) {
            (Ok(Receipt { outcome, store_us }), _) => Ok(Receipts { results: Ok(outcome).into(), store_us }),
            (Err(failure), BatchMode::Each) if failure.code.is_about_the_entry() => {
                Ok(Receipts { results: Err(failure).into(), store_us: None })
            }
            (Err(failure), BatchMode::Each | BatchMode::AllOrNone) => Err(failure),
        }
    }

    /// The answer to a call of the wire that takes many.
    ///
    /// # Errors
    /// `outcome_unknown` if it has not a result for each entry.
    pub(crate) fn of_many(
        receipt: BatchReceipt,
        batch: &Batch<LogEntry>,
        peer: &str,
    ) -> Result<Self, Failure> {
        let BatchReceipt { results, store_us } = receipt;
        if results.len() != batch.len() {
            let cause = format!("{} results for {} entries", results.len(), batch.len());
            return Err(Failure::unknown(peer).because(cause));
        }
        Ok(Receipts { results: results.try_into()?, store_us })
    }

    /// The same, as `mode` has it: what was asked to share its fate is accepted or fails as one.
    ///
    /// # Errors
    /// Of all or none: the failure of the first that was not accepted; that it is not known, where others were.
    pub(crate) fn in_mode(self, mode: BatchMode, peer: &str) -> Result<Self, Failure> {
        let failed = self.results.iter().find_map(|result| result.as_ref().err());
        match (mode, failed) {
            (BatchMode::AllOrNone, Some(_)) if self.results.iter().any(Result::is_ok) => {
                Err(Failure::unknown(peer).because("only a part of the batch was accepted"))
            }
            (BatchMode::AllOrNone, Some(failure)) => Err(failure.clone()),
            (BatchMode::AllOrNone, None) | (BatchMode::Each, _) => Ok(self),
        }
    }

    /// What it counts as: its best outcome, or the first failure where nothing was accepted.
    pub(crate) fn ending(&self) -> Result<Outcome, Code> {
        let accepted = self.results.iter().filter_map(|result| result.as_ref().ok().copied());
        Outcome::best(accepted)
            .map_or_else(|| self.results.first().as_ref().copied().map_err(|failure| failure.code), Ok)
    }
}

/// That the peer has no call for many entries: nothing of what was sent can be stored. Loggers that are not ours, such as
/// the course's, take one entry at a time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it has no call for a batch")]
pub(crate) struct NoBatchCall;

impl NoBatchCall {
    /// The failure of the call that found it out.
    pub(crate) fn of(peer: &str) -> Failure {
        let message = format!("{peer} takes no batches; nothing was stored: send the entries one by one");
        Failure::new(Code::Unavailable, message).because(NoBatchCall)
    }
}

/// The answer to a ping, which asks the logger whether it could store an entry now. On the wire that is a batch without
/// entries: a logger that could store refuses it as empty, and one that could not by what an entry would be refused with.
/// There is no call of its own for it: it would be unknown to every other logger, and this one stores nothing anywhere.
///
/// # Errors
/// What an entry would be refused with.
pub(crate) fn pong<T>(answer: Result<T, Failure>) -> Result<(), Failure> {
    match answer {
        // It cannot be asked, and is there.
        Err(failure) if failure.is_because_of::<NoBatchCall>() => Ok(()),
        Err(failure) if failure.code != Code::BadBatch => Err(failure),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proto::EntryDraft;

    use super::*;

    fn conflict() -> Failure {
        Failure::new(Code::Conflict, "the id is stored with other content")
    }

    #[test]
    fn a_refused_entry_is_a_result_where_each_has_its_own_and_a_failed_call_never_is() {
        let refused = Receipts::of_one(Err(conflict()), BatchMode::Each).expect("the call went well");
        assert_eq!((refused.results, refused.store_us), (Err(conflict()).into(), None));
        assert_eq!(Receipts::of_one(Err(conflict()), BatchMode::AllOrNone), Err(conflict()));
        for failure in [Failure::unreachable("the logger"), Failure::unknown("the logger")] {
            for mode in [BatchMode::Each, BatchMode::AllOrNone] {
                assert_eq!(Receipts::of_one(Err(failure.clone()), mode), Err(failure.clone()));
            }
        }
    }

    #[test]
    fn an_answer_without_a_result_for_each_entry_leaves_them_unknown() {
        let draft = EntryDraft { name: "event".into(), ..EntryDraft::default() };
        let entry = || draft.clone().check("2026-01-31T12:00:00Z".parse().expect("a time")).expect("valid");
        let batch = Batch::try_from(vec![entry(), entry()]).expect("two");
        for results in 0..4 {
            let receipt = BatchReceipt { results: vec![Ok(Outcome::Stored); results], store_us: Some(7) };
            let told = Receipts::of_many(receipt, &batch, "the logger").map_err(|failure| failure.code);
            assert_eq!(told.is_ok(), results == 2, "{results}");
            assert!(told.is_ok() || told == Err(Code::OutcomeUnknown));
        }
    }

    #[test]
    fn a_call_counts_as_its_best_outcome_or_as_the_first_failure() {
        let ending = |results: Vec<_>| {
            Receipts { results: results.try_into().expect("some"), store_us: None }.ending()
        };
        assert_eq!(ending(vec![Err(conflict()), Ok(Outcome::Duplicate)]), Ok(Outcome::Duplicate));
        assert_eq!(ending(vec![Ok(Outcome::Duplicate), Ok(Outcome::Stored)]), Ok(Outcome::Stored));
        assert_eq!(ending(vec![Err(conflict()), Err(Failure::draining("it"))]), Err(Code::Conflict));
    }

    #[test]
    fn what_shares_its_fate_is_accepted_or_fails_as_one() {
        let in_mode = |results: Vec<_>, mode| {
            let receipts = Receipts { results: results.try_into().expect("some"), store_us: None };
            receipts.in_mode(mode, "RabbitMQ").map_err(|failure| failure.code)
        };
        let (stored, refused) = (Ok(Outcome::Queued), Err(conflict()));
        let lost = || Err(Failure::unreachable("RabbitMQ"));
        use BatchMode::{AllOrNone, Each};
        assert!(in_mode(vec![stored.clone(), stored.clone()], AllOrNone).is_ok());
        assert_eq!(in_mode(vec![stored.clone(), refused.clone()], AllOrNone), Err(Code::OutcomeUnknown));
        assert_eq!(in_mode(vec![refused.clone(), refused.clone()], AllOrNone), Err(Code::Conflict));
        assert!(in_mode(vec![stored, lost()], Each).is_ok(), "each has its own");
        assert!(in_mode(vec![lost()], Each).is_ok(), "and one alone too");
        assert_eq!(in_mode(vec![refused], AllOrNone), Err(Code::Conflict));
    }

    #[test]
    fn a_logger_that_could_store_refuses_an_empty_batch_and_one_that_could_not_says_why() {
        let empty = Failure::new(Code::BadBatch, "the batch is empty: give it at least one entry");
        assert_eq!(pong::<()>(Err(empty)), Ok(()));
        assert_eq!(pong(Ok(())), Ok(()), "another's, which takes an empty one");
        assert_eq!(pong::<()>(Err(NoBatchCall::of("the logger"))), Ok(()), "another's, which takes none");
        let full = Failure::new(Code::StorageFull, "the logger's disk is full");
        assert_eq!(pong::<()>(Err(full.clone())), Err(full));
    }
}
