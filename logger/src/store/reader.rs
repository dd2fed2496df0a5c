//! The read end of a store.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use proto::{Code, Cursor, Failure, Page, Query, StoredEntry, TailQuery};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Followed, Vitals};

/// What a kind of store reads with. Its failures are `overloaded` where too many read at once, and `unavailable` where the
/// store cannot be read.
pub trait Read: fmt::Debug + Send + Sync {
    /// As [`Reader::get`].
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<StoredEntry>, Failure>>;

    /// As [`Reader::page`].
    fn page(&self, query: Query) -> BoxFuture<'_, Result<Page, Failure>>;

    /// As [`Reader::begin`]; `None` if it is to go on after an entry that is not there yet.
    fn begin(&self, query: TailQuery) -> BoxFuture<'_, Result<Option<Cursor>, Failure>>;

    /// As [`Reader::follow`].
    fn follow(&self, query: Arc<TailQuery>, after: Cursor) -> BoxFuture<'_, Result<Followed, Failure>>;

    /// As [`Reader::vitals`].
    fn vitals(&self) -> Vitals;

    /// As [`Reader::disk_bytes`].
    fn disk_bytes(&self) -> Option<u64>;

    /// Takes every place of those that read at once, until what this returns is dropped.
    #[cfg(test)]
    fn read_by_others(&self) -> tokio::sync::OwnedSemaphorePermit;
}

/// The read end of a store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    kind: Arc<dyn Read>,
    /// Changes after each commit.
    commits: watch::Receiver<()>,
}

impl Reader {
    /// That of a store of some kind, which tells of each commit by `commits`: its own and, where others write to it too,
    /// theirs.
    pub(super) fn new(kind: Arc<dyn Read>, commits: watch::Receiver<()>) -> Self {
        Reader { kind, commits }
    }

    /// The entry of this id; `None` if it is not stored, or no longer.
    ///
    /// # Errors
    /// `overloaded` if too many read at once for a second, `unavailable` if the store cannot be read.
    pub async fn get(&self, id: Uuid) -> Result<Option<StoredEntry>, Failure> {
        self.kind.get(id).await
    }

    /// The newest entries that meet the query. A page ends at `limit` entries, after 2 MiB of data, or after
    /// half a second of search; `next` goes on from there. `limit` must be at least 1.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn page(&self, query: Query) -> Result<Page, Failure> {
        self.kind.page(query).await
    }

    /// Where a tail begins.
    ///
    /// # Errors
    /// `bad_query` if it is to go on after an entry that this store has not yet; and as [`Reader::get`].
    pub async fn begin(&self, query: &TailQuery) -> Result<Cursor, Failure> {
        self.kind.begin(query.clone()).await?.ok_or_else(not_of_this_store)
    }

    /// What was stored after a place and meets the conditions, oldest first: as much as fits into 512 KiB, and is found
    /// within a tenth of a second.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub async fn follow(&mut self, query: &Arc<TailQuery>, after: Cursor) -> Result<Followed, Failure> {
        // Before the look: what is committed in the meantime changes it again.
        self.commits.mark_unchanged();
        self.kind.follow(Arc::clone(query), after).await
    }

    /// Waits until something may have been stored since this last began to [`Reader::follow`]. May be given up and called
    /// again.
    ///
    /// # Errors
    /// `draining` once the store is closed: nothing more will come.
    pub async fn changed(&mut self) -> Result<(), Failure> {
        self.commits.changed().await.map_err(|_| Failure::draining("the logger").about_reading())
    }

    /// How the store is.
    pub fn vitals(&self) -> Vitals {
        self.kind.vitals()
    }

    /// What the store takes on the disk; `None` where it takes nothing, or nobody knows.
    pub fn disk_bytes(&self) -> Option<u64> {
        self.kind.disk_bytes()
    }

    /// Takes every place of those that read at once, until what this returns is dropped.
    #[cfg(test)]
    pub(crate) fn read_by_others(&self) -> tokio::sync::OwnedSemaphorePermit {
        self.kind.read_by_others()
    }
}

fn not_of_this_store() -> Failure {
    let message = "after is beyond the newest entry: the cursor is from another store, or this store was restored \
        from a backup. Start without a cursor";
    Failure::new(Code::BadQuery, message)
}
