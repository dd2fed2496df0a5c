//! Where entries are kept. Nothing outside this module knows what a store is made of.
//!
//! A [`Store`] is the write end: it blocks, and one thread owns it (`writer.rs`). A [`Reader`] is the read
//! end: it is cloned freely, and neither waits for the other. Both are closed enums with one variant for each
//! kind of store; a new kind is a new file beside `sqlite.rs` and a new arm in the matches below.
//!
//! What every kind but [`StoreUrl::Nothing`] promises:
//! * a committed entry is synced: neither the death of a process nor a loss of power takes it back;
//! * an id is stored once. The same content (name, data and level; `created_at` is not compared) again is a
//!   duplicate and adds 1 to `attempts`; other content is a conflict and changes nothing at all;
//! * entries have a sequence that only grows, and in its order `stored_at` never goes backwards.
//!
//! An id is remembered as long as its entry is kept: what [`Retention`] has deleted can be stored again.

#[cfg(test)]
pub(crate) mod fixtures;
mod nothing;
mod open_error;
mod sqlite;
mod vitals;

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use proto::{
    BatchMode, Code, Cursor, Failure, LogEntry, Outcome, Page, Query, StoredEntry, TailQuery, Transport,
};
use uuid::Uuid;

pub use self::{open_error::OpenError, sqlite::ResetTimes, vitals::Vitals};

/// A valid entry, and the transport by which it came first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// What is to be stored.
    pub entry: LogEntry,
    /// `rabbitmq` for what the listener brings, whatever it is handed over with.
    pub came_by: Transport,
}

/// Entries that were handed over together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The entries, in the caller's order.
    pub arrivals: Vec<Arrival>,
    /// How they share their fate.
    pub mode: BatchMode,
}

impl Batch {
    /// The bytes of name and data of all its entries.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.arrivals.iter().map(|arrival| arrival.entry.payload_bytes()).sum()
    }
}

/// What became of a batch: a result for each entry in its order, or the failure that kept all of them out.
pub type Answer = Result<Vec<Result<Outcome, Failure>>, Failure>;

/// What was stored after a place, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// So many entries after the place are no longer there, or were skipped. Numbers that were given to nothing count.
    pub missed: u64,
    /// The entries that meet the conditions, each with its place.
    pub entries: Vec<(StoredEntry, Cursor)>,
    /// Everything up to here was looked at.
    pub reached: Cursor,
    /// Whether more is stored after that.
    pub more: bool,
    /// Whether all that may come was stored too late to meet the conditions.
    pub ended: bool,
}

/// How long entries are kept. By default for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Entries that were stored longer ago are deleted.
    pub max_age: Option<Duration>,
    /// While the entries take more bytes than this, the oldest are deleted. The file may be a tenth larger,
    /// and has its write-ahead log beside it.
    pub max_bytes: Option<u64>,
}

/// Where the setting `LOGGER_STORE` says that entries are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite:` and the path of a file, which is created if it is missing.
    Sqlite(PathBuf),
    /// `nothing`: every entry is answered as stored, and forgotten. What is left is the price of everything but
    /// durability, which is what it is for.
    Nothing,
}

impl FromStr for StoreUrl {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        if text == "nothing" {
            return Ok(StoreUrl::Nothing);
        }
        let path = text.strip_prefix("sqlite:").ok_or(UnknownStore)?;
        // Other tools write `sqlite://data/logs.db`; taken literally it would be a file in the root.
        let path = path.strip_prefix("//").unwrap_or(path);
        // SQLite would keep `:memory:` in memory, and lose what was answered as stored.
        if path.is_empty() || path.starts_with(':') || path.contains('\0') {
            return Err(UnknownStore);
        }
        Ok(StoreUrl::Sqlite(PathBuf::from(path)))
    }
}

/// The setting names no store that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown store: use sqlite:<path of a file>, such as sqlite:data/logs.db, or nothing to measure without one"
)]
pub struct UnknownStore;

/// The write end of a store. Its calls block.
#[derive(Debug)]
pub enum Store {
    /// A SQLite file.
    Sqlite(Box<sqlite::Sqlite>),
    /// None.
    Nothing,
}

impl Store {
    /// Opens the store, and creates it if it is missing. Looks for damage for at most a second.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(url: &StoreUrl) -> Result<Self, OpenError> {
        match url {
            StoreUrl::Sqlite(path) => sqlite::Sqlite::open(path).map(|store| Store::Sqlite(Box::new(store))),
            StoreUrl::Nothing => {
                tracing::warn!("LOGGER_STORE=nothing: every entry is answered as stored, and forgotten");
                Ok(Store::Nothing)
            }
        }
    }

    /// The read end.
    pub fn reader(&self) -> Reader {
        match self {
            Store::Sqlite(store) => Reader::Sqlite(store.reader()),
            Store::Nothing => Reader::Nothing,
        }
    }

    /// Stores the batches in one transaction, those without entries passed over, and returns after it is synced: an answer for each, in order.
    ///
    /// # Errors
    /// A failure that holds for every entry of the group. Its code tells whether they are certainly not
    /// stored (`storage_full`, `unavailable`) or may be (`outcome_unknown`).
    pub fn commit(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        match self {
            Store::Sqlite(store) => store.commit(group),
            Store::Nothing => Ok(nothing::answers(group)),
        }
    }

    /// Between groups: mends what broke, and deletes a little of what is not to be kept. Takes some
    /// milliseconds. Returns whether there is more to delete at once.
    pub fn tend(&mut self, retention: &Retention) -> bool {
        match self {
            Store::Sqlite(store) => store.tend(retention),
            Store::Nothing => false,
        }
    }

    /// Whether an entry could be stored now. After a yes one is, unless others take the room on the disk in between.
    /// Where the last commit is not fresh, one is made that changes nothing.
    ///
    /// # Errors
    /// What an entry would be refused with.
    pub fn ping(&mut self) -> Result<(), Failure> {
        match self {
            Store::Sqlite(store) => store.ping(),
            Store::Nothing => Ok(()),
        }
    }

    /// Looks whether [`Store::standing`] is still so: without a commit, unless the last one failed.
    pub fn look(&mut self) {
        match self {
            Store::Sqlite(store) => store.look(),
            Store::Nothing => {}
        }
    }

    /// What an entry would get now, as far as is known.
    ///
    /// # Errors
    /// What it would be refused with.
    pub fn standing(&self) -> Result<(), &Failure> {
        match self {
            Store::Sqlite(store) => store.standing(),
            Store::Nothing => Ok(()),
        }
    }

    /// Gives all entries whose time of storing lies ahead of the clock the time that it is now. Their order stays as it
    /// is. A store that is not kept has none.
    ///
    /// # Errors
    /// What SQLite says; what was done until then is done.
    pub fn reset_times(&mut self) -> anyhow::Result<ResetTimes> {
        match self {
            Store::Sqlite(store) => store.reset_times(),
            Store::Nothing => Ok(ResetTimes::default()),
        }
    }

    /// Leaves everything in the main file, so that a copy of it is whole, and closes it.
    pub fn close(self) {
        match self {
            Store::Sqlite(store) => store.close(),
            Store::Nothing => {}
        }
    }
}

/// The read end of a store. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Reader {
    /// A SQLite file.
    Sqlite(sqlite::SqliteReader),
    /// None.
    Nothing,
}

impl Reader {
    /// The entry of this id; `None` if it is not stored, or no longer.
    ///
    /// # Errors
    /// `overloaded` if no connection is free within a second, `unavailable` if the store cannot be read.
    pub async fn get(&self, id: Uuid) -> Result<Option<StoredEntry>, Failure> {
        match self {
            Reader::Sqlite(reader) => reader.get(id).await,
            Reader::Nothing => Ok(None),
        }
    }

    /// How the store is.
    pub fn vitals(&self) -> Vitals {
        match self {
            Reader::Sqlite(reader) => reader.vitals(),
            Reader::Nothing => Vitals::default(),
        }
    }

    /// What the store takes on the disk; `None` where it takes nothing, or nobody knows.
    pub fn disk_bytes(&self) -> Option<u64> {
        match self {
            Reader::Sqlite(reader) => reader.disk_bytes(),
            Reader::Nothing => None,
        }
    }

    /// The newest entries that meet the query. A page ends at `limit` entries, after 2 MiB of data, or after
    /// half a second of search; `next` goes on from there. `limit` must be at least 1.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn page(&self, query: Query) -> Result<Page, Failure> {
        match self {
            Reader::Sqlite(reader) => reader.page(query).await,
            Reader::Nothing => Ok(Page { entries: Vec::new(), next: None }),
        }
    }

    /// Where a tail begins.
    ///
    /// # Errors
    /// `bad_query` if it is to go on after an entry that this store has not yet; and as [`Reader::get`].
    pub async fn begin(&self, query: &TailQuery) -> Result<Cursor, Failure> {
        match self {
            Reader::Sqlite(reader) => reader.begin(query).await?.ok_or_else(not_of_this_store),
            Reader::Nothing => Ok(Cursor::after(0)),
        }
    }

    /// What was stored after a place and meets the conditions, oldest first: as much as fits into 512 KiB, and is found
    /// within a tenth of a second.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn follow(&self, query: &Arc<TailQuery>, after: Cursor) -> Result<Followed, Failure> {
        match self {
            Reader::Sqlite(reader) => reader.follow(Arc::clone(query), after).await,
            Reader::Nothing => {
                let entries = Vec::new();
                Ok(Followed { missed: 0, entries, reached: after, more: false, ended: false })
            }
        }
    }
}

#[cfg(test)]
impl Reader {
    /// Takes every place of those that read at once, until what this returns is dropped.
    pub(crate) fn read_by_others(&self) -> tokio::sync::OwnedSemaphorePermit {
        match self {
            Reader::Sqlite(reader) => reader.read_by_others(),
            Reader::Nothing => panic!("nobody waits to read nothing"),
        }
    }
}

fn not_of_this_store() -> Failure {
    let message = "after is the cursor of an entry that this store does not have yet: it is of another store, or \
        this one was put back from a copy. Begin again without it";
    Failure::new(Code::BadQuery, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_kind_and_place() {
        for (text, path) in [
            ("sqlite:data/logs.db", "data/logs.db"),
            ("sqlite:/var/lib/logs.db", "/var/lib/logs.db"),
            ("sqlite:///var/lib/logs.db", "/var/lib/logs.db"),
            ("sqlite://data/logs.db", "data/logs.db"),
        ] {
            assert_eq!(text.parse(), Ok(StoreUrl::Sqlite(path.into())), "{text}");
        }
    }

    #[test]
    fn the_store_that_keeps_nothing_has_to_be_named_as_such() {
        assert_eq!("nothing".parse(), Ok(StoreUrl::Nothing));
        for text in ["Nothing", "nothing:", "none"] {
            assert_eq!(text.parse::<StoreUrl>(), Err(UnknownStore), "{text}");
        }
    }

    #[test]
    fn an_unknown_store_is_told_the_known_forms() {
        for text in ["", "data/logs.db", "sqlite:", "sqlite::memory:", "postgres://localhost/logs"] {
            let error = text.parse::<StoreUrl>().expect_err(text);
            assert!(error.to_string().contains("sqlite:data/logs.db"));
        }
    }
}
