//! Something for each word that says what became of an entry, such as a counter.

use crate::{Code, Outcome};

/// One `T` for each [`Outcome`] and each [`Code`]: found by its place, since whatever counts entries must cost less than
/// an entry.
#[derive(Debug)]
pub struct PerOutcome<T> {
    outcomes: [T; Outcome::ALL.len()],
    codes: [T; Code::ALL.len()],
}

impl<T> PerOutcome<T> {
    /// Makes them from their words.
    pub fn new(mut make: impl FnMut(&'static str) -> T) -> Self {
        PerOutcome {
            outcomes: Outcome::ALL.map(|outcome| make(outcome.as_str())),
            codes: Code::ALL.map(|code| make(code.as_str())),
        }
    }

    /// The one for what became of an entry.
    pub fn of(&self, ending: Result<Outcome, Code>) -> &T {
        match ending {
            Ok(outcome) => &self.outcomes[outcome as usize],
            Err(code) => &self.codes[code as usize],
        }
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
