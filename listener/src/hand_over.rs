//! Brings a batch to the logger, and waits as long as it must.

use std::{sync::Arc, time::Duration};

use proto::{BatchMode, Certainty, Failure, LogEntry, Outcome, Transport};
use transport::{Transports, Waits};

use crate::consume::Positioned;

/// The first wait after a failed attempt, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Hands batches to the logger over the direct transport of its setting.
#[derive(Debug)]
pub struct HandOver {
    transports: Arc<Transports>,
    transport: Transport,
}

impl HandOver {
    pub(crate) fn new(transports: Arc<Transports>, transport: Transport) -> Self {
        HandOver { transports, transport }
    }

    /// Waits until the logger could store an entry.
    pub(crate) async fn logger_answers(&self) {
        let mut waits = waits();
        while self.transports.ping(self.transport).await.is_err() {
            tokio::time::sleep(waits.next_wait()).await;
        }
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
            let results = match self.attempt(&batch).await {
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
                    Err(_) => waiting.push((position, entry)),
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

    async fn attempt(&self, entries: &[LogEntry]) -> Result<Vec<Result<Outcome, Failure>>, Failure> {
        let delivered = self.transports.write_batch(self.transport, entries, BatchMode::Each).await?;
        Ok(delivered.receipt.results)
    }
}

fn waits() -> Waits {
    Waits::new(FIRST_WAIT, LONGEST_WAIT)
}
