//! The words of `fourwire get`.

use clap::Args;
use proto::{Cursor, Filter, Query};

use super::{Look, check, number};
use crate::problem::Problem;

pub(super) const GET_EXAMPLES: &str = "\
Examples:
  fourwire get 01a1fc81-0c09-763f-8df2-a41011d222e4
  fourwire get --name build --level error --since 1h
  fourwire get --all --json > everything.ndjson

The output of `get --all --json` can be loaded again once it is stripped to the fields of an entry:
  fourwire get --all --json |
    jq -c '{id,name,data,level,created_at}' | fourwire load -

Fields that the store adds to an entry:
  stored_at (\"stored at\")  when the logger stored it
  transport (\"via\")        the transport over which it first arrived
  attempts (\"written\")     how often this id was written; it is stored once";

/// See the command.
#[derive(Debug, Args)]
pub struct Get {
    /// Id of one entry
    #[arg(conflicts_with_all = ["name", "level", "transport", "since", "until", "contains", "limit", "all", "cursor"])]
    pub id: Option<String>,

    /// Maximum number of entries, newest first
    #[arg(long, default_value_t = 20, allow_negative_numbers = true, value_parser = limit)]
    pub limit: u64,

    /// All matching entries
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,

    /// Resume where an earlier get ended or was interrupted, with the cursor that it printed
    #[arg(long, value_parser = cursor)]
    pub cursor: Option<Cursor>,

    /// Print each entry as a line of JSON, exactly as stored
    #[arg(long)]
    pub json: bool,

    /// How they are shown.
    #[command(flatten)]
    pub look: Look,

    /// Which entries. Last, since the heading of its flags would be that of those below it, too.
    #[command(flatten)]
    pub filter: Filter,
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

fn limit(text: &str) -> Result<u64, String> {
    let more = "--all takes all that match, and --cursor resumes after those of an earlier get";
    number(1..=u64::MAX)(text).map_err(|expected| format!("{expected}: {more}"))
}

fn cursor(text: &str) -> Result<Cursor, &'static str> {
    text.parse::<Cursor>().map_err(|_| "expected the cursor that an earlier `fourwire get` printed")
}
