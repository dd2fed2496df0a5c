//! Group commit: many clients, one thread that writes, one fsync for all that is queued.
//!
//! A client takes permits for the entries and bytes of its request, queues it, and waits for the result. The thread
//! takes what is queued, commits it as one transaction, and responds to all. While it commits, the next group
//! gathers: groups grow under load, and a single entry never waits for others. The permits bound the queue; when
//! none is free the client is refused at once.
//!
//! A client that disconnects changes nothing: what is queued is stored, and only the response is lost.

mod group;
mod thread;

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use proto::{
    BatchMode, BatchReceipt, Code, Failure, Receipt, check_batch_len,
    limits::{IN_FLIGHT_BYTES, IN_FLIGHT_ENTRIES},
};
use spans::attribute;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

pub use self::thread::{Drained, WriterThread};
use crate::store::{Arrival, Batch, Retention, Store};

/// How often a load that found the queue full tries again.
const RETRY: Duration = Duration::from_millis(10);

/// Queues entries for the store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` while draining. The thread ends when the sender is gone and the queue is empty, so a request
    /// that was accepted is always answered.
    queue: RwLock<Option<mpsc::Sender<Request>>>,
    entries: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    healthy: AtomicBool,
    /// Why it is not.
    trouble: Mutex<String>,
}

/// A batch in the queue.
struct Request {
    batch: Batch,
    payload_bytes: usize,
    waiting: Waiting,
}

/// The client that waits for the result, and since when.
struct Waiting {
    answer: oneshot::Sender<Result<BatchReceipt, Failure>>,
    queued_at: Instant,
    /// The span that it waits in, if that is recorded. Boxed: few are, and what waits is moved about.
    span: Option<Box<spans::Context>>,
    /// Given back when the request is answered.
    _permits: Permits,
}

/// Room in the queue, for entries and for bytes.
type Permits = [OwnedSemaphorePermit; 2];

impl Writer {
    /// Starts the thread that owns the store. Call it after the metrics recorder is installed.
    ///
    /// # Errors
    /// What the system says if it gives no thread.
    pub fn start(store: Box<dyn Store>, retention: Retention) -> io::Result<(Writer, WriterThread)> {
        let (sender, queue) = mpsc::channel();
        let shared = Arc::new(Shared {
            queue: RwLock::new(Some(sender)),
            entries: Arc::new(Semaphore::new(IN_FLIGHT_ENTRIES)),
            bytes: Arc::new(Semaphore::new(IN_FLIGHT_BYTES)),
            healthy: AtomicBool::new(true),
            trouble: Mutex::default(),
        });
        let thread = WriterThread::start(Arc::clone(&shared), store, retention, queue)?;
        Ok((Writer { shared }, thread))
    }

    /// Stores one entry. Answers after it is committed and synced.
    ///
    /// # Errors
    /// `conflict`; `overloaded`, `draining`, `unavailable` or `storage_full`, when it is certainly not stored;
    /// `outcome_unknown`, when it may be.
    pub async fn write(&self, arrival: Arrival) -> Result<Receipt, Failure> {
        let mut receipt = self.write_batch(vec![arrival], BatchMode::Each).await?;
        let outcome = receipt.results.pop().unwrap_or_else(|| Err(Failure::unknown("the store")))?;
        Ok(Receipt { outcome, store_us: receipt.store_us })
    }

    /// Stores 1 to 1,000 entries in one transaction. Answers after they are committed and synced. The same id
    /// twice in a batch is a duplicate of itself if its content is the same, and else a conflict.
    ///
    /// # Errors
    /// As [`Writer::write`], for the batch as a whole; with [`BatchMode::AllOrNone`] also the failure of the
    /// first entry that cannot be stored, with its position. `bad_batch` or `too_large` for a batch that is
    /// out of its limits.
    pub async fn write_batch(
        &self,
        arrivals: Vec<Arrival>,
        mode: BatchMode,
    ) -> Result<BatchReceipt, Failure> {
        check_batch_len(arrivals.len())?;
        let batch = Batch { arrivals, mode };
        let permits = self.shared.permits(&batch)?;
        self.queue(batch, permits)?.answered().await
    }

    /// Whether an entry could be stored now. It waits in the queue as an entry would, and fails as one would.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn ping(&self) -> Result<(), Failure> {
        let batch = Batch { arrivals: Vec::new(), mode: BatchMode::Each };
        let permits = self.shared.permits(&batch)?;
        self.queue(batch, permits)?.answered().await.map(|_| ())
    }

    /// Queues entries as [`Writer::write_batch`] does, each for itself, but waits up to `patience` for room in the queue:
    /// for a stream, whose sender is slowed by it. What is queued after this has returned is stored after them.
    ///
    /// # Errors
    /// As [`Writer::write`], for the batch as a whole.
    pub async fn queue_patiently(
        &self,
        arrivals: Vec<Arrival>,
        patience: Duration,
    ) -> Result<Queued, Failure> {
        check_batch_len(arrivals.len())?;
        let batch = Batch { arrivals, mode: BatchMode::Each };
        let deadline = Instant::now() + patience;
        // Not by waiting for the permits themselves, which would keep all others from getting any.
        let permits = loop {
            match self.shared.permits(&batch) {
                Err(failure) if failure.code == Code::Overloaded && Instant::now() < deadline => {
                    tokio::time::sleep(RETRY).await;
                }
                permits => break permits?,
            }
        };
        self.queue(batch, permits)
    }

    /// Whether the next write has a chance: the thread runs, and its store is usable.
    pub fn healthy(&self) -> bool {
        self.shared.healthy.load(Ordering::Relaxed)
    }

    /// Why the next write has no chance; `None` while it has one.
    pub(crate) fn trouble(&self) -> Option<String> {
        let trouble = || self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!self.healthy()).then(trouble)
    }

    /// Entries that were accepted and are not answered yet.
    pub(crate) fn queued_entries(&self) -> usize {
        self.shared.queued_entries()
    }

    fn queue(&self, batch: Batch, permits: Permits) -> Result<Queued, Failure> {
        if let Some(first) = batch.arrivals.first() {
            spans::note(|| attribute::entries(first.entry.id(), batch.arrivals.len()));
        }
        let payload_bytes = batch.payload_bytes();
        // Held until the request is in the queue: `drain` waits for it, and then nothing more comes in.
        let queue = self.shared.queue.read().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = &*queue else {
            return Err(Failure::draining("the logger"));
        };
        let (answer, answered) = oneshot::channel();
        let span = spans::current_recorded().map(Box::new);
        let waiting = Waiting { answer, queued_at: Instant::now(), span, _permits: permits };
        let request = Request { batch, payload_bytes, waiting };
        queue.send(request).map_err(|_| Failure::unreachable("the store"))?;
        Ok(Queued(answered))
    }
}

/// Entries in the queue. They are stored, also when this is dropped.
#[derive(Debug)]
pub struct Queued(oneshot::Receiver<Result<BatchReceipt, Failure>>);

impl Queued {
    /// Waits until they are committed and synced.
    ///
    /// # Errors
    /// As [`Writer::write_batch`].
    pub async fn answered(self) -> Result<BatchReceipt, Failure> {
        // Only a panic of the thread drops a request without an answer; how far it came is not known.
        self.0.await.unwrap_or_else(|_| Err(Failure::unknown("the store")))
    }
}

impl Shared {
    fn permits(&self, batch: &Batch) -> Result<Permits, Failure> {
        // A question without entries counts as one: no more of them wait than entries may.
        let (entries, bytes) = (batch.arrivals.len().max(1), batch.payload_bytes());
        if bytes > IN_FLIGHT_BYTES {
            let message = format!("the batch has {bytes} bytes: the limit is {IN_FLIGHT_BYTES}");
            return Err(Failure::new(Code::TooLarge, message));
        }
        Ok([take(&self.entries, entries)?, take(&self.bytes, bytes)?])
    }

    /// Notes whether the next write has a chance, and why not.
    fn set_standing(&self, standing: Result<(), &Failure>) {
        if let Err(failure) = standing {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            *trouble = failure.to_string();
        }
        self.healthy.store(standing.is_ok(), Ordering::Relaxed);
    }

    /// Entries that were accepted and are not answered yet.
    fn queued_entries(&self) -> usize {
        IN_FLIGHT_ENTRIES - self.entries.available_permits()
    }
}

fn take(semaphore: &Arc<Semaphore>, permits: usize) -> Result<OwnedSemaphorePermit, Failure> {
    let overloaded = || Failure::overloaded("the logger");
    let permits = u32::try_from(permits).map_err(|_| overloaded())?;
    Arc::clone(semaphore).try_acquire_many_owned(permits).map_err(|error| match error {
        // Nobody closes these; a closed one would let nothing in either.
        TryAcquireError::NoPermits | TryAcquireError::Closed => overloaded(),
    })
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("queued_entries", &self.queued_entries()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
