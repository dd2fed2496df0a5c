//! Where entries are kept. Nothing outside this module knows what a store is made of.
//!
//! A [`Store`] is the write end: it blocks, and one thread owns it (`writer.rs`). A [`Reader`] is the read end: it is
//! cloned freely, and neither waits for the other. A new kind is a folder that implements [`Store`] and [`Read`], a
//! variant of [`StoreUrl`] with its arm in [`open`], and a line of `store_suite!`. Both are traits and not enums, since
//! they are called for each group and each page, and not for each entry.
//!
//! What every kind but [`StoreUrl::Nothing`] promises, and `suite/` tries:
//! * a committed entry is synced: neither the death of a process nor a loss of power takes it back;
//! * an id is stored once. The same content (name, data and level; `created_at` is not compared) again is a
//!   duplicate and adds 1 to `attempts`; other content is a conflict and changes nothing at all;
//! * entries have a sequence without gaps that only grows, and in its order `stored_at` never goes backwards.
//!
//! An id is remembered as long as its entry is kept: what [`Retention`] has deleted can be stored again.

mod checksum;
mod decide;
#[cfg(test)]
pub(crate) mod fixtures;
mod keeper;
mod migrations;
mod nothing;
mod open_error;
mod postgres;
mod reader;
mod reading;
mod row;
mod sqlite;
#[cfg(test)]
mod suite;
mod told;
mod url;
mod vitals;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use proto::{BatchMode, Cursor, Failure, LogEntry, Outcome, StoredEntry, Time, Transport};

pub use self::{
    open_error::{Cause, OpenError},
    postgres::{BadUrl, PostgresUrl},
    reader::{Read, Reader},
    url::{StoreUrl, StoreUrlParser, UnknownStore},
    vitals::Vitals,
};

/// How long a successful commit is taken as evidence that the next one will succeed.
const FRESH: Duration = Duration::from_secs(1);

/// Opens a store, and creates it if it is missing. Looks for damage for at most a second. Call it after the recorder of
/// the metrics is installed.
///
/// `tls` is how a database is called whose URL asks for it.
///
/// # Errors
/// [`OpenError`], which says what to do.
pub fn open(url: &StoreUrl, tls: Option<Arc<rustls::ClientConfig>>) -> Result<Box<dyn Store>, OpenError> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Box::new(sqlite::Sqlite::open(path)?)),
        StoreUrl::Postgres(url) => Ok(Box::new(postgres::Postgres::open(url, tls)?)),
        StoreUrl::Nothing => Ok(Box::new(nothing::Nothing::open())),
    }
}

/// Copies a store, while a logger may use it, to a file that is not there yet, and verifies the copy. All that was answered
/// as stored before is in it. Between steps it asks `stop` whether it is to end.
///
/// # Errors
/// If it could not; the message says what to do. No file is left.
pub fn backup(url: &StoreUrl, to: &Path, stop: &(dyn Fn() -> bool + Sync)) -> anyhow::Result<BackedUp> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::backup(path, to, stop),
        StoreUrl::Postgres(_) => anyhow::bail!(
            "this is for SQLite: back up PostgreSQL with its own tools, pg_basebackup with archived WAL, or pg_dump \
             (docs/operating.md#backup)"
        ),
        StoreUrl::Nothing => anyhow::bail!("the store `nothing` keeps nothing that could be backed up"),
    }
}

/// The write end of a store. Its calls block.
pub trait Store: fmt::Debug + Send {
    /// The read end.
    fn reader(&self) -> Reader;

    /// Stores the batches in one transaction, those without entries passed over, and returns after it is synced: an
    /// answer for each, in order. Then [`Reader::changed`] returns.
    ///
    /// # Errors
    /// A failure that holds for every entry of the group. Its code tells whether they are certainly not
    /// stored (`storage_full`, `unavailable`) or may be (`outcome_unknown`).
    fn commit(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure>;

    /// Between groups: repairs what broke, and deletes a little of what is not to be kept. Takes some milliseconds.
    /// Returns whether there is more to delete at once.
    fn tend(&mut self, retention: &Retention) -> bool;

    /// Whether an entry could be stored now. After a yes one is, unless others take the room on the disk in between.
    /// Where the last commit is not fresh, one is made that changes nothing.
    ///
    /// # Errors
    /// What an entry would be refused with.
    fn ping(&mut self) -> Result<(), Failure>;

    /// Looks whether [`Store::standing`] is still so: without a commit, unless the last one failed.
    fn look(&mut self);

    /// What an entry would get now, as far as is known.
    ///
    /// # Errors
    /// What it would be refused with.
    fn standing(&self) -> Result<(), &Failure>;

    /// Gives all entries whose time of storing lies ahead of the clock the time that it is now. Their order stays as it
    /// is. A store that is not kept has none.
    ///
    /// # Errors
    /// Why it could not go on; what was done until then is done.
    fn reset_times(&mut self) -> anyhow::Result<ResetTimes>;

    /// Closes it, and leaves it so that a copy of it is whole.
    fn close(self: Box<Self>);
}

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

/// What happened to a batch: a result for each entry in its order, or the failure that kept all of them out.
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

/// How long entries are kept. By default forever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Entries that were stored longer ago are deleted.
    pub max_age: Option<Duration>,
    /// While the entries take more bytes than this, the oldest are deleted. The file may be a tenth larger,
    /// and has its write-ahead log beside it.
    pub max_bytes: Option<u64>,
}

/// What [`Store::reset_times`] has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResetTimes {
    /// So many entries have another time of storing.
    pub entries: u64,
    /// The first and the last that they had before; `None` if none was changed.
    pub before: Option<(Time, Time)>,
    /// What they all have now, in the order in which they were stored.
    pub now: Option<Time>,
    /// So many entries cannot be read, and were left as they are.
    pub unreadable: u64,
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedUp {
    /// So many entries.
    pub entries: u64,
    /// So many of them cannot be read, in the store as well.
    pub unreadable: u64,
    /// The bytes of the file.
    pub bytes: u64,
}
