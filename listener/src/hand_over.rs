//! Sends a batch to the logger, for as long as it takes.

use std::{sync::Arc, time::Duration};

use proto::{Batch, BatchMode, Certainty, Code, Direct, Failure, LogEntry, Outcome};
use tokio::sync::Notify;
use transport::{Transports, Waits};

/// The first wait after a failed attempt, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Something of an entry, and the position of its delivery in the batch.
pub(crate) type Positioned<T> = (usize, T);

/// Hands batches to the logger over the direct transport of its setting.
#[derive(Debug)]
pub struct HandOver {
    transports: Arc<Transports>,
    transport: Direct,
    /// Told when the logger stores nothing: what waits for that shall not grow.
    trouble: Notify,
}

impl HandOver {
    pub(crate) fn new(transports: Arc<Transports>, transport: Direct) -> Self {
        HandOver { transports, transport, trouble: Notify::new() }
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
        let mut batch_len = entries.len();
        while !entries.is_empty() {
            batch_len = batch_len.clamp(1, entries.len());
            let batch: Vec<LogEntry> = entries[..batch_len].iter().map(|(_, entry)| entry.clone()).collect();
            let results = match self.attempt(batch).await {
                Ok(results) => results,
                // A refusal of the whole says nothing of each: it is found out in smaller batches.
                Err(failure) if batch_len > 1 && failure.certainty() == Certainty::Rejected => {
                    batch_len /= 2;
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

    async fn attempt(&self, entries: Vec<LogEntry>) -> Result<Vec<Result<Outcome, Failure>>, Failure> {
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
