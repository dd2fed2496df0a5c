//! Something for each word that says what became of an entry, such as a counter.

use crate::{Code, Outcome};

/// One `T` for each [`Outcome`] and each [`Code`]: found by its place, since whatever counts entries must cost less than
/// an entry.
#[derive(Debug)]
pub struct PerOutcome<T>(Vec<T>);

impl<T> PerOutcome<T> {
    /// Makes them from their words.
    pub fn new(make: impl FnMut(&'static str) -> T) -> Self {
        let outcomes = Outcome::ALL.into_iter().map(Outcome::as_str);
        PerOutcome(outcomes.chain(Code::ALL.into_iter().map(Code::as_str)).map(make).collect())
    }

    /// The one for what became of an entry.
    pub fn of(&self, ending: Result<Outcome, Code>) -> &T {
        &self.0[match ending {
            Ok(outcome) => outcome as usize,
            Err(code) => Outcome::ALL.len() + code as usize,
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_own() {
        let words = PerOutcome::new(|word| word);
        for outcome in Outcome::ALL {
            assert_eq!(*words.of(Ok(outcome)), outcome.as_str());
        }
        for code in Code::ALL {
            assert_eq!(*words.of(Err(code)), code.as_str());
        }
    }
}
