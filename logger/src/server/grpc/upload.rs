//! Entries off a stream, on their way to the writer: what `WriteLogs` and `SyncLogs` share.
//!
//! They are taken in chunks of what has come, a few chunks at a time; the results come out in the order of the stream.
//! It reads on as far as its results are taken, and ends with who takes them.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt, stream, stream::FuturesOrdered};
use proto::{
    BatchReceipt, Code, EntryDraft, Failure, Outcome, Transport,
    grpc::{self, LogRequest},
};
use service::Shutdown;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;
use uuid::Uuid;

use super::missing_entry;
use crate::{intake::Intake, store::Arrival};

/// Most entries of a chunk, and most bytes of name and data unless one entry has more.
const CHUNK_ENTRIES: usize = 256;
const CHUNK_BYTES: usize = 512 * 1024;

/// Most chunks of one stream that are read and not settled: 1,024 entries, as `logs.proto` says.
const CHUNKS: usize = 4;

/// Most chunks of all streams together that are at the writer: half of what its queue takes, so that there is room for
/// those who send one entry.
const TURNS: usize = 8;

/// How long a chunk waits for room at the writer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of some entries of a stream.
#[derive(Debug)]
pub(super) struct Settled {
    /// The position of the first, counted from 0.
    pub(super) first: u64,
    /// Each with its id, if that could be read.
    pub(super) entries: Vec<(Option<Uuid>, Result<Outcome, Failure>)>,
    /// From the writer's queue to the commit, in microseconds.
    pub(super) store_us: u64,
}

/// Where the entries of all streams go. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Uploads {
    intake: Intake,
    turns: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Uploads {
    pub(super) fn new(intake: Intake, shutdown: Shutdown) -> Self {
        Uploads { intake, turns: Arc::new(Semaphore::new(TURNS)), shutdown }
    }

    /// Stores what comes, and tells what became of it, in order. Its last item may be the failure that ended it early:
    /// what became of entries after those that were told is not known then.
    pub(super) fn settle(
        &self,
        requests: Streaming<LogRequest>,
    ) -> impl Stream<Item = Result<Settled, Failure>> + Send + use<> {
        let incoming = Incoming { requests, position: 0, end: None, shutdown: self.shutdown.clone() };
        let upload =
            Upload { uploads: self.clone(), incoming, in_flight: FuturesOrdered::new(), told: false };
        stream::unfold(upload, |mut upload| async { upload.next().await.map(|settled| (settled, upload)) })
    }

    async fn store(self, chunk: Chunk) -> Result<Settled, Failure> {
        let _turn = self.turns.acquire().await.map_err(|_| Failure::draining("the logger"))?;
        let Chunk { first, ids, arrivals, .. } = chunk;
        let BatchReceipt { results, store_us } = self.intake.write_some(arrivals, PATIENCE).await?;
        let entries = ids.into_iter().zip(results).collect();
        Ok(Settled { first, entries, store_us: store_us.unwrap_or_default() })
    }
}

/// One stream.
struct Upload {
    uploads: Uploads,
    incoming: Incoming,
    /// Each a task of its own: one that waits for its sender to take acknowledgements must not keep a turn meanwhile.
    in_flight: FuturesOrdered<AbortOnDropHandle<Result<Settled, Failure>>>,
    /// A failure was told, and nothing comes after it.
    told: bool,
}

impl Upload {
    async fn next(&mut self) -> Option<Result<Settled, Failure>> {
        while !self.told {
            let reads = self.incoming.end.is_none() && self.in_flight.len() < CHUNKS;
            tokio::select! {
                biased;
                Some(settled) = self.in_flight.next() => {
                    let lost = |panicked| Err(Failure::unknown("the store").because(panicked));
                    let settled = settled.unwrap_or_else(lost);
                    self.told = settled.is_err();
                    return Some(settled);
                }
                chunk = self.incoming.read(), if reads => {
                    if !chunk.arrivals.is_empty() {
                        let stored = tokio::spawn(self.uploads.clone().store(chunk));
                        self.in_flight.push_back(AbortOnDropHandle::new(stored));
                    }
                }
                else => {
                    self.told = true;
                    return self.incoming.end.take()?.err().map(Err);
                }
            }
        }
        None
    }
}

/// What is still to be read of a stream.
struct Incoming {
    requests: Streaming<LogRequest>,
    /// Of the next entry, counted from 0.
    position: u64,
    /// Why no more is read; `None` while there is more.
    end: Option<Result<(), Failure>>,
    shutdown: Shutdown,
}

impl Incoming {
    /// Waits for an entry, and takes what has come behind it. Nothing is lost if it is dropped while it waits.
    async fn read(&mut self) -> Chunk {
        let mut chunk = Chunk { first: self.position, ids: Vec::new(), arrivals: Vec::new(), bytes: 0 };
        let mut next = tokio::select! {
            biased;
            () = self.shutdown.begun() => {
                self.end = Some(Err(Failure::draining("the logger")));
                return chunk;
            }
            next = self.requests.next() => Some(next),
        };
        while let Some(request) = next {
            match request {
                Some(Ok(request)) => chunk.push(request),
                Some(Err(status)) => self.end = Some(Err(unreadable(&status))),
                None => self.end = Some(Ok(())),
            }
            let more = self.end.is_none() && !chunk.is_full();
            next = if more { self.requests.next().now_or_never() } else { None };
        }
        self.position += chunk.arrivals.len() as u64;
        chunk
    }
}

/// Entries that came together.
#[derive(Debug)]
struct Chunk {
    first: u64,
    ids: Vec<Option<Uuid>>,
    arrivals: Vec<Result<Arrival, Failure>>,
    bytes: usize,
}

impl Chunk {
    fn is_full(&self) -> bool {
        self.arrivals.len() >= CHUNK_ENTRIES || self.bytes >= CHUNK_BYTES
    }

    /// Checks an entry at once: of one that is refused, however large, nothing more is kept.
    fn push(&mut self, request: LogRequest) {
        let draft = request.log_entry.map(EntryDraft::from).ok_or_else(missing_entry);
        let arrival = draft.and_then(|draft| Intake::check(draft, Transport::Grpc));
        let id = match &arrival {
            Ok(arrival) => Some(arrival.entry.id()),
            Err(failure) => failure.id,
        };
        self.bytes += arrival.as_ref().map_or(0, |arrival| arrival.entry.payload_bytes());
        self.ids.push(id);
        self.arrivals.push(arrival);
    }
}

/// Why the next message could not be read.
fn unreadable(status: &tonic::Status) -> Failure {
    grpc::failure(status).unwrap_or_else(|| {
        let message = format!("the next message of the stream cannot be read: {}", status.message());
        Failure::new(Code::BadField, message)
    })
}
