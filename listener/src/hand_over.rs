//! Brings a batch to the logger, and waits as long as it must.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use proto::{BatchMode, Certainty, Code, Failure, LogEntry, Outcome, Transport};
use transport::Transports;

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

    /// Waits until the logger answers.
    pub(crate) async fn logger_answers(&self) {
        let mut waits = waits();
        // An empty batch asks for nothing, and every logger refuses it by name: so one that does is there.
        while self.attempt(&[]).await.err().map(|failure| failure.code) != Some(Code::BadBatch) {
            tokio::time::sleep(waits.next().unwrap_or(LONGEST_WAIT)).await;
        }
    }

    /// Stores the entries, however long the logger is down; the ids make every further attempt safe.
    /// Returns those that can never be stored.
    pub(crate) async fn store(&self, mut entries: Vec<Positioned<LogEntry>>) -> Vec<Positioned<Failure>> {
        let mut dead = Vec::new();
        let mut waits = waits();
        while !entries.is_empty() {
            let batch: Vec<LogEntry> = entries.iter().map(|(_, entry)| entry.clone()).collect();
            let results = match self.attempt(&batch).await {
                Ok(results) => results,
                Err(failure) => vec![Err(failure); batch.len()],
            };
            let settled = results.iter().filter(|result| is_settled(result)).count();
            for ((position, _), result) in entries.iter().zip(&results) {
                if let Err(failure) = result
                    && is_settled(result)
                {
                    dead.push((*position, failure.clone()));
                }
            }
            let mut left = results.iter().map(|result| !is_settled(result));
            entries.retain(|_| left.next().unwrap_or(true));
            if settled == 0 {
                tokio::time::sleep(waits.next().unwrap_or(LONGEST_WAIT)).await;
            }
        }
        dead
    }

    async fn attempt(&self, entries: &[LogEntry]) -> Result<Vec<Result<Outcome, Failure>>, Failure> {
        let receipt = self.transports.write_batch(self.transport, entries, BatchMode::Each).await?;
        Ok(receipt.results)
    }
}

/// Whether an entry needs no further attempt: it is stored, or can never be.
fn is_settled(result: &Result<Outcome, Failure>) -> bool {
    match result {
        Ok(_) => true,
        Err(failure) => failure.certainty() == Certainty::Rejected,
    }
}

fn waits() -> backon::ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_jitter()
        .without_max_times()
        .build()
}
