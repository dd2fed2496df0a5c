//! What becomes of each entry of a group: stored, duplicate, conflict, all or none. The same code for every kind of
//! store that keeps entries; a kind says only how a row is found and written.

use proto::{BatchMode, Code, Failure, Outcome};
use uuid::Uuid;

use super::{Answer, Arrival, Batch};

/// The entries of a store within the transaction of a group. A trait, since [`decide`] is for both kinds.
pub(super) trait Table<'a> {
    /// What breaks the transaction off.
    type Error;

    /// Adds an entry if its id is not there, and changes nothing otherwise.
    fn add(&mut self, arrival: &'a Arrival) -> Result<Added, Self::Error>;

    /// Counts one more attempt of an entry that is there.
    fn count_again(&mut self, id: Uuid) -> Result<(), Self::Error>;

    /// Begins a batch that may be taken back.
    fn begin(&mut self) -> Result<(), Self::Error>;

    /// Keeps the batch that was begun last.
    fn keep(&mut self) -> Result<(), Self::Error>;

    /// Takes back all that was done since the batch was begun.
    fn take_back(&mut self) -> Result<(), Self::Error>;
}

/// What came of adding an entry.
#[derive(Debug)]
pub(super) enum Added {
    /// It is there now.
    New,
    /// Its id was there already.
    There {
        /// With the same content.
        same: bool,
    },
    /// The store rejects this entry alone, for a reason of its own.
    Unfit(Failure),
}

/// The content that is compared when an id comes again: not when it was created, and not by which transport it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content<'a> {
    pub(super) name: &'a str,
    pub(super) level: &'a str,
    pub(super) data: &'a str,
}

impl<'a> From<&'a Arrival> for Content<'a> {
    fn from(arrival: &'a Arrival) -> Self {
        let entry = &arrival.entry;
        Content { name: entry.name(), level: entry.level().as_str(), data: entry.data() }
    }
}

/// An answer for each batch of a group, and in the table what they say.
///
/// # Errors
/// What breaks the transaction off: then nothing of it may be kept.
pub(super) fn decide<'a, T: Table<'a>>(table: &mut T, group: &'a [Batch]) -> Result<Vec<Answer>, T::Error> {
    let answers = group.iter().map(|batch| match batch.mode {
        BatchMode::Each => {
            batch.arrivals.iter().map(|arrival| one(table, arrival)).collect::<Result<_, _>>().map(Ok)
        }
        BatchMode::AllOrNone => all_or_none(table, &batch.arrivals),
    });
    answers.collect()
}

fn all_or_none<'a, T: Table<'a>>(table: &mut T, arrivals: &'a [Arrival]) -> Result<Answer, T::Error> {
    table.begin()?;
    let mut results = Vec::with_capacity(arrivals.len());
    for (position, arrival) in arrivals.iter().enumerate() {
        match one(table, arrival)? {
            Ok(outcome) => results.push(Ok(outcome)),
            Err(failure) => {
                table.take_back()?;
                return Ok(Err(failure.at(position)));
            }
        }
    }
    table.keep()?;
    Ok(Ok(results))
}

/// An entry's own result inside, what breaks the transaction off outside.
fn one<'a, T: Table<'a>>(table: &mut T, arrival: &'a Arrival) -> Result<Result<Outcome, Failure>, T::Error> {
    #[cfg(feature = "faults")]
    if crate::faults::Fault::DropSome.is_on() && arrival.entry.id().as_u128().is_multiple_of(1_000) {
        return Ok(Ok(Outcome::Stored));
    }
    match table.add(arrival)? {
        Added::New => Ok(Ok(Outcome::Stored)),
        Added::There { same: true } => {
            table.count_again(arrival.entry.id())?;
            Ok(Ok(Outcome::Duplicate))
        }
        Added::There { same: false } => Ok(Err(conflict())),
        Added::Unfit(failure) => Ok(Err(failure)),
    }
}

fn conflict() -> Failure {
    Failure::new(
        Code::Conflict,
        "the id is already stored with other content, which is kept: use a new id, or omit it",
    )
}

/// Of an entry that a store rejects. No valid entry is rejected today; if one ever is, its neighbours must not suffer.
pub(super) fn unfit() -> Failure {
    Failure::new(Code::InvalidEntry, "the store rejects this entry: change its content")
}
