//! `SyncLogs`: one call in which each entry is acknowledged. Those that are not yet wait in memory.

use std::{collections::VecDeque, io, pin::pin};

use futures_util::StreamExt;
use proto::{Certainty, Failure, LogEntry};
use tokio::sync::mpsc;
use transport::grpc::{Acknowledged, Streams};

use super::{Waiting, received, settle};
use crate::load::{Broken, Job};

/// Most lines that are sent and not acknowledged: more than the logger reads at a time, so that it never waits.
const IN_FLIGHT_LINES: usize = 2_048;

/// Most bytes of those.
const IN_FLIGHT_BYTES: usize = 8 * 1024 * 1024;

/// Entries that are handed over and not taken yet; each may have 256 KiB.
const HANDED_OVER: usize = 16;

pub(in crate::load) struct SyncLogs {
    streams: Streams,
}

/// What is sent and not settled.
#[derive(Default)]
struct Window {
    lines: VecDeque<Waiting>,
    bytes: usize,
    /// So many entries were sent.
    sent: u64,
}

impl SyncLogs {
    pub(in crate::load) fn new(streams: Streams) -> Self {
        SyncLogs { streams }
    }

    /// Makes one call.
    pub(in crate::load) async fn send(&mut self, job: &mut Job) -> Result<(), Broken> {
        let (sender, receiver) = mpsc::channel(HANDED_OVER);
        // No entry is sent before it begins; only one who does not answer in time leaves it open.
        let answers = self.streams.sync_logs(received(receiver)).await;
        let mut answers = pin!(answers.map_err(|failure| {
            let unsure = failure.certainty() == Certainty::Unknown;
            Broken::Remote(failure, unsure)
        })?);
        let mut window = Window::default();
        let mut sender = Some(sender);
        loop {
            let room = window.lines.len() < IN_FLIGHT_LINES && window.bytes < IN_FLIGHT_BYTES;
            tokio::select! {
                biased;
                answer = answers.next() => match answer {
                    Some(Ok(acknowledged)) => window.acknowledge(acknowledged)?,
                    Some(Err(failure)) => return Err(window.broken(failure)),
                    None if window.lines.is_empty() && sender.is_none() => return Ok(()),
                    None => return Err(window.broken(Failure::unknown("the logger"))),
                },
                more = give(job, sender.as_ref(), &mut window), if room && sender.is_some() => {
                    sender = sender.filter(|_| matches!(more, Ok(true)));
                    more?;
                }
            }
            window.settle(job)?;
        }
    }
}

/// Sends the next line; returns whether there may be more. Nothing is lost if it is dropped while it waits.
async fn give(
    job: &mut Job,
    sender: Option<&mpsc::Sender<LogEntry>>,
    window: &mut Window,
) -> io::Result<bool> {
    let Some(sender) = sender else { return Ok(false) };
    // The call is over, and says why.
    let Ok(place) = sender.reserve().await else { return Ok(false) };
    let Some(line) = job.next().await? else { return Ok(false) };
    let (waiting, entry) = Waiting::new(line, window.sent, &job.ledger);
    window.bytes += waiting.bytes;
    window.lines.push_back(waiting);
    if let Some(entry) = entry {
        window.sent += 1;
        place.send(entry);
    }
    Ok(true)
}

impl Window {
    fn acknowledge(&mut self, acknowledged: Acknowledged) -> Result<(), Broken> {
        let Acknowledged { position, result, .. } = acknowledged;
        let line = self.lines.iter_mut().find(|line| line.result.is_none() && line.position == position);
        let Some(line) = line else {
            let cause = "an acknowledgement for what was not sent";
            return Err(Broken::Remote(Failure::unknown("the logger").because(cause), true));
        };
        line.result = Some(result);
        Ok(())
    }

    fn settle(&mut self, job: &mut Job) -> Result<(), Broken> {
        let settled = settle(&mut self.lines, job);
        self.bytes -= settled.map_err(|error| error.with_others(!self.lines.is_empty()))?;
        Ok(())
    }

    fn broken(&self, failure: Failure) -> Broken {
        let unsure = failure.certainty() == Certainty::Unknown || !self.lines.is_empty();
        Broken::Remote(failure, unsure)
    }
}
