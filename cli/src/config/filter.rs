//! The conditions of `fourwire get` and `fourwire tail`.

use clap::Args;
use proto::{Level, TailDraft, TailQuery, Time, Transport};

use super::words;
use crate::problem::Problem;

/// The conditions that entries must meet, all of them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Conditions")]
pub struct Filter {
    /// Entries of exactly this name
    #[arg(long)]
    pub name: Option<String>,

    /// Entries of this level
    #[arg(long, value_parser = words(Level::ALL, Level::as_str))]
    pub level: Option<Level>,

    /// Entries that came by this transport
    #[arg(long, value_parser = words(Transport::ALL, Transport::as_str))]
    pub transport: Option<Transport>,

    /// Stored at this time or later, as RFC 3339: 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Time>,

    /// Stored before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Time>,

    /// Whose data holds this text, letter case and all
    #[arg(long, value_name = "TEXT")]
    pub contains: Option<String>,
}

impl Filter {
    /// Refuses conditions that are out of their limits.
    ///
    /// # Errors
    /// With the condition, and what it takes.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        checked(self.draft()).map(drop)
    }

    /// Whether every entry meets them.
    pub(crate) fn is_empty(&self) -> bool {
        let Filter { name, level, transport, since, until, contains } = self;
        let texts = name.is_none() && contains.is_none();
        texts && level.is_none() && transport.is_none() && since.is_none() && until.is_none()
    }

    pub(super) fn draft(&self) -> TailDraft {
        let Filter { name, level, transport, since, until, contains } = self.clone();
        let level = level.map(|level| level.to_string());
        let transport = transport.map(|transport| transport.to_string());
        let (since, until) = (since.map(|time| time.to_string()), until.map(|time| time.to_string()));
        TailDraft { name, level, transport, since, until, contains, after: None, max_lag: None }
    }
}

/// The question that the conditions come to.
///
/// # Errors
/// With the condition that is out of its limits, and what it takes.
pub(super) fn checked(draft: TailDraft) -> Result<TailQuery, Problem> {
    let query = draft.check().map_err(|failure| Problem::Usage(anyhow::anyhow!(failure.into_message())))?;
    if query.filter.is_contradictory() {
        return Err(Problem::Usage(anyhow::anyhow!(
            "--since lies after --until, so that no entry can meet both"
        )));
    }
    Ok(query)
}

fn time(text: &str) -> Result<Time, &'static str> {
    Time::parse_bound(text)
        .ok_or("give an RFC 3339 time such as 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_asked_for_as_it_is_typed() {
        assert_eq!(time("2026-01-31T13:00:00+01:00"), Ok("2026-01-31T12:00:00Z".parse().expect("a time")));
        assert!(time("noon").is_err_and(|message| message.contains("+01:00") && !message.contains('%')));
    }
}
