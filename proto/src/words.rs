//! Words of closed sets, for messages.

/// The words that may be used, as a message lists them: `"a", "b" or "c"`.
pub(crate) fn choice<const N: usize>(words: [&str; N]) -> String {
    let quoted = words.map(|word| format!("{word:?}"));
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A word that this version of the contract does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown word {0:?}")]
pub struct UnknownWord(pub String);

impl UnknownWord {
    pub(crate) fn new(word: &str) -> Self {
        UnknownWord(word.to_owned())
    }
}
