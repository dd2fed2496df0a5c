//! A group: what goes along in one call, and who waits for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use proto::{Batch, Failure, LogEntry, Outcome};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use crate::{Receipts, admission::Admitted};

/// Most bytes of `name` and `data` in a group: what leaves in a few milliseconds.
pub(super) const GROUP_BYTES: usize = 1024 * 1024;

/// An entry of more bytes goes alone: what a call costs is little beside it, and its neighbours need not wait for it.
pub(crate) const ALONE_BYTES: usize = 16 * 1024;

/// What became of a caller's entries, each with its own result.
pub(super) type Answer = Result<Receipts, Failure>;

/// The entries of one caller.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) parcel: Parcel,
    pub(super) caller: Waiting,
    /// Set by the first of two: the task that takes it along, or the caller, once it will not wait for that any longer.
    pub(super) settled: Arc<AtomicBool>,
    pub(super) until: Instant,
}

/// What one caller has handed over.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) entries: Batch<LogEntry>,
    /// Headers that say in which span it was handed over; empty if in none.
    pub(crate) trace: TraceHeaders,
}

/// Headers, as names and values.
pub(crate) type TraceHeaders = Vec<(String, String)>;

/// A caller that waits for an answer. What was admitted for its entries is given back with it, so what nobody waits for
/// any more counts for as long as it is held.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) reply: oneshot::Sender<Answer>,
    pub(super) entries: usize,
    pub(super) _room: Option<Admitted>,
}

/// What goes along in one call.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) parcels: Vec<Parcel>,
    pub(crate) callers: Callers,
    /// The latest deadline of its entries.
    pub(crate) until: Instant,
    /// Room for the call, where the callers have taken none.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    pub(super) entries: usize,
    bytes: usize,
    is_closed: bool,
}

/// Who waits for the answers of a group, in the order of its parcels.
#[derive(Debug, Default)]
pub(crate) struct Callers(Vec<Waiting>);

impl Job {
    fn bytes(&self) -> usize {
        self.parcel.entries.iter().map(LogEntry::payload_bytes).sum()
    }

    /// Whether it may have neighbours.
    fn goes_along(&self) -> bool {
        self.parcel.entries.as_one().is_some_and(|entry| entry.payload_bytes() <= ALONE_BYTES)
    }
}

impl Group {
    /// One without entries.
    pub(super) fn new(room: Option<OwnedSemaphorePermit>) -> Self {
        Group {
            parcels: Vec::new(),
            callers: Callers::default(),
            until: Instant::now(),
            room,
            entries: 0,
            bytes: 0,
            is_closed: false,
        }
    }

    pub(super) fn has_room_for(&self, job: &Job, most_entries: usize) -> bool {
        let fits = self.entries < most_entries && self.bytes + job.bytes() <= GROUP_BYTES;
        self.entries == 0 || (!self.is_closed && job.goes_along() && fits)
    }

    /// Takes the entries along, if anybody still waits for them.
    pub(super) fn add(&mut self, job: Job) {
        if job.caller.reply.is_closed() || !settle(&job.settled) {
            return;
        }
        self.entries += job.parcel.entries.len();
        self.bytes += job.bytes();
        self.is_closed = !job.goes_along();
        self.until = self.until.max(job.until);
        self.parcels.push(job.parcel);
        self.callers.0.push(job.caller);
    }
}

impl Callers {
    /// Gives each caller the results of its own entries: they come in the order of the parcels.
    pub(crate) fn answer(
        self,
        results: impl IntoIterator<Item = Result<Outcome, Failure>>,
        store_us: Option<u64>,
        peer: &str,
    ) {
        let mut results = results.into_iter();
        let mut next = || {
            let lost = || Err(Failure::unknown(peer).because("too few results"));
            results.next().unwrap_or_else(lost)
        };
        for Waiting { reply, entries, _room } in self.0 {
            let results = match entries {
                1 => Ok(Batch::from(next())),
                _ => Batch::try_from((0..entries).map(|_| next()).collect::<Vec<_>>()),
            };
            // A caller that has given up needs no answer.
            let _ = reply.send(results.map(|results| Receipts { results, store_us }));
        }
    }

    /// Lets all hear the same.
    pub(crate) fn fail(self, why: &Failure) {
        for caller in self.0 {
            let _ = caller.reply.send(Err(why.clone()));
        }
    }
}

/// Whether this is the first to do so.
pub(super) fn settle(settled: &AtomicBool) -> bool {
    !settled.swap(true, Ordering::AcqRel)
}
