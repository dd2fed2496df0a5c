//! `fourwire load`: a file of entries, one per line.
//!
//! [`lines`] reads it, and can go back to a line; one of the [`ways`] sends what was read, and tells the [`ledger`]
//! which lines are settled; when a way breaks, the load waits and goes on from the first line that is not.

mod hint;
mod ledger;
mod lines;
mod patience;
mod progress;
#[cfg(test)]
mod tests;
mod ways;

use std::{io, sync::Arc, time::Instant};

use anyhow::Context;
use indicatif::HumanCount;
use proto::{Certainty, Failure};
use serde::Serialize;

use self::{
    ledger::{Counts, Ledger},
    lines::{Line, Lines},
    patience::Patience,
    ways::Way,
};
use crate::{
    Ending,
    again::again,
    config::{Load, Stack},
    interrupt::Interrupt,
    problem::{Problem, describe},
    text::{counted, escape, json_line, put_or_tell},
};

/// How long a way waits for the next line before it brings what it has to an end.
const IDLE: std::time::Duration = std::time::Duration::from_secs(1);

/// Loads a file, and prints what became of it.
pub(crate) async fn load(arguments: &Load, stack: &Stack) -> Result<Ending, Problem> {
    let interrupt = Interrupt::on_signal().map_err(Problem::Usage)?;
    let way = Way::new(arguments, stack)?;
    let job = tokio::select! {
        biased;
        () = interrupt.begun() => return Ok(Ending::NotStored),
        job = Job::open(arguments, interrupt.clone()) => job,
    };
    let mut job = job.map_err(Problem::Usage)?;
    let begun = Instant::now();
    let loaded = tokio::select! {
        biased;
        () = interrupt.insisted() => None,
        loaded = job.run(way, Patience::new(arguments.patience)) => Some(loaded),
    };
    let stopped = loaded.unwrap_or_else(|| Err(job.insisted())).err();
    let reached = job.ledger.reached();
    let summary = Summary::new(job.ledger.counts(), begun, stopped.as_ref().map(|_| reached.line));
    let share_ids = job.lines.share_ids();
    // Ends the bar.
    drop(job);
    if let Some(doubt) = doubt(summary.counts).filter(|_| share_ids) {
        say!("{doubt}{WITHOUT_A_NAME}");
    }
    let told = put_or_tell(&if arguments.json { json_line(&summary) } else { summary.to_string() });
    let Some(Stopped { why, ending }) = stopped else {
        if summary.counts.refused > 0 {
            return Ok(Ending::Refused);
        }
        told?;
        return Ok(Ending::Done);
    };
    say!("stopped before line {}: {why}", reached.line);
    say!(
        "resume with: {}",
        again(&[("--from-line", true)], &["--from-line".into(), reached.line.to_string()])
    );
    Ok(ending)
}

/// Why a line that is new may count as stored before.
const WITHOUT_A_NAME: &str = ": the id of a line without one is derived from its number, its text and the name of the input, \
    and this input has none. If the lines are new, load them with a --source that no other input has";

/// What is not certain where other inputs have had the same ids; `None` where all is.
fn doubt(counts: Counts) -> Option<String> {
    let Counts { queued, duplicate, .. } = counts;
    if duplicate > 0 {
        Some(format!("{} stored before", counted(duplicate, "line counts as", "lines count as")))
    } else {
        (queued > 0).then(|| "lines equal to those of an earlier input are stored once".to_owned())
    }
}

/// What a way needs to do its work.
struct Job {
    lines: Lines,
    ledger: Ledger,
    interrupt: Interrupt,
    /// Lines before this number may be stored though they are not settled.
    unsure_until: u64,
    /// What is said of since the last progress.
    told: Option<String>,
}

/// Why a way came to no good end.
enum Broken {
    /// The file cannot be read, or refused lines not be written.
    Local(io::Error),
    /// The other end did not do it. Whether lines that are read and not settled may be stored.
    Remote(Failure, bool),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Broken::Local(error)
    }
}

/// Why a load ended before the end of its file.
struct Stopped {
    why: String,
    ending: Ending,
}

impl Job {
    async fn open(arguments: &Load, interrupt: Interrupt) -> anyhow::Result<Self> {
        let meter = Arc::default();
        let lines = Lines::open(&arguments.file, arguments.source.as_deref(), Arc::clone(&meter)).await;
        let mut lines = lines.with_context(|| format!("cannot read {}", arguments.file.display()))?;
        lines.skip_to(arguments.from_line.unwrap_or(1)).await?;
        let goes_on = arguments.from_line.is_some();
        let ledger = Ledger::new(lines.place(), arguments.rejects.as_deref(), goes_on, meter)?;
        Ok(Job { lines, ledger, interrupt, unsure_until: 0, told: None })
    }

    /// Sends all there is, as often as the way breaks and its patience lasts.
    async fn run(&mut self, mut way: Way, mut patience: Patience) -> Result<(), Stopped> {
        loop {
            let more = tokio::select! {
                biased;
                more = self.lines.has_more() => more.map_err(|error| self.local(&error))?,
                () = self.interrupt.begun() => true,
            };
            if !more {
                return Ok(());
            }
            if self.interrupt.has_begun() {
                return Err(self.stopped("interrupted".to_owned()));
            }
            let before = self.ledger.reached();
            let sent = way.send(self).await;
            if self.ledger.reached() != before && patience.regain() {
                self.told = None;
                self.ledger.say(&format!("resuming from line {}", before.line));
            }
            match sent {
                Ok(()) => {}
                Err(Broken::Local(error)) => {
                    // What was read and is not settled may have been sent.
                    self.unsure_until = self.unsure_until.max(self.lines.place().line);
                    return Err(self.local(&error));
                }
                Err(Broken::Remote(failure, unsure)) => {
                    self.step_back(unsure).await?;
                    self.wait(&failure, way.place(), &mut patience).await?;
                }
            }
        }
    }

    /// Goes back to the first line that is not settled.
    async fn step_back(&mut self, unsure: bool) -> Result<(), Stopped> {
        if unsure {
            self.unsure_until = self.unsure_until.max(self.lines.place().line);
        }
        let reached = self.ledger.reached();
        self.lines.go_back(reached).await.map_err(|error| self.local(&error))
    }

    async fn wait(
        &mut self,
        failure: &Failure,
        place: &'static str,
        patience: &mut Patience,
    ) -> Result<(), Stopped> {
        if failure.certainty() == Certainty::Rejected {
            return Err(Stopped { why: describe(failure, place), ending: Ending::Refused });
        }
        let why = describe(failure, place);
        let is_new = self.told.as_ref() != Some(&why);
        let Some(wait) = patience.next_wait() else {
            let because = if is_new { format!(": {why}") } else { String::new() };
            return Err(self.stopped(format!("no progress for {}{because}", patience.in_words())));
        };
        if is_new {
            self.ledger.say(&format!("waiting: {why}"));
            self.told = Some(why);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.interrupt.begun() => {}
        }
        Ok(())
    }

    /// The next line that is to be sent; `None` if what is under way should come to its end first.
    async fn next(&mut self) -> io::Result<Option<Line>> {
        if self.lines.is_full() {
            return Ok(None);
        }
        tokio::select! {
            biased;
            () = self.interrupt.begun() => Ok(None),
            line = self.lines.next() => line,
            () = tokio::time::sleep(IDLE) => Ok(None),
        }
    }

    /// Every line before `place` is settled.
    fn reach(&mut self, place: lines::Place) {
        self.ledger.reach(place);
        self.lines.settle(place);
    }

    fn insisted(&self) -> Stopped {
        let unsure = self.lines.place() != self.ledger.reached();
        let ending = if unsure { Ending::Unknown } else { Ending::NotStored };
        Stopped { why: "interrupted twice".to_owned(), ending }
    }

    fn local(&self, error: &io::Error) -> Stopped {
        self.stopped(format!("cannot read the file or write refused lines: {}", escape(&error.to_string())))
    }

    fn stopped(&self, why: String) -> Stopped {
        let unsure = self.ledger.reached().line < self.unsure_until;
        Stopped { why, ending: if unsure { Ending::Unknown } else { Ending::NotStored } }
    }
}

/// What a load came to.
#[derive(Debug, Serialize)]
struct Summary {
    /// Lines that are not blank.
    read: u64,
    #[serde(flatten)]
    counts: Counts,
    seconds: f64,
    /// Accepted lines.
    per_second: f64,
    /// Where to go on; left out at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_line: Option<u64>,
}

impl Summary {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn new(counts: Counts, begun: Instant, next_line: Option<u64>) -> Self {
        let seconds = begun.elapsed().as_millis().max(1) as f64 / 1_000.0;
        let per_second = (counts.accepted() as f64 / seconds).round();
        Summary { read: counts.read(), counts, seconds, per_second, next_line }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { stored, queued, duplicate, refused } = self.counts;
        let accepted = counted(self.counts.accepted(), "line", "lines");
        write!(f, "{accepted} accepted in {:.2} s ({:.0}/s):", self.seconds, self.per_second)?;
        if queued > 0 {
            write!(f, " {} queued;", HumanCount(queued))?;
        } else {
            write!(f, " {} stored, {} duplicate;", HumanCount(stored), HumanCount(duplicate))?;
        }
        write!(f, " {} refused", HumanCount(refused))
    }
}
