//! The words of `fourwire tail`.

use clap::Args;
use proto::{Cursor, Filter, TailQuery};

use super::{Look, check, number};
use crate::problem::Problem;

pub(super) const TAIL_EXAMPLES: &str = "\
Examples:
  fourwire tail                          new entries
  fourwire tail --name build --json      one name, as JSON with cursors
  fourwire tail --from-start             everything stored, then new entries
  fourwire tail --after 4711             resume after the entry with that cursor

It prints \"following\" once it has begun; entries stored before that are shown only if asked for. A tail that is \
started before the logger shows what is stored from its own start on, by this machine's clock. At Ctrl-C it prints \
the command to resume with. It also ends when its output is closed, as in `fourwire tail | head -n 1`. Nothing is \
missed or repeated, even when the logger restarts. Entries that retention deleted or --max-lag skipped are counted \
on standard error.";

/// See the command.
#[derive(Debug, Args)]
pub struct Tail {
    /// Resume after the entry with this cursor; 0: before the first
    #[arg(long, value_name = "CURSOR", conflicts_with_all = ["from_start", "since"], value_parser = cursor)]
    pub after: Option<Cursor>,

    /// Begin with the oldest entry
    #[arg(long, conflicts_with = "since")]
    pub from_start: bool,

    /// When more than N entries behind, skip to the newest N. Nothing is skipped by default
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(1..=u64::MAX))]
    pub max_lag: Option<u64>,

    /// Print each entry as a line of JSON, with its `cursor`
    #[arg(long)]
    pub json: bool,

    /// How they are shown.
    #[command(flatten)]
    pub look: Look,

    /// Which entries. Last, since the heading of its flags would be that of those below it, too.
    #[command(flatten)]
    pub filter: Filter,
}

impl Tail {
    /// Whether it begins with what is stored already.
    pub(crate) fn begins_in_the_past(&self) -> bool {
        self.after.is_some() || self.from_start || self.filter.since.is_some()
    }

    /// The question that it comes to.
    ///
    /// # Errors
    /// With the condition that is out of its limits, and what it takes.
    pub(crate) fn query(&self) -> Result<TailQuery, Problem> {
        check(&self.filter)?;
        let start = self.from_start.then(|| Cursor::after(0));
        Ok(TailQuery { filter: self.filter.clone(), after: self.after.or(start), max_lag: self.max_lag })
    }
}

fn cursor(text: &str) -> Result<Cursor, &'static str> {
    Cursor::parse_or_start(text).map_err(|_| "expected the cursor of an entry, or 0 for all")
}
