//! Helpers for the tests of the store and of the writer.

use std::path::Path;

use jiff::Timestamp;
use proto::{BatchMode, EntryDraft, Failure, Level, Outcome, Transport};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Arrival, Batch, Store, StoreUrl};

/// An empty store in a directory that vanishes with the test.
pub(crate) fn new_store() -> (TempDir, StoreUrl, Box<dyn Store>) {
    let directory = tempfile::tempdir().expect("a directory");
    let url = StoreUrl::Sqlite(directory.path().join("logs.db"));
    let store = super::open(&url, None).expect("a new store");
    (directory, url, store)
}

/// The file of a store.
pub(crate) fn file(url: &StoreUrl) -> &Path {
    let StoreUrl::Sqlite(path) = url else { panic!("it has none") };
    path
}

pub(crate) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number + 1)
}

/// Entry `number`, with that data.
pub(crate) fn arrival(number: u128, data: &str) -> Arrival {
    arrival_of(number, "event", data, Level::Info, Transport::Http)
}

pub(crate) fn arrival_of(number: u128, name: &str, data: &str, level: Level, came_by: Transport) -> Arrival {
    let draft = EntryDraft {
        name: name.into(),
        data: data.into(),
        id: Some(id(number).to_string()),
        level: Some(level.as_str().into()),
        ..EntryDraft::default()
    };
    Arrival { entry: draft.check(Timestamp::now()).expect("a valid entry"), came_by }
}

pub(crate) fn each(arrivals: Vec<Arrival>) -> Batch {
    Batch { arrivals, mode: BatchMode::Each }
}

pub(crate) fn all_or_none(arrivals: Vec<Arrival>) -> Batch {
    Batch { arrivals, mode: BatchMode::AllOrNone }
}

/// Stores one entry in a group of its own.
pub(crate) fn store_one(store: &mut dyn Store, arrival: Arrival) -> Result<Outcome, Failure> {
    let mut answers = store.commit(&[each(vec![arrival])])?;
    answers.remove(0).expect("`each` answers by entry").remove(0)
}
