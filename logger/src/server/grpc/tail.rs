//! `TailLogs`: entries as they are stored.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use proto::{
    Code, Cursor, Failure, TailEvent, TailQuery, Time,
    grpc::{TailResponse, status, tail_response},
};
use service::Shutdown;
use tokio::time::Instant;
use tonic::Status;

use crate::store::{Followed, Reader};

/// The least time between two looks at the store, while it is written to. A look costs a thread's turn.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long to wait when too many read at once.
const BUSY: Duration = Duration::from_millis(50);

/// How often a tail without matching entries reports its position.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// An entry has its time of storing before it is committed; by then it is, unless the disk stands still.
const COMMIT: Duration = Duration::from_secs(1);

/// One client's tail. It reads the store when its client has taken what was found before, so it holds little and blocks
/// nobody else.
pub(super) struct Tail {
    reader: Reader,
    shutdown: Shutdown,
    query: Arc<TailQuery>,
    cursor: Cursor,
    found: VecDeque<TailResponse>,
    /// There may be more in the store.
    more: bool,
    ended: bool,
    looked_at: Instant,
    told_at: Instant,
}

impl Tail {
    /// # Errors
    /// As [`Reader::begin`].
    pub(super) async fn begin(reader: Reader, query: TailQuery, shutdown: Shutdown) -> Result<Self, Failure> {
        let cursor = reader.begin(&query).await?;
        let now = Instant::now();
        Ok(Tail {
            reader,
            shutdown,
            query: Arc::new(query),
            cursor,
            found: VecDeque::from([tail_response(TailEvent::Reached, cursor)]),
            more: true,
            ended: false,
            looked_at: now,
            told_at: now,
        })
    }

    /// What it has to tell, until the reader has had enough.
    pub(super) fn responses(self) -> impl Stream<Item = Result<TailResponse, Status>> + Send {
        stream::unfold(self, |mut tail| async { tail.next().await.map(|response| (response, tail)) })
    }

    async fn next(&mut self) -> Option<Result<TailResponse, Status>> {
        loop {
            if let Some(response) = self.found.pop_front() {
                self.told_at = Instant::now();
                return Some(Ok(response));
            }
            if self.ended {
                return None;
            }
            if self.shutdown.has_begun() {
                self.ended = true;
                return Some(Err(status(&Failure::draining("the logger").about_reading())));
            }
            if self.told_at.elapsed() >= TELL_EVERY {
                // A long search that finds nothing must not begin again from the start when the connection is lost.
                self.found.push_back(tail_response(TailEvent::Reached, self.cursor));
                continue;
            }
            let looked = if self.more { self.look().await } else { self.wait().await };
            if let Err(failure) = looked {
                self.ended = true;
                return Some(Err(status(&failure)));
            }
        }
    }

    /// Waits until there may be more, or something to tell.
    async fn wait(&mut self) -> Result<(), Failure> {
        tokio::select! {
            () = self.shutdown.begun() => {}
            changed = self.reader.changed() => {
                changed?;
                tokio::time::sleep_until(self.looked_at + LOOK_EVERY).await;
                self.more = true;
            }
            () = tokio::time::sleep_until(self.told_at + TELL_EVERY) => {}
            () = past(self.query.filter.until) => {
                // What was stored before that moment is still to be told.
                self.more = true;
                self.look().await?;
                self.ended = !self.more;
            }
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), Failure> {
        self.looked_at = Instant::now();
        let found = match self.reader.follow(&self.query, self.cursor).await {
            Err(failure) if failure.code == Code::Overloaded => {
                tokio::time::sleep(BUSY).await;
                return Ok(());
            }
            found => found?,
        };
        let Followed { missed, entries, reached, more, ended } = found;
        if missed > 0 {
            let behind = i64::try_from(missed).unwrap_or(i64::MAX);
            let cursor = Cursor::after(self.cursor.sequence().saturating_add(behind));
            self.found.push_back(tail_response(TailEvent::Missed(missed), cursor));
        }
        let told = entries.into_iter().map(|(entry, cursor)| tail_response(TailEvent::Entry(entry), cursor));
        self.found.extend(told);
        (self.cursor, self.more, self.ended) = (reached, more, ended);
        Ok(())
    }
}

/// Waits until what was stored before `time` is committed; forever if there is no time.
async fn past(time: Option<Time>) {
    /// The furthest moments are further off than a timer can be set to.
    const MOST: Duration = Duration::from_secs(24 * 3_600);
    let Some(time) = time else { return std::future::pending().await };
    loop {
        let left_us = time.as_microsecond().saturating_sub(Time::now().as_microsecond());
        let Ok(left) = u64::try_from(left_us).map(Duration::from_micros) else { return };
        tokio::time::sleep(left.min(MOST) + COMMIT).await;
    }
}

#[cfg(test)]
mod tests {
    use proto::Filter;

    use super::*;
    use crate::store::{Store, fixtures::*};

    /// A tail after `after`, which has told that it begins.
    async fn tail(store: &dyn Store, filter: Filter, after: i64) -> Tail {
        let query = TailQuery { filter, after: Some(Cursor::after(after)), max_lag: None };
        let tail = Tail::begin(store.reader(), query, Shutdown::default()).await;
        let mut tail = tail.expect("the store can be read");
        assert_eq!(told(&mut tail).await, Some((false, Cursor::after(after))));
        tail
    }

    /// Whether what it tells next is an entry, and where it has come by it; `None` at its end.
    async fn told(tail: &mut Tail) -> Option<(bool, Cursor)> {
        let response = tail.next().await?.expect("no failure");
        let (event, cursor) = proto::grpc::tail_event(response).expect("of this version");
        Some((matches!(event, TailEvent::Entry(_)), cursor))
    }

    #[tokio::test(start_paused = true)]
    async fn a_search_that_finds_nothing_tells_how_far_it_is_before_it_ends() {
        let (_directory, _, mut store) = new_store();
        store_one(&mut *store, arrival(1, "text")).expect("stored");
        let filter = Filter { contains: Some("what is nowhere".into()), ..Filter::default() };
        let mut tail = tail(&*store, filter, 0).await;
        tokio::time::advance(TELL_EVERY).await;
        assert!(tail.more, "it has not looked at all yet");
        assert_eq!(told(&mut tail).await, Some((false, Cursor::after(0))));
        assert_eq!(
            told(&mut tail).await,
            Some((false, Cursor::after(1))),
            "when there is nothing more to search"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_told_after_all_that_was_stored_before_it_though_many_read_at_once() {
        /// So long nobody else finds room to read.
        const BUSY_FOR: Duration = Duration::from_secs(5);
        let (_directory, _, mut store) = new_store();
        let reader = store.reader();
        store_one(&mut *store, arrival(1, "text")).expect("stored");
        let filter = Filter { until: Some(Time::now()), ..Filter::default() };
        let mut tail = tail(&*store, filter, 0).await;
        // It waits for its end, and knows of no commit.
        tail.more = false;
        let others = reader.read_by_others();
        let released = async {
            tokio::time::sleep(BUSY_FOR).await;
            drop(others);
        };
        let entry = async {
            loop {
                match told(&mut tail).await {
                    Some((false, _)) => {}
                    told => return told,
                }
            }
        };
        let ((), told_first) = tokio::join!(released, entry);
        assert_eq!(told_first, Some((true, Cursor::after(1))));
        assert_eq!(told(&mut tail).await, None);
    }
}
