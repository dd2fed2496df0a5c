//! `WriteLogs`: many entries in one call, which is answered once. Nothing is kept of what was sent: the answer counts,
//! and to find a line by its position the lines are read again.

use std::{io, pin::pin};

use proto::{Certainty, Failure, LogEntry, Outcome};
use tokio::sync::mpsc;
use transport::grpc::{Loaded, Streams};

use super::received;
use crate::load::{
    Broken, Job,
    lines::{Line, Place},
};

/// Entries that are handed over and not taken yet; each may have 256 KiB.
const HANDED_OVER: usize = 16;

/// Most entries of the call after one that was lost: what is lost is sent again, so that a logger that stops often lets
/// the load get on all the same.
const AFTER_LOSS: u64 = 10_000;

pub(in crate::load) struct WriteLogs {
    streams: Streams,
    entries_per_call: u64,
    lost: bool,
}

/// What a call was given.
struct Fed {
    entries: u64,
    /// Behind the last line that it was given.
    end: Place,
}

impl WriteLogs {
    /// A way with so many entries per call; 0: all in one.
    pub(in crate::load) fn new(streams: Streams, entries_per_call: u64) -> Self {
        let entries_per_call = if entries_per_call == 0 { u64::MAX } else { entries_per_call };
        WriteLogs { streams, entries_per_call, lost: false }
    }

    /// Makes one call.
    pub(in crate::load) async fn send(&mut self, job: &mut Job) -> Result<(), Broken> {
        let most = if self.lost { self.entries_per_call.min(AFTER_LOSS) } else { self.entries_per_call };
        let Some(first) = first_entry(job).await? else { return Ok(()) };
        let begin = job.ledger.reached();
        let mut fed = Fed { entries: 0, end: begin };
        let (sender, receiver) = mpsc::channel(HANDED_OVER);
        let answer = {
            let mut call = pin!(self.streams.write_logs(received(receiver)));
            tokio::select! {
                answer = &mut call => answer,
                given = feed(job, first, sender, most, &mut fed) => {
                    given?;
                    call.await
                }
            }
        };
        self.lost = answer.is_err();
        let loaded = answer.map_err(|failure| {
            let unsure = failure.certainty() == Certainty::Unknown;
            Broken::Remote(failure, unsure)
        })?;
        take(job, begin, &fed, loaded).await
    }
}

/// The next line that is an entry. Those before it are refused, and settled: no call is needed for them.
async fn first_entry(job: &mut Job) -> io::Result<Option<Line>> {
    while let Some(line) = job.next().await? {
        match line.entry {
            Ok(_) => return Ok(Some(line)),
            Err(ref failure) => job.ledger.refuse_once(&line, failure)?,
        }
        job.reach(line.end);
    }
    Ok(None)
}

/// Gives a call what there is, from `first` on; ends early if the call does.
async fn feed(
    job: &mut Job,
    first: Line,
    sender: mpsc::Sender<LogEntry>,
    most: u64,
    fed: &mut Fed,
) -> io::Result<()> {
    let mut next = Some(first);
    while let Some(line) = next {
        match line.entry {
            Ok(entry) => {
                // The call is over, and says why.
                let Ok(()) = sender.send(entry).await else { break };
                fed.entries += 1;
            }
            Err(ref failure) => job.ledger.refuse_once(&line, failure)?,
        }
        fed.end = line.end;
        next = if fed.entries < most { job.next().await? } else { None };
    }
    Ok(())
}

/// Takes the answer of a call into the books.
async fn take(job: &mut Job, begin: Place, fed: &Fed, loaded: Loaded) -> Result<(), Broken> {
    let Loaded { settled, stored, duplicate, refused, refusals, stopped } = loaded;
    let all = settled == fed.entries;
    let reached = if all && refused == 0 { fed.end } else { find(job, begin, settled, &refusals).await? };
    job.ledger.add(Outcome::Stored, stored);
    job.ledger.add(Outcome::Duplicate, duplicate);
    job.ledger.refuse_unnamed(refused.saturating_sub(refusals.len() as u64));
    if !all {
        // What was read after it may be stored.
        job.unsure_until = job.unsure_until.max(fed.end.line);
    }
    job.lines.go_back(if all { fed.end } else { reached }).await?;
    job.reach(job.lines.place());
    match stopped {
        Some(failure) if !all || fed.entries == 0 => Err(Broken::Remote(failure, !all)),
        None if !all => Err(Broken::Remote(Failure::unknown("the logger"), true)),
        Some(_) | None => Ok(()),
    }
}

/// Reads the lines of a call again, up to those that are not settled, and says which of them are refused.
async fn find(
    job: &mut Job,
    begin: Place,
    settled: u64,
    refusals: &[(u64, Failure)],
) -> Result<Place, Broken> {
    job.lines.go_back(begin).await?;
    let mut refusals = refusals.iter().peekable();
    let mut position = 0;
    while position < settled
        && let Some(line) = job.lines.next().await?
    {
        if line.entry.is_err() {
            continue;
        }
        if let Some((_, failure)) = refusals.next_if(|(refused, _)| *refused == position) {
            job.ledger.refuse(line.number, line.text.as_deref(), failure)?;
        }
        position += 1;
    }
    Ok(job.lines.place())
}
