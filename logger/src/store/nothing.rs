//! The store that discards everything: every entry is acknowledged as new.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use proto::{Cursor, Failure, Outcome, Page, Query, StoredEntry, TailQuery};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Answer, Batch, Followed, Read, Reader, ResetTimes, Retention, Store, Vitals};

/// Both ends of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Nothing {
    commits: watch::Sender<()>,
}

impl Nothing {
    /// Tells the log of it.
    pub(super) fn open() -> Self {
        tracing::warn!("LOGGER_STORE=nothing: every entry is acknowledged as stored, and discarded");
        Nothing::default()
    }
}

impl Store for Nothing {
    fn reader(&self) -> Reader {
        Reader::new(Arc::new(NothingRead), self.commits.subscribe())
    }

    fn commit(&mut self, group: &[Batch]) -> Result<Vec<Answer>, Failure> {
        self.commits.send_replace(());
        let answers = group.iter().map(|batch| Ok(vec![Ok(Outcome::Stored); batch.arrivals.len()]));
        Ok(answers.collect())
    }

    fn tend(&mut self, _: &Retention) -> bool {
        false
    }

    fn ping(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn look(&mut self) {}

    fn standing(&self) -> Result<(), &Failure> {
        Ok(())
    }

    fn reset_times(&mut self) -> anyhow::Result<ResetTimes> {
        Ok(ResetTimes::default())
    }

    fn close(self: Box<Self>) {}
}

#[derive(Debug)]
struct NothingRead;

impl Read for NothingRead {
    fn get(&self, _: Uuid) -> BoxFuture<'_, Result<Option<StoredEntry>, Failure>> {
        ready(Ok(None)).boxed()
    }

    fn page(&self, _: Query) -> BoxFuture<'_, Result<Page, Failure>> {
        ready(Ok(Page { entries: Vec::new(), next: None })).boxed()
    }

    fn begin(&self, _: TailQuery) -> BoxFuture<'_, Result<Option<Cursor>, Failure>> {
        ready(Ok(Some(Cursor::after(0)))).boxed()
    }

    fn follow(&self, _: Arc<TailQuery>, after: Cursor) -> BoxFuture<'_, Result<Followed, Failure>> {
        let entries = Vec::new();
        ready(Ok(Followed { missed: 0, entries, reached: after, more: false, ended: false })).boxed()
    }

    fn vitals(&self) -> Vitals {
        Vitals::default()
    }

    fn disk_bytes(&self) -> Option<u64> {
        None
    }

    #[cfg(test)]
    fn read_by_others(&self) -> tokio::sync::OwnedSemaphorePermit {
        panic!("nobody waits to read nothing")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{StoreUrl, fixtures::*};
    use super::*;

    #[tokio::test]
    async fn everything_is_stored_and_nothing_is_there() {
        let mut store = super::super::open(&StoreUrl::Nothing, None).expect("nothing to open");
        let group = [each(vec![arrival(1, "a"), arrival(2, "b")]), all_or_none(vec![arrival(1, "c")])];
        let answers = store.commit(&group).expect("no disk that could fail");
        assert_eq!(answers, [Ok(vec![Ok(Outcome::Stored); 2]), Ok(vec![Ok(Outcome::Stored)])]);
        assert_eq!(store.reader().get(id(1)).await, Ok(None));
    }
}
