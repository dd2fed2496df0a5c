//! The words of `fourwire get`.

use clap::Args;

use super::Filter;

pub(super) const GET_EXAMPLES: &str = "\
Examples:
  fourwire get 01a1fc81-0c09-763f-8df2-a41011d222e4
  fourwire get --name build --level error --since 2026-01-31T12:00:00Z
  fourwire get --all --json > everything.ndjson

A file that `get --all --json` has written can be loaded again once it has the fields of an entry alone:
  fourwire get --all --json | jq -c '{id,name,data,level,created_at}' | fourwire load -";

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
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,

    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,

    /// Go on where a reading was broken off: it says the cursor then
    #[arg(long)]
    pub cursor: Option<String>,

    /// Print each entry as a line of JSON, exactly as it is stored
    #[arg(long)]
    pub json: bool,
}
