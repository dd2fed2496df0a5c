//! As many entries as go together.

use std::{ops::Deref, slice};

use crate::{Code, Failure, limits::BATCH_ENTRIES};

/// From 1 to 1,000 of something, such as entries that are sent together, or what became of them. One alone takes no
/// memory of its own, so that what is written for many does for one as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T>(Held<T>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Held<T> {
    One(T),
    /// At least two.
    Many(Vec<T>),
}

impl<T> Batch<T> {
    /// The only one; `None` if there are more.
    pub const fn as_one(&self) -> Option<&T> {
        match &self.0 {
            Held::One(one) => Some(one),
            Held::Many(_) => None,
        }
    }

    /// The first, which there always is.
    pub fn first(&self) -> &T {
        match &self.0 {
            Held::One(one) => one,
            Held::Many(many) => &many[0],
        }
    }

    /// As many others, in the same order, each made of one.
    pub fn map<U>(self, mut make: impl FnMut(T) -> U) -> Batch<U> {
        Batch(match self.0 {
            Held::One(one) => Held::One(make(one)),
            Held::Many(many) => Held::Many(many.into_iter().map(make).collect()),
        })
    }

    /// As [`Batch::map`], of those that stay.
    pub fn map_each<'a, U>(&'a self, mut make: impl FnMut(&'a T) -> U) -> Batch<U> {
        Batch(match &self.0 {
            Held::One(one) => Held::One(make(one)),
            Held::Many(many) => Held::Many(many.iter().map(make).collect()),
        })
    }

    /// All of them, as a list.
    pub fn into_vec(self) -> Vec<T> {
        match self.0 {
            Held::One(one) => vec![one],
            Held::Many(many) => many,
        }
    }
}

impl<T, E> Batch<Result<T, E>> {
    /// All, if none of them failed.
    ///
    /// # Errors
    /// The first that did.
    pub fn all(self) -> Result<Batch<T>, E> {
        Ok(Batch(match self.0 {
            Held::One(one) => Held::One(one?),
            Held::Many(many) => Held::Many(many.into_iter().collect::<Result<_, _>>()?),
        }))
    }
}

impl<T> From<T> for Batch<T> {
    fn from(one: T) -> Self {
        Batch(Held::One(one))
    }
}

impl<T> TryFrom<Vec<T>> for Batch<T> {
    type Error = Failure;

    /// # Errors
    /// [`crate::Code::BadBatch`] for none, and for more than 1,000.
    fn try_from(mut many: Vec<T>) -> Result<Self, Failure> {
        check_batch_len(many.len())?;
        Ok(Batch(match many.pop() {
            Some(one) if many.is_empty() => Held::One(one),
            last => {
                many.extend(last);
                Held::Many(many)
            }
        }))
    }
}

impl<T> Deref for Batch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Held::One(one) => slice::from_ref(one),
            Held::Many(many) => many,
        }
    }
}

/// Refuses a batch without entries, and one with too many.
///
/// # Errors
/// [`Code::BadBatch`].
pub fn check_batch_len(len: usize) -> Result<(), Failure> {
    match len {
        0 => Err(Failure::new(Code::BadBatch, "empty batch: send at least one entry")),
        1..=BATCH_ENTRIES => Ok(()),
        _ => Err(too_many()),
    }
}

/// The refusal of a batch with too many entries. It does not count them: reading stops to keep them.
pub(crate) fn too_many() -> Failure {
    let message = format!("the batch has more than {BATCH_ENTRIES} entries: split it");
    Failure::new(Code::BadBatch, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(len: usize) -> Result<Batch<usize>, Failure> {
        (0..len).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn a_batch_has_1_to_1000() {
        for len in [1, 2, BATCH_ENTRIES] {
            let batch = batch(len).expect("within the limits");
            assert_eq!((batch.len(), *batch.first()), (len, 0));
            assert_eq!(batch.into_vec(), Vec::from_iter(0..len), "in their order");
        }
        for len in [0, BATCH_ENTRIES + 1] {
            assert_eq!(batch(len).map_err(|failure| failure.code), Err(Code::BadBatch));
        }
    }

    #[test]
    fn one_alone_is_one_however_it_was_made() {
        assert_eq!(batch(1), Ok(Batch::from(0)));
        assert_eq!(Batch::from(7).as_one(), Some(&7));
        assert_eq!(batch(2).expect("within the limits").as_one(), None);
    }

    #[test]
    fn what_is_made_of_a_batch_has_as_many_in_the_same_order() {
        for len in [1, 3] {
            let batch = batch(len).expect("within the limits");
            let doubled = batch.map_each(|number| 2 * number);
            assert_eq!(doubled, batch.clone().map(|number| 2 * number));
            assert_eq!(doubled.last(), Some(&(2 * (len - 1))));
            let checked = |limit: usize| {
                batch.map_each(|number| if *number < limit { Ok(*number) } else { Err(*number) })
            };
            assert_eq!(checked(len).all().as_ref(), Ok(&batch));
            assert_eq!(checked(0).all(), Err(0), "the first that failed");
        }
    }
}
