//! A list off a wire of which no more is kept than can be accepted.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::limits::BATCH_ENTRIES;

/// Most elements that are kept: one more than a batch may have, so that its length still tells.
const KEPT: usize = BATCH_ENTRIES + 1;

/// The elements of a batch. Reading keeps the first 1,001 and reads over the rest: an element of one byte on
/// the wire takes a hundred and more in memory, so a full body of them would take gigabytes.
/// What is too long is refused by [`crate::check_batch_len`]; written, it is a plain list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bounded<T>(Vec<T>);

impl<T> Bounded<T> {
    /// How many elements there are; 1,001 where there were more.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> FromIterator<T> for Bounded<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Bounded(elements.into_iter().collect())
    }
}

impl<T> IntoIterator for Bounded<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Keep(PhantomData)).map(Bounded)
    }
}

struct Keep<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Keep<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut kept = Vec::with_capacity(elements.size_hint().unwrap_or_default().min(KEPT));
        while kept.len() < KEPT {
            let Some(element) = elements.next_element()? else { return Ok(kept) };
            kept.push(element);
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_tells_that_it_is_too_long() {
        let read = |json: &str| serde_json::from_str::<Bounded<u8>>(json);
        let list = |len: usize| format!("[{}]", vec!["1"; len].join(","));
        for (sent, kept) in [(0, 0), (1, 1), (KEPT - 1, KEPT - 1), (KEPT, KEPT), (5_000, KEPT)] {
            let bounded = read(&list(sent)).expect("a list");
            assert_eq!((bounded.len(), bounded.0.capacity() < 2 * KEPT), (kept, true), "{sent}");
        }
        assert!(read(list(5_000).trim_end_matches(']')).is_err(), "what is read over must be sound");
    }
}
