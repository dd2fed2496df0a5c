//! How entries are shown.

use std::io::{IsTerminal, stdout};

use clap::Args;

/// How entries are shown to people.
#[derive(Debug, Args)]
pub struct Look {
    /// Leave out id and date, as for following along
    #[arg(long, conflicts_with = "json")]
    pub short: bool,
}

impl Look {
    /// Whether to show colours: on a terminal that has them, unless `NO_COLOR` is set (no-color.org).
    pub(crate) fn colours() -> bool {
        let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
        stdout().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
    }
}
