//! Entries from a stream on their way to the writer: what `WriteLogs` and `SyncLogs` share.
//!
//! They are read in chunks of what has arrived, a few at a time, and stored in the order of the stream; results
//! come in the same order. It reads on only as fast as its results are consumed, and ends when nobody consumes
//! them.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt, stream, stream::FuturesOrdered};
use proto::{
    BatchReceipt, Code, EntryDraft, Failure, Outcome, Transport,
    grpc::{self, LogRequest},
};
use service::Shutdown;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;
use uuid::Uuid;

use super::missing_entry;
use crate::{intake::Intake, store::Arrival};

/// Maximum entries of a chunk, and most bytes of name and data unless one entry has more.
const CHUNK_ENTRIES: usize = 256;
const CHUNK_BYTES: usize = 512 * 1024;

/// Maximum chunks of one stream that are read and not settled: 1,024 entries, as `logs.proto` says.
const CHUNKS: usize = 4;

/// Maximum chunks of all streams at the writer: half of its queue, so that single entries still fit.
const TURNS: usize = 8;

/// How long a chunk waits for the writer's queue.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happened to some entries of a stream.
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

    /// Stores what comes, and tells what happened to it, in order. Its last item may be the failure that ended it early:
    /// what happened to entries after those that were told is not known then.
    pub(super) fn settle(
        &self,
        requests: Streaming<LogRequest>,
    ) -> impl Stream<Item = Result<Settled, Failure>> + Send + use<> {
        let incoming = Incoming { requests, position: 0, end: None, shutdown: self.shutdown.clone() };
        let (uploads, in_flight) = (self.clone(), FuturesOrdered::new());
        let upload = Upload { uploads, incoming, in_flight, last_queued: None, told: false };
        stream::unfold(upload, |mut upload| async { upload.next().await.map(|settled| (settled, upload)) })
    }

    /// Stores a chunk once the one before it is queued, and says when this one is. Where one cannot be queued none that comes
    /// after it is: the order of the stream would be lost.
    async fn store(
        self,
        chunk: Chunk,
        after: Option<oneshot::Receiver<()>>,
        queued: oneshot::Sender<()>,
    ) -> Result<Settled, Failure> {
        if let Some(after) = after {
            after
                .await
                .map_err(|_| Failure::unreachable("the store").because("an earlier chunk was not queued"))?;
        }
        let _turn = self.turns.acquire().await.map_err(|_| Failure::draining("the logger"))?;
        let Chunk { first, ids, arrivals, .. } = chunk;
        let in_queue = self.intake.queue_some(arrivals, PATIENCE).await?;
        // The next may be gone, with the stream.
        let _ = queued.send(());
        let BatchReceipt { results, store_us } = in_queue.answered().await?;
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
    /// Tells that the last of them is queued.
    last_queued: Option<oneshot::Receiver<()>>,
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
                        let (queued, told) = oneshot::channel();
                        let after = self.last_queued.replace(told);
                        let stored = tokio::spawn(self.uploads.clone().store(chunk, after, queued));
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
        let message = format!("invalid message in the stream: {}", status.message());
        Failure::new(Code::BadField, message)
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use prost::Message;
    use proto::{Query, grpc::Log};
    use tonic::codec::Codec;
    use tonic_prost::ProstCodec;

    use super::*;
    use crate::{
        store::{Retention, fixtures::new_store},
        writer::Writer,
    };

    /// A stream of entries that has come as a whole.
    fn streaming(names: impl Iterator<Item = u64>) -> Streaming<LogRequest> {
        let mut body = Vec::new();
        for name in names {
            let log = Log { name: name.to_string(), ..Log::default() };
            let message = LogRequest { log_entry: Some(log) }.encode_to_vec();
            body.push(0);
            body.extend(u32::try_from(message.len()).expect("small").to_be_bytes());
            body.extend(message);
        }
        let decoder = ProstCodec::<LogRequest, LogRequest>::default().decoder();
        Streaming::new_request(decoder, Body::from(body), None, None)
    }

    #[tokio::test]
    async fn what_comes_after_a_chunk_that_is_not_queued_is_not_either() {
        let (_directory, _, store) = new_store();
        let reader = store.reader();
        let (writer, _thread) = Writer::start(store, Retention::default()).expect("a thread");
        let shutdown = Shutdown::default();
        let uploads = Uploads::new(Intake::new(writer, shutdown.clone()), shutdown);
        let chunk = || {
            let mut chunk = Chunk { first: 0, ids: Vec::new(), arrivals: Vec::new(), bytes: 0 };
            chunk.push(LogRequest { log_entry: Some(Log { name: "event".into(), ..Log::default() }) });
            chunk
        };
        let (before, after) = oneshot::channel();
        let (queued, told) = oneshot::channel();
        drop(before);
        let failure = uploads.clone().store(chunk(), Some(after), queued).await.expect_err("not queued");
        assert_eq!((failure.code, told.await.is_err()), (Code::Unavailable, true));
        assert_eq!(reader.page(Query::default()).await.expect("readable").entries, []);
        let (queued, told) = oneshot::channel();
        let settled = uploads.store(chunk(), None, queued).await.expect("stored");
        assert_eq!((settled.entries.len(), told.await), (1, Ok(())));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_comes_in_a_stream_is_stored_in_its_order() {
        const ENTRIES: u64 = 10 * CHUNK_ENTRIES as u64;
        let (_directory, _, store) = new_store();
        let reader = store.reader();
        let (writer, _thread) = Writer::start(store, Retention::default()).expect("a thread");
        let shutdown = Shutdown::default();
        let uploads = Uploads::new(Intake::new(writer, shutdown.clone()), shutdown);
        for round in 0..20 {
            let names = round * ENTRIES..(round + 1) * ENTRIES;
            // On a thread of the runtime, where the newest task runs first.
            let settled = tokio::spawn(uploads.settle(streaming(names)).collect::<Vec<_>>());
            let settled = settled.await.expect("no panic");
            assert!(settled.iter().all(|settled| settled.is_ok()), "{settled:?}");
        }
        let mut names = (0..20 * ENTRIES).rev();
        let mut query = Query { limit: 1_000, ..Query::default() };
        loop {
            let page = reader.page(query.clone()).await.expect("readable");
            for entry in page.entries {
                assert_eq!(Some(entry.name), names.next().map(|name| name.to_string()));
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        assert_eq!(names.next(), None);
    }
}
