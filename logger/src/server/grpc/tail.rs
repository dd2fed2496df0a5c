//! `TailLogs`: entries as they are stored.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use jiff::Timestamp;
use proto::{
    Code, Cursor, Failure, TailEvent, TailQuery,
    grpc::{TailResponse, status, tail_response},
};
use service::Shutdown;
use tokio::{sync::watch, time::Instant};
use tonic::Status;

use crate::store::{Followed, Reader};

/// The least time between two looks at the store, while it is written to. A look costs a thread's turn.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long to wait when too many read at once.
const BUSY: Duration = Duration::from_millis(50);

/// How often a reader for whom there is nothing is told how far the tail has come.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// An entry has its time of storing before it is committed; by then it is, unless the disk stands still.
const COMMIT: Duration = Duration::from_secs(1);

/// One reader's tail. It looks when its reader has taken what it found before, so it holds little, and nobody else waits.
pub(super) struct Tail {
    reader: Reader,
    commits: watch::Receiver<()>,
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
    pub(super) async fn begin(
        reader: Reader,
        commits: watch::Receiver<()>,
        query: TailQuery,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        let cursor = reader.begin(&query).await?;
        let now = Instant::now();
        Ok(Tail {
            reader,
            commits,
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
                return Some(Err(status(&Failure::draining("the logger"))));
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
            changed = self.commits.changed() => {
                // Without the writer nothing more will come.
                changed.map_err(|_| Failure::draining("the logger"))?;
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
        // Before the look: what is committed in the meantime changes it again.
        self.commits.mark_unchanged();
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

/// Waits until what was stored before `time` is committed; for ever if there is no time.
async fn past(time: Option<Timestamp>) {
    /// The furthest moments are further off than a timer can be set to.
    const MOST: Duration = Duration::from_secs(24 * 3_600);
    let Some(time) = time else { return std::future::pending().await };
    while let Ok(left) = Duration::try_from(time.duration_since(Timestamp::now())) {
        tokio::time::sleep(left.min(MOST) + COMMIT).await;
    }
}
