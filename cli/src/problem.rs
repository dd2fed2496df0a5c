//! How a command ends, and what is said when it could not do what it was asked for.

use std::{error::Error, io, iter, process::ExitCode};

use proto::{Certainty, Code, Failure};

use crate::text::escape;

/// How a command ends; its number is the exit code. Ordered by how much is uncertain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Everything was done.
    Done = 0,
    /// Something was refused, and will be again: it was never stored, or there is no such entry.
    Refused = 1,
    /// A usage error. clap uses the same number.
    Usage = 2,
    /// Not everything is done; what is not is certainly not stored.
    NotStored = 3,
    /// What became of an entry is not known. Sending it again with the same id is safe.
    Unknown = 4,
    /// What was asked for is done, as far as it goes, but could not be written to standard output.
    Untold = 5,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> ExitCode {
        ExitCode::from(ending as u8)
    }
}

impl From<Certainty> for Ending {
    fn from(certainty: Certainty) -> Ending {
        match certainty {
            Certainty::Rejected => Ending::Refused,
            Certainty::NotStored => Ending::NotStored,
            Certainty::Unknown => Ending::Unknown,
        }
    }
}

/// Why a command could not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A setting or a file cannot be used.
    Usage(anyhow::Error),
    /// The logger or RabbitMQ did not do it; the settings that say where it is.
    Failed(Failure, &'static str),
    /// Nobody reads what is written.
    Output(io::Error),
}

impl Problem {
    /// A setting or a file that cannot be used.
    pub(crate) fn usage(why: impl Into<String>) -> Self {
        Problem::Usage(anyhow::Error::msg(why.into()))
    }

    /// Says it on standard error.
    pub(crate) fn tell(self) -> Ending {
        match self {
            Problem::Usage(error) => {
                say!("error: {}", escape(&format!("{error:#}")));
                Ending::Usage
            }
            Problem::Failed(failure, place) => {
                say!("error: {}", describe(&failure, place));
                failure.certainty().into()
            }
            // `| head` has seen enough.
            Problem::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ending::Done,
            Problem::Output(error) => {
                say!("error: cannot write to standard output: {error}");
                Ending::Untold
            }
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Problem::Output(error)
    }
}

/// A failure for people: its code, its message, what it came from at the root, and what to look at. `place` names the
/// setting with the address.
pub(crate) fn describe(failure: &Failure, place: &str) -> String {
    let mut text = format!("{}: {}", failure.code, escape(&failure.message()));
    let root = root(failure);
    // Where nothing more is known, the message is not told twice.
    if !failure.message().contains(&root) {
        text.push_str(&format!("\n  because: {}", escape(&root)));
    }
    // What names the setting itself was reached.
    if failure.code == Code::Unavailable && !failure.message().contains(place) {
        text.push_str(&format!("\n  {}", what_to_look_at(place)));
    }
    if failure.code == Code::OutcomeUnknown {
        // It may have answered in its own way.
        text.push_str(&format!("\n  If this persists: does {place} point to another server?"));
    }
    text
}

/// What a failure came from; its message where nothing more is known.
pub(crate) fn root(failure: &Failure) -> String {
    let causes = iter::successors(failure.source(), |error: &&(dyn Error + 'static)| (*error).source());
    causes.last().map_or_else(|| failure.message().into_owned(), ToString::to_string)
}

/// What to look at where nobody is reached. `place` names the setting with the address.
pub(crate) fn what_to_look_at(place: &str) -> String {
    format!("Is the stack running? `make run` starts it. Is {place} its address?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once() {
        let unreachable = || Failure::unreachable("the logger");
        for (failure, because) in [
            (unreachable(), None),
            (unreachable().because("the logger cannot be reached"), None),
            (unreachable().because(io::Error::other("no route")), Some("because: no route")),
            (
                unreachable().because(unreachable().because(io::Error::other("no route"))),
                Some("because: no route"),
            ),
        ] {
            let text = describe(&failure, "LOGGER_HTTP_URL");
            assert_eq!(text.matches("cannot be reached").count(), 1, "{text}");
            assert_eq!(text.lines().find(|line| line.contains("because")).map(str::trim), because, "{text}");
            assert!(text.ends_with("Is LOGGER_HTTP_URL its address?"), "{text}");
        }
    }
}
