//! The words of `fourwire tail`.

use clap::Args;
use proto::{TailDraft, TailQuery};

use super::{Filter, filter::checked};
use crate::problem::Problem;

pub(super) const TAIL_EXAMPLES: &str = "\
Examples:
  fourwire tail                          what comes from now on
  fourwire tail --name build --json      one name, as JSON with the cursor of each entry
  fourwire tail --from-start             all that is stored, and then what comes
  fourwire tail --after 4711             goes on after the entry with that cursor

\"following\" is said once it has begun: what was stored before is not told, unless it was asked for. One that is
started before the logger tells what is stored from its own start on, by this machine's clock. It ends at Ctrl-C, or
when its output is closed, as in `fourwire tail | head -n 1`, and says with which cursor to go on. Nothing is missed
and nothing is told twice, also when the logger is restarted meanwhile. What retention has deleted, or --max-lag
skipped, is counted on standard error.";

/// See the command.
#[derive(Debug, Args)]
pub struct Tail {
    /// Which entries.
    #[command(flatten)]
    pub filter: Filter,

    /// Begin after the entry with this cursor
    #[arg(long, value_name = "CURSOR", conflicts_with_all = ["from_start", "since"])]
    pub after: Option<String>,

    /// Begin with the oldest entry
    #[arg(long, conflicts_with = "since")]
    pub from_start: bool,

    /// When more than N entries behind, skip to the newest N. Left out: it skips nothing
    #[arg(long, value_name = "N")]
    pub max_lag: Option<String>,

    /// Print each entry as a line of JSON, with its `cursor`
    #[arg(long)]
    pub json: bool,
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
        let after = if self.from_start { Some("0".to_owned()) } else { self.after.clone() };
        checked(TailDraft { after, max_lag: self.max_lag.clone(), ..self.filter.draft() })
    }
}
