//! What of a call goes on to another logger: what is certainly not stored by the first.

use proto::{Batch, Certainty, Failure, LogEntry};

use super::standing::Said;
use crate::{Receipts, receipts::NoBatchCall};

/// What goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing: all is settled, or something is unknown.
    Nothing,
    /// All entries.
    All,
    /// Those at these positions, together. The others have their results.
    Some(Vec<usize>),
}

impl Rest {
    /// What goes on after that answer.
    pub(super) fn of(answer: &Result<Receipts, Failure>) -> Self {
        let receipts = match answer {
            Ok(receipts) => receipts,
            Err(failure) if is_not_stored(failure) => return Rest::All,
            Err(_) => return Rest::Nothing,
        };
        let not_stored = |result: &Result<_, Failure>| result.as_ref().is_err_and(is_not_stored);
        let count = receipts.results.iter().filter(|result| not_stored(result)).count();
        if count == 0 {
            return Rest::Nothing;
        }
        if count == receipts.results.len() {
            return Rest::All;
        }
        let results = receipts.results.iter().enumerate();
        Rest::Some(results.filter(|(_, result)| not_stored(result)).map(|(at, _)| at).collect())
    }
}

/// What a logger has said by an answer.
pub(super) fn said(answer: &Result<Receipts, Failure>) -> Said {
    let failed = match answer {
        Ok(receipts) => {
            let mut failures = receipts.results.iter().filter_map(|result| result.as_ref().err());
            return failures.find(|failure| is_not_stored(failure)).map_or(Said::Answer, refusal);
        }
        Err(failure) => failure,
    };
    match failed.certainty() {
        Certainty::Rejected => Said::Answer,
        // It is there, and stores what is sent in another way.
        Certainty::NotStored if failed.is_because_of::<NoBatchCall>() => Said::Answer,
        Certainty::NotStored => refusal(failed),
        Certainty::Unknown => Said::Nothing,
    }
}

/// The entries at these positions.
pub(super) fn entries_at(batch: &Batch<LogEntry>, positions: &[usize]) -> Result<Batch<LogEntry>, Failure> {
    Batch::try_from(positions.iter().map(|at| batch[*at].clone()).collect::<Vec<_>>())
}

/// The results of both calls: of those at these positions the second has the word.
pub(super) fn merge(first: Receipts, positions: &[usize], second: Result<Receipts, Failure>) -> Receipts {
    let mut again = match second {
        Ok(Receipts { results, .. }) => results.into_vec(),
        Err(failure) => vec![Err(failure); positions.len()],
    }
    .into_iter();
    let mut results = first.results.into_vec();
    for at in positions {
        if let Some(result) = again.next() {
            results[*at] = result;
        }
    }
    let results = results.try_into().expect("as many as there were");
    // Two loggers have stored, each in its own time.
    Receipts { results, store_us: None }
}

fn refusal(failure: &Failure) -> Said {
    Said::Refusal(failure.code)
}

pub(super) fn is_not_stored(failure: &Failure) -> bool {
    failure.certainty() == Certainty::NotStored
}

#[cfg(test)]
mod tests {
    use proto::{Code, Outcome};

    use super::*;

    fn full() -> Failure {
        Failure::advising(Code::StorageFull, "the disk is full")
    }

    fn conflict() -> Failure {
        Failure::new(Code::Conflict, "stored with other content")
    }

    fn each(results: Vec<Result<Outcome, Failure>>) -> Receipts {
        Receipts { results: results.try_into().expect("some"), store_us: Some(7) }
    }

    #[test]
    fn what_is_certainly_not_stored_goes_on_and_nothing_else() {
        let stored = || Ok(Outcome::Stored);
        let unknown = || Failure::unknown("the logger");
        for (answer, rest, expected) in [
            (Ok(each(vec![stored()])), Rest::Nothing, Said::Answer),
            (Err(conflict()), Rest::Nothing, Said::Answer),
            (Ok(each(vec![Err(conflict()), stored()])), Rest::Nothing, Said::Answer),
            (Err(unknown()), Rest::Nothing, Said::Nothing),
            (Err(full()), Rest::All, Said::Refusal(Code::StorageFull)),
            (Err(NoBatchCall::of("the logger")), Rest::All, Said::Answer),
            (Ok(each(vec![Err(full()), Err(full())])), Rest::All, Said::Refusal(Code::StorageFull)),
            (
                Ok(each(vec![stored(), Err(full()), Err(conflict()), Err(full()), Err(unknown())])),
                Rest::Some(vec![1, 3]),
                Said::Refusal(Code::StorageFull),
            ),
        ] {
            assert_eq!(Rest::of(&answer), rest, "{answer:?}");
            assert_eq!(said(&answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn each_entry_keeps_its_place_when_some_went_on() {
        let first = || each(vec![Ok(Outcome::Stored), Err(full()), Err(conflict()), Err(full())]);
        let second = each(vec![Ok(Outcome::Stored), Ok(Outcome::Duplicate)]);
        let merged = merge(first(), &[1, 3], Ok(second));
        let expected =
            vec![Ok(Outcome::Stored), Ok(Outcome::Stored), Err(conflict()), Ok(Outcome::Duplicate)];
        assert_eq!(merged, Receipts { store_us: None, ..each(expected) });
        let lost = Failure::unknown("the logger");
        let merged = merge(first(), &[1, 3], Err(lost.clone()));
        let expected = vec![Ok(Outcome::Stored), Err(lost.clone()), Err(conflict()), Err(lost)];
        assert_eq!(merged.results.into_vec(), expected);
    }
}
