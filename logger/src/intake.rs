//! The one entry point for all servers: validates an entry, hands it to the writer, and returns its outcome.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use proto::{
    BatchMode, BatchReceipt, EntryDraft, Failure, Receipt, Transport, check_batch_len, limits::BATCH_ENTRIES,
};
use service::Shutdown;
use uuid::Uuid;

use crate::{
    metrics::Requests,
    store::Arrival,
    writer::{Queued, Writer},
};

/// Takes drafts from the three servers. Clones share one writer.
#[derive(Debug, Clone)]
pub struct Intake {
    writer: Writer,
    shutdown: Shutdown,
    requests: Arc<Requests>,
}

/// An entry of a batch that one of the servers could not even read is a result of its own.
pub type DraftResult = Result<EntryDraft, Failure>;

impl Intake {
    /// Puts an intake before `writer`; from `shutdown` on it refuses.
    pub fn new(writer: Writer, shutdown: Shutdown) -> Self {
        Intake { writer, shutdown, requests: Arc::new(Requests::new(None)) }
    }

    /// The same, behind a door that is not the one of its transport: what comes by it is measured apart.
    pub fn behind(self, door: &'static str) -> Self {
        Intake { requests: Arc::new(Requests::new(Some(door))), ..self }
    }

    /// Stores one entry that came to the server of `seen`. Returns its id and its outcome.
    ///
    /// # Errors
    /// What is certain of the entry.
    pub async fn write(&self, draft: EntryDraft, seen: Transport) -> Result<(Uuid, Receipt), Failure> {
        let begun = Instant::now();
        let result = self.check_and_write(draft, seen).await;
        self.requests.took(seen, begun.elapsed());
        result
    }

    /// Stores a batch that came to the server of `seen`.
    ///
    /// # Errors
    /// What is certain of all its entries; with [`BatchMode::AllOrNone`] the first entry that is out of its
    /// limits is named by its position.
    pub async fn write_batch(
        &self,
        drafts: Vec<DraftResult>,
        mode: BatchMode,
        seen: Transport,
    ) -> Result<BatchReceipt, Failure> {
        let begun = Instant::now();
        let result = self.check_and_write_batch(drafts, mode, seen).await;
        self.requests.took(seen, begun.elapsed());
        result
    }

    async fn check_and_write(&self, draft: EntryDraft, seen: Transport) -> Result<(Uuid, Receipt), Failure> {
        self.check_open()?;
        let arrival = Intake::check(draft, seen)?;
        let id = arrival.entry.id();
        Ok((id, self.writer.write(arrival).await?))
    }

    async fn check_and_write_batch(
        &self,
        drafts: Vec<DraftResult>,
        mode: BatchMode,
        seen: Transport,
    ) -> Result<BatchReceipt, Failure> {
        self.check_open()?;
        if drafts.is_empty() {
            // What the listener asks before it takes deliveries: "could you store an entry now?" Yes is the refusal of an
            // empty batch, as every earlier logger has it; no is what an entry would be refused with.
            self.writer.ping().await?;
        }
        check_batch_len(drafts.len())?;
        let arrivals = drafts.into_iter().map(|draft| Intake::check(draft?, seen));
        match mode {
            BatchMode::AllOrNone => {
                let sound =
                    arrivals.enumerate().map(|(at, arrival)| arrival.map_err(|failure| failure.at(at)));
                let sound = sound.collect::<Result<Vec<_>, _>>()?;
                self.writer.write_batch(sound, mode).await
            }
            BatchMode::Each => {
                let (sound, checked) = sort(arrivals);
                let written = if sound.is_empty() {
                    None
                } else {
                    Some(self.writer.write_batch(sound, BatchMode::Each).await?)
                };
                Ok(merge(checked, written))
            }
        }
    }

    /// Validates what came to the server of `seen`: the only place where the logger does it.
    ///
    /// # Errors
    /// Why it can never be stored.
    pub fn check(draft: EntryDraft, seen: Transport) -> Result<Arrival, Failure> {
        let came_by = draft.came_by(seen)?;
        Ok(Arrival { entry: draft.check(Timestamp::now())?, came_by })
    }

    /// Puts some entries of a stream into the writer's queue, each for itself, and waits up to `patience` for room. What is
    /// queued after this has returned is stored after them.
    ///
    /// # Errors
    /// What is certain of all of them.
    pub async fn queue_some(
        &self,
        arrivals: Vec<Result<Arrival, Failure>>,
        patience: Duration,
    ) -> Result<QueuedSome, Failure> {
        self.check_open()?;
        let (sound, checked) = sort(arrivals.into_iter());
        let queued =
            if sound.is_empty() { None } else { Some(self.writer.queue_patiently(sound, patience).await?) };
        Ok(QueuedSome { checked, queued })
    }

    fn check_open(&self) -> Result<(), Failure> {
        if self.shutdown.has_begun() { Err(Failure::draining("the logger")) } else { Ok(()) }
    }
}

/// Some entries of a stream, of which those that can be stored are in the queue.
#[derive(Debug)]
pub struct QueuedSome {
    checked: Vec<Checked>,
    queued: Option<Queued>,
}

impl QueuedSome {
    /// Waits until they are committed and synced. Answers a result for each.
    ///
    /// # Errors
    /// What is certain of all of them.
    pub async fn answered(self) -> Result<BatchReceipt, Failure> {
        let written = match self.queued {
            Some(queued) => Some(queued.answered().await?),
            None => None,
        };
        Ok(merge(self.checked, written))
    }
}

/// Whether an entry can be stored.
type Checked = Result<(), Failure>;

/// Takes out the entries that can be stored.
fn sort(arrivals: impl Iterator<Item = Result<Arrival, Failure>>) -> (Vec<Arrival>, Vec<Checked>) {
    let most = arrivals.size_hint().0.min(BATCH_ENTRIES);
    let (mut sound, mut checked) = (Vec::with_capacity(most), Vec::with_capacity(most));
    for arrival in arrivals {
        checked.push(arrival.map(|arrival| sound.push(arrival)));
    }
    (sound, checked)
}

/// Puts the results of all into their order again. `written` is of those that could be stored, if there were any.
fn merge(checked: Vec<Checked>, written: Option<BatchReceipt>) -> BatchReceipt {
    let BatchReceipt { results, store_us } =
        written.unwrap_or(BatchReceipt { results: Vec::new(), store_us: Some(0) });
    let mut written = results.into_iter();
    let lost = || Err(Failure::unknown("the store").because("the writer gave too few results"));
    let result = |checked: Checked| checked.and_then(|()| written.next().unwrap_or_else(lost));
    BatchReceipt { results: checked.into_iter().map(result).collect(), store_us }
}
