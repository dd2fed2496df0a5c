//! The one way in, whichever server an entry came to: check it, hand it to the writer, say what became of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use proto::{
    BatchMode, BatchReceipt, EntryDraft, Failure, Receipt, Transport, json::check_batch_len,
    limits::BATCH_ENTRIES,
};
use service::Shutdown;
use uuid::Uuid;

use crate::{metrics::Requests, store::Arrival, writer::Writer};

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
        Intake { writer, shutdown, requests: Arc::new(Requests::new()) }
    }

    /// Stores one entry that came to the server of `seen`. Answers its id, and what became of it.
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
                let write = async |sound| self.writer.write_batch(sound, BatchMode::Each).await;
                write_sound(arrivals.collect(), write).await
            }
        }
    }

    /// Makes of what came to the server of `seen` what may be stored: the one place where the logger does it.
    ///
    /// # Errors
    /// Why it can never be stored.
    pub fn check(draft: EntryDraft, seen: Transport) -> Result<Arrival, Failure> {
        let came_by = draft.came_by(seen)?;
        Ok(Arrival { entry: draft.check(Timestamp::now())?, came_by })
    }

    /// Stores some entries of a stream, each for itself, and waits up to `patience` for room. Answers a result for each.
    ///
    /// # Errors
    /// What is certain of all of them.
    pub async fn write_some(
        &self,
        arrivals: Vec<Result<Arrival, Failure>>,
        patience: Duration,
    ) -> Result<BatchReceipt, Failure> {
        self.check_open()?;
        write_sound(arrivals, async |sound| self.writer.write_patiently(sound, patience).await).await
    }

    fn check_open(&self) -> Result<(), Failure> {
        if self.shutdown.has_begun() { Err(Failure::draining("the logger")) } else { Ok(()) }
    }
}

/// Writes those entries that can be stored, and puts the results of all into their order.
async fn write_sound(
    arrivals: Vec<Result<Arrival, Failure>>,
    write: impl AsyncFnOnce(Vec<Arrival>) -> Result<BatchReceipt, Failure>,
) -> Result<BatchReceipt, Failure> {
    let mut sound = Vec::with_capacity(arrivals.len().min(BATCH_ENTRIES));
    let mut results = Vec::with_capacity(sound.capacity());
    for arrival in arrivals {
        results.push(arrival.map(|arrival| sound.push(arrival)));
    }
    if sound.is_empty() {
        let results = results.into_iter().filter_map(Result::err).map(Err).collect();
        return Ok(BatchReceipt { results, store_us: Some(0) });
    }
    let receipt = write(sound).await?;
    let mut written = receipt.results.into_iter();
    let lost = || Err(Failure::unknown("the store").because("the writer gave too few results"));
    let results =
        results.into_iter().map(|result| result.and_then(|()| written.next().unwrap_or_else(lost))).collect();
    Ok(BatchReceipt { results, store_us: receipt.store_us })
}
