//! Batches over one of the four transports, a few at a time.

use std::{collections::VecDeque, io, time::Duration};

use futures_util::{StreamExt, stream::FuturesOrdered};
use proto::{Batch, BatchMode, Certainty, Failure, LogEntry, Outcome, Transport, limits::BATCH_ENTRIES};
use transport::Transports;

use super::{Waiting, settle};
use crate::{
    load::{Broken, Job},
    send::connected,
};

/// Most bytes of a batch, unless one entry has more. In JSON they may become six times as many.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Most batches that are sent and not answered.
const IN_FLIGHT: usize = 3;

pub(in crate::load) struct Batches {
    transports: Transports,
    transport: Transport,
    deadline: Duration,
}

/// What became of entries, in their order.
type Results = Vec<Result<Outcome, Failure>>;

/// Lines that go together.
#[derive(Default)]
struct Gathered {
    lines: VecDeque<Waiting>,
    entries: Vec<LogEntry>,
    bytes: usize,
}

impl Batches {
    /// A way over `transport`, which takes no longer than `deadline` to connect.
    pub(in crate::load) fn new(transports: Transports, transport: Transport, deadline: Duration) -> Self {
        Batches { transports, transport, deadline }
    }

    pub(in crate::load) fn transport(&self) -> Transport {
        self.transport
    }

    /// Sends batches until there is nothing to send for now.
    pub(in crate::load) async fn send(&mut self, job: &mut Job) -> Result<(), Broken> {
        connected(&self.transports, self.transport, self.deadline).await;
        let mut calls = FuturesOrdered::new();
        let mut next = Gathered::default();
        let mut more = true;
        loop {
            tokio::select! {
                biased;
                Some((lines, results)) = calls.next() => take(job, lines, results, !calls.is_empty())?,
                gathered = next.gather(job), if more && calls.len() < IN_FLIGHT => {
                    more = gathered?;
                    calls.push_back(self.deliver(std::mem::take(&mut next)));
                }
                else => return Ok(()),
            }
        }
    }

    async fn deliver(&self, gathered: Gathered) -> (VecDeque<Waiting>, Result<Results, Failure>) {
        let Gathered { lines, entries, .. } = gathered;
        // Of lines that are no entries nothing is sent.
        if entries.is_empty() {
            return (lines, Ok(Vec::new()));
        }
        let delivered = async {
            let batch = Batch::try_from(entries)?;
            self.transports.write(self.transport, batch, BatchMode::Each).await
        };
        (lines, delivered.await.map(|delivered| delivered.results.into_vec()))
    }
}

impl Gathered {
    /// Takes lines until it is full, or there are no more for now; returns whether there may be. Nothing is lost if it is
    /// dropped while it waits.
    async fn gather(&mut self, job: &mut Job) -> io::Result<bool> {
        while self.lines.len() < BATCH_ENTRIES && self.bytes < BATCH_BYTES {
            let Some(line) = job.next().await? else { return Ok(false) };
            let (waiting, entry) = Waiting::new(line, self.entries.len() as u64, &job.ledger);
            self.bytes += waiting.bytes;
            self.lines.push_back(waiting);
            self.entries.extend(entry);
        }
        Ok(true)
    }
}

/// Takes the answer to a batch into the books.
fn take(
    job: &mut Job,
    mut lines: VecDeque<Waiting>,
    results: Result<Results, Failure>,
    others: bool,
) -> Result<(), Broken> {
    let results = results.map_err(|failure| {
        let unsure = others || failure.certainty() == Certainty::Unknown;
        Broken::Remote(failure, unsure)
    })?;
    let mut results = results.into_iter();
    for line in lines.iter_mut().filter(|line| line.result.is_none()) {
        line.result = Some(results.next().unwrap_or_else(|| Err(Failure::unknown("the server"))));
    }
    settle(&mut lines, job).map(drop).map_err(|error| error.with_others(others || !lines.is_empty()))
}
