//! Sends a batch to the logger, for as long as it takes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use proto::{Batch, BatchMode, Certainty, Code, Direct, Failure, LogEntry, Outcome};
use tokio::sync::Notify;
use transport::{Transports, Waits};

use crate::reach::Reach;

/// The first wait after a failed attempt, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Something of an entry, and the position of its delivery in the batch.
pub(crate) type Positioned<T> = (usize, T);

/// What the logger said of a batch: of the whole, or of each entry.
type Answer = Result<Vec<Result<Outcome, Failure>>, Failure>;

/// Hands batches to the logger over the direct transport of its setting.
#[derive(Debug)]
pub struct HandOver {
    transports: Arc<Transports>,
    transport: Direct,
    /// How much has lately got through in time.
    reach: Mutex<Reach>,
    /// Told when the logger stores nothing: what waits for that shall not grow.
    trouble: Notify,
}

impl HandOver {
    pub(crate) fn new(transports: Arc<Transports>, transport: Direct) -> Self {
        HandOver { transports, transport, reach: Mutex::new(Reach::new()), trouble: Notify::new() }
    }

    /// Waits until the logger could store an entry.
    pub(crate) async fn logger_stores(&self) {
        let mut waits = waits();
        while self.transports.ping(self.transport).await.is_err() {
            tokio::time::sleep(waits.next_wait()).await;
        }
    }

    /// Asks the logger each time after `interval`, and returns once it says that it could not store an entry.
    pub(crate) async fn logger_fails(&self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            match self.transports.ping(self.transport).await {
                Err(failure) if is_trouble(&failure) => return,
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Returns once an attempt of [`HandOver::store`] has shown that the logger stores nothing just now.
    pub(crate) async fn trouble(&self) {
        self.trouble.notified().await;
    }

    /// Stores the entries, however long the logger is down; the ids make every further attempt safe.
    /// Returns those that can never be stored.
    pub(crate) async fn store(&self, mut entries: Vec<Positioned<LogEntry>>) -> Vec<Positioned<Failure>> {
        let mut dead = Vec::new();
        let mut waits = waits();
        let mut most = entries.len();
        while !entries.is_empty() {
            let next = entries.iter().take(most).map(|(_, entry)| entry);
            let (batch_len, bytes) = self.reach(|reach| reach.of(next));
            let batch: Vec<LogEntry> = entries[..batch_len].iter().map(|(_, entry)| entry.clone()).collect();
            let begun = Instant::now();
            let answer = self.attempt(batch).await;
            self.learn(&answer, bytes, begun.elapsed());
            let results = match answer {
                Ok(results) => results,
                // A refusal of the whole says nothing of each: it is found out in smaller batches.
                Err(failure) if batch_len > 1 && failure.certainty() == Certainty::Rejected => {
                    most = batch_len / 2;
                    continue;
                }
                Err(failure) => vec![Err(failure); batch_len],
            };
            let left = entries.split_off(batch_len);
            let mut waiting = Vec::new();
            for ((position, entry), result) in entries.into_iter().zip(results) {
                match result {
                    Ok(_) => {}
                    Err(failure) if failure.code.is_about_the_entry() => dead.push((position, failure)),
                    Err(failure) => {
                        if is_trouble(&failure) {
                            self.trouble.notify_one();
                        }
                        waiting.push((position, entry));
                    }
                }
            }
            let none_settled = waiting.len() == batch_len;
            entries = waiting;
            entries.extend(left);
            if none_settled {
                tokio::time::sleep(waits.next_wait()).await;
            }
        }
        dead
    }

    /// What is unknown may have been too much for the deadline, and less of it may not be; the ids make that safe.
    fn learn(&self, answer: &Answer, bytes: usize, took: Duration) {
        let is_unknown = |failure: &Failure| failure.certainty() == Certainty::Unknown;
        let results = answer.as_deref().unwrap_or_default();
        if answer.as_ref().is_err_and(is_unknown)
            || results.iter().any(|result| result.as_ref().is_err_and(is_unknown))
        {
            self.reach(|reach| reach.unknown(bytes));
        } else if answer.is_ok() {
            self.reach(|reach| reach.stored(bytes, took));
        }
    }

    fn reach<T>(&self, with: impl FnOnce(&mut Reach) -> T) -> T {
        with(&mut self.reach.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn attempt(&self, entries: Vec<LogEntry>) -> Answer {
        let batch = Batch::try_from(entries)?;
        let delivered = self.transports.write(self.transport.into(), batch, BatchMode::Each).await?;
        Ok(delivered.results.into_vec())
    }
}

/// Whether it may last: a logger that has much to do stores anyway.
fn is_trouble(failure: &Failure) -> bool {
    failure.code != Code::Overloaded
}

fn waits() -> Waits {
    Waits::new(FIRST_WAIT, LONGEST_WAIT)
}
