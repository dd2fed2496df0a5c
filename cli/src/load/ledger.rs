//! What became of the lines: what is said of them, and counted.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use indicatif::HumanCount;
use proto::{Failure, Outcome};
use serde::Serialize;

use super::{
    lines::{Line, Place},
    progress::{Meter, Progress},
};
use crate::text::{counted, escape};

/// Most refused lines that are named on standard error; the others are counted.
const NAMED: u64 = 100;

/// What became of the lines.
#[derive(Debug)]
pub(super) struct Ledger {
    counts: Counts,
    /// Before it every line is settled.
    reached: Place,
    /// The number of the last line that was told to be no entry.
    last_bad: u64,
    rejects: Option<File>,
    meter: Arc<Meter>,
    progress: Progress,
}

/// What became of how many lines. A blank line is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// New in the store.
    pub(super) stored: u64,
    /// In RabbitMQ; the listener stores them.
    pub(super) queued: u64,
    /// They were stored before.
    pub(super) duplicate: u64,
    /// Never stored, for what they are.
    pub(super) refused: u64,
}

impl Counts {
    /// All of them.
    pub(super) fn read(&self) -> u64 {
        self.accepted() + self.refused
    }

    /// Those that are stored, or will be.
    pub(super) fn accepted(&self) -> u64 {
        self.stored + self.queued + self.duplicate
    }
}

impl Ledger {
    /// A ledger of the lines from `begin` on.
    ///
    /// # Errors
    /// If the file for refused lines cannot be made.
    pub(super) fn new(
        begin: Place,
        rejects: Option<&Path>,
        goes_on: bool,
        meter: Arc<Meter>,
    ) -> anyhow::Result<Self> {
        let rejects = rejects.map(|path| open_rejects(path, goes_on)).transpose()?;
        meter.skip(begin.line - 1);
        let progress = Progress::show(Arc::clone(&meter));
        Ok(Ledger { counts: Counts::default(), reached: begin, last_bad: 0, rejects, meter, progress })
    }

    /// What became of how many lines.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Before it every line is settled.
    pub(super) fn reached(&self) -> Place {
        self.reached
    }

    /// Whether the text of a refused line is written to a file.
    pub(super) fn wants_text(&self) -> bool {
        self.rejects.is_some()
    }

    /// Every line before `place` is settled.
    pub(super) fn reach(&mut self, place: Place) {
        self.reached = place;
        self.meter.reach(place.line - 1);
    }

    /// Counts an entry that is settled.
    pub(super) fn accept(&mut self, outcome: Outcome) {
        self.add(outcome, 1);
    }

    /// Counts entries that are settled.
    pub(super) fn add(&mut self, outcome: Outcome, entries: u64) {
        match outcome {
            Outcome::Stored => self.counts.stored += entries,
            Outcome::Queued => self.counts.queued += entries,
            Outcome::Duplicate => self.counts.duplicate += entries,
        }
    }

    /// Counts a line that is refused, and says which it is.
    ///
    /// # Errors
    /// If it cannot be written to the file for refused lines.
    pub(super) fn refuse(&mut self, number: u64, text: Option<&[u8]>, failure: &Failure) -> io::Result<()> {
        self.counts.refused += 1;
        if self.counts.refused <= NAMED {
            self.say(&format!("line {number}: {}: {}", failure.code, escape(&failure.message())));
        } else if self.counts.refused == NAMED + 1 {
            let count = HumanCount(NAMED);
            self.say(&format!("more than {count} lines are refused: further ones are only counted"));
        }
        match (&mut self.rejects, text) {
            (Some(rejects), Some(text)) => rejects.write_all(&[text, b"\n"].concat()),
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// As [`Ledger::refuse`], for a line that is no entry, and may be told again: it is counted once.
    ///
    /// # Errors
    /// As there.
    pub(super) fn refuse_once(&mut self, line: &Line, failure: &Failure) -> io::Result<()> {
        if line.number <= self.last_bad {
            return Ok(());
        }
        self.last_bad = line.number;
        self.refuse(line.number, line.text.as_deref(), failure)
    }

    /// Counts refused lines of which the logger does not say which they are.
    pub(super) fn refuse_unnamed(&mut self, lines: u64) {
        if lines > 0 {
            self.counts.refused += lines;
            let count = counted(lines, "more line is", "more lines are");
            self.say(&format!("{count} refused: use --rejects FILE to get them all"));
        }
    }

    /// Says something on standard error.
    pub(super) fn say(&self, text: &str) {
        self.progress.say(text);
    }
}

fn open_rejects(path: &Path, goes_on: bool) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    // What another load has refused is not to be lost, nor to be mixed with this one's.
    options.append(true).create(goes_on).create_new(!goes_on);
    options.open(path).with_context(|| format!("--rejects: cannot create {}", path.display()))
}
