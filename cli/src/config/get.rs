//! The words of `fourwire get`.

use clap::Args;
use proto::{Cursor, Filter, Query};

use super::{check, number};
use crate::problem::Problem;

pub(super) const GET_EXAMPLES: &str = "\
Examples:
  fourwire get 01a1fc81-0c09-763f-8df2-a41011d222e4
  fourwire get --name build --level error --since 2026-01-31T12:00:00Z
  fourwire get --all --json > everything.ndjson

A file that `get --all --json` has written can be loaded again once it has the fields of an entry alone:
  fourwire get --all --json | jq -c '{id,name,data,level,created_at}' | fourwire load -

What the store adds to an entry:
  stored_at (\"stored at\")  when the logger has stored it
  transport (\"came by\")    by which way it came first
  attempts (\"written\")     how often this id was written: once, and once more for each time that it was sent again. It is
                           stored once all the same";

/// See the command.
#[derive(Debug, Args)]
pub struct Get {
    /// The id of one entry
    #[arg(conflicts_with_all = ["name", "level", "transport", "since", "until", "contains", "limit", "all", "cursor"])]
    pub id: Option<String>,

    /// Which entries.
    #[command(flatten)]
    pub filter: Filter,

    /// At most so many, the newest first
    #[arg(long, default_value_t = 20, allow_negative_numbers = true, value_parser = number(1..=u64::MAX))]
    pub limit: u64,

    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,

    /// Go on where a reading has ended, or was broken off: it says the cursor then
    #[arg(long, value_parser = cursor)]
    pub cursor: Option<Cursor>,

    /// Print each entry as a line of JSON, exactly as it is stored
    #[arg(long)]
    pub json: bool,
}

impl Get {
    /// The first page that it asks for.
    ///
    /// # Errors
    /// With the filter that is out of its limits, and what it takes.
    pub(crate) fn query(&self) -> Result<Query, Problem> {
        check(&self.filter)?;
        Ok(Query { filter: self.filter.clone(), cursor: self.cursor, ..Query::default() })
    }
}

fn cursor(text: &str) -> Result<Cursor, &'static str> {
    text.parse::<Cursor>().map_err(|_| "take the number that a `fourwire get` before has named as its cursor")
}
