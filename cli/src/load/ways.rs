//! The ways by which a load goes. Each takes lines until there are no more for now, and brings what it has sent to its
//! end; or it breaks.

mod batches;
mod sync_logs;
mod write_logs;

use std::{collections::VecDeque, io};

use futures_util::{Stream, stream};
use proto::{Certainty, Failure, LogEntry, Outcome, Transport};
use tokio::sync::mpsc;
use transport::{Transports, grpc::Streams};

use self::{batches::Batches, sync_logs::SyncLogs, write_logs::WriteLogs};
use super::{
    Broken, Job,
    ledger::Ledger,
    lines::{Line, Place},
};
use crate::{
    config::{Load, Over, Stack, place},
    problem::Problem,
};

/// One of the ways.
pub(super) enum Way {
    WriteLogs(WriteLogs),
    SyncLogs(SyncLogs),
    Batches(Box<Batches>),
}

impl Way {
    /// The way that was asked for.
    pub(super) fn new(arguments: &Load, stack: &Stack) -> Result<Self, Problem> {
        let streams = || stack.settings(None).map(|settings| Streams::new(&settings));
        match arguments.over {
            // Its summary does not name all that are refused.
            Over::WriteLogs if arguments.rejects.is_some() => Ok(Way::SyncLogs(SyncLogs::new(streams()?))),
            Over::WriteLogs => Ok(Way::WriteLogs(WriteLogs::new(streams()?, arguments.entries_per_call))),
            Over::SyncLogs => Ok(Way::SyncLogs(SyncLogs::new(streams()?))),
            Over::Batches(transport) => {
                let transports = Transports::new(&stack.settings(Some(transport))?);
                Ok(Way::Batches(Box::new(Batches::new(transports, transport, stack.deadline()))))
            }
        }
    }

    /// Sends what there is.
    pub(super) async fn send(&mut self, job: &mut Job) -> Result<(), Broken> {
        match self {
            Way::WriteLogs(way) => way.send(job).await,
            Way::SyncLogs(way) => way.send(job).await,
            Way::Batches(way) => way.send(job).await,
        }
    }

    /// The setting that says where the other end is.
    pub(super) fn place(&self) -> &'static str {
        match self {
            Way::WriteLogs(_) | Way::SyncLogs(_) => place(Transport::Grpc),
            Way::Batches(way) => place(way.transport()),
        }
    }
}

/// A line that is not settled.
struct Waiting {
    number: u64,
    /// Of its entry, among those of the call.
    position: u64,
    /// As it was, if it is wanted should it be refused.
    text: Option<Vec<u8>>,
    end: Place,
    bytes: usize,
    result: Option<Result<Outcome, Failure>>,
}

impl Waiting {
    /// A line, and the entry that is to be sent; a line that is none waits for its turn to be told.
    fn new(line: Line, position: u64, ledger: &Ledger) -> (Self, Option<LogEntry>) {
        let Line { number, text, entry, end } = line;
        let text = text.filter(|_| ledger.wants_text());
        let (entry, result) = match entry {
            Ok(entry) => (Some(entry), None),
            Err(failure) => (None, Some(Err(failure))),
        };
        let payload_bytes = entry.as_ref().map_or(0, LogEntry::payload_bytes);
        let bytes = payload_bytes + text.as_ref().map_or(0, Vec::len);
        (Waiting { number, position, text, end, bytes, result }, entry)
    }
}

/// What is handed over to a streaming call.
fn received(mut receiver: mpsc::Receiver<LogEntry>) -> impl Stream<Item = LogEntry> + Send + 'static {
    stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// Settles the lines from the first on, as far as it is known what became of them. Returns how many bytes they had.
///
/// # Errors
/// At the first that is not stored and would be another time.
fn settle(waiting: &mut VecDeque<Waiting>, job: &mut Job) -> Result<usize, SettleError> {
    let mut settled_bytes = 0;
    while let Some(result) = waiting.front_mut().and_then(|first| first.result.take()) {
        let Some(Waiting { number, text, end, bytes, .. }) = waiting.pop_front() else { break };
        match result {
            Ok(outcome) => job.ledger.accept(outcome),
            Err(failure) if failure.certainty() == Certainty::Rejected => {
                job.ledger.refuse(number, text.as_deref(), &failure)?;
            }
            Err(failure) => return Err(SettleError::NotYet(failure)),
        }
        settled_bytes += bytes;
        job.reach(end);
    }
    Ok(settled_bytes)
}

enum SettleError {
    Local(io::Error),
    NotYet(Failure),
}

impl From<io::Error> for SettleError {
    fn from(error: io::Error) -> Self {
        SettleError::Local(error)
    }
}

impl SettleError {
    /// Whether other entries are under way, of which it is not known what will become.
    fn with_others(self, others: bool) -> Broken {
        match self {
            SettleError::Local(error) => Broken::Local(error),
            SettleError::NotYet(failure) => {
                let unsure = others || failure.certainty() == Certainty::Unknown;
                Broken::Remote(failure, unsure)
            }
        }
    }
}
