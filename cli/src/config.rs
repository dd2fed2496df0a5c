//! The command's words and settings. Its environment is read by [`Stack`] and nowhere else.

mod dead;
mod explain;
mod get;
mod load;
mod send;
mod stack;
mod tail;

use std::ops::RangeInclusive;

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};
use proto::Filter;

pub(crate) use self::stack::place;
use self::{
    dead::DEAD_EXAMPLES,
    explain::EXPLAIN_EXAMPLES,
    get::GET_EXAMPLES,
    load::{LOAD_ABOUT, LOAD_EXAMPLES},
    send::SEND_EXAMPLES,
    tail::TAIL_EXAMPLES,
};
pub use self::{
    dead::{Dead, What, Which},
    explain::{Call, Explain},
    get::Get,
    load::{Load, Over},
    send::Send,
    stack::Stack,
    tail::Tail,
};
use crate::{Ending, problem::Problem};

const EXAMPLES: &str = "\
Examples:
  fourwire send --name event hello                      store an entry over http
  fourwire send --transport rabbitmq --name event hello queue it in RabbitMQ
  fourwire get --level error --limit 5                  the newest five errors
  fourwire tail --contains timeout                      follow new entries
  fourwire load entries.ndjson                          store a whole file
  fourwire dead list                                    messages that could not be stored
  fourwire explain --transport grpc                     every byte of an entry, and what it means

Exit codes:
  0  success: stored, queued, or stored before
  1  rejected: the same input would be rejected again; or no such entry
  2  usage error: an unknown flag, an invalid value, a file or a setting that cannot be used
  3  incomplete: what is not done is certainly not stored
  4  unknown: it may or may not be stored; retrying with the same id is safe
  5  done, but the result could not be written to standard output: see standard error

`make run` starts the stack that this command talks to.";

/// Sends log entries to Fourwire, reads them back, follows them, and loads files of them.
///
/// It talks to the logger and to RabbitMQ directly, and needs no broker. Each setting is a flag and an environment variable
/// of the same name; the flag wins.
#[derive(Debug, Parser)]
// clap's own usage names each setting that the environment has, here and below.
#[command(name = "fourwire", version = proto::release::VERSION)]
#[command(override_usage = "fourwire [OPTIONS] <COMMAND>", after_help = EXAMPLES)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Where the logger and RabbitMQ are.
    #[command(flatten)]
    pub stack: Stack,
}

impl Config {
    /// Reads the command line and the environment, in which an empty variable is as unset. Ends the process where they
    /// are no command: without any with the help, else with what is wrong.
    pub fn read() -> Self {
        settings::read().unwrap_or_else(|error| {
            if !is_without_command(&error) {
                error.exit();
            }
            say!("{}", Config::command().render_long_help().to_string().trim_end());
            std::process::exit(Ending::Usage as i32)
        })
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store one entry over a transport of your choice
    #[command(override_usage = "fourwire send [OPTIONS] --name <NAME> <DATA>", after_help = SEND_EXAMPLES)]
    Send(Send),
    /// Read stored entries: one by its id, or the newest that match all filters
    #[command(override_usage = "fourwire get [OPTIONS] [ID]", after_help = GET_EXAMPLES)]
    Get(Get),
    /// Follow new entries, across restarts of the logger, until Ctrl-C
    #[command(override_usage = "fourwire tail [OPTIONS]", after_help = TAIL_EXAMPLES)]
    Tail(Tail),
    /// Store a file of entries, one JSON object per line
    #[command(override_usage = "fourwire load [OPTIONS] <FILE>", long_about = LOAD_ABOUT, after_help = LOAD_EXAMPLES)]
    Load(Load),
    /// List, show, retry or drop the dead letters in RabbitMQ
    #[command(override_usage = "fourwire dead [OPTIONS] <COMMAND>", after_help = DEAD_EXAMPLES)]
    Dead(Dead),
    /// Show every byte of an entry on a transport, and what it means
    #[command(override_usage = "fourwire explain [OPTIONS]", after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
}

/// Whether nothing says what to do. A setting in the environment makes another error of it.
fn is_without_command(error: &clap::Error) -> bool {
    // What `fourwire dead` lacks its own error names.
    let of_dead = error.to_string().contains("fourwire dead [OPTIONS]");
    !of_dead
        && matches!(
            error.kind(),
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        )
}

/// Takes a whole number of these.
fn number(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone {
    let (least, most) = range.clone().into_inner();
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| match most {
            u64::MAX => format!("expected a whole number of at least {least}"),
            _ => format!("expected a whole number from {least} to {most}"),
        })
    }
}

/// Refuses a filter that is out of its limits, or that no entry can meet.
fn check(filter: &Filter) -> Result<(), Problem> {
    filter.check().map_err(|failure| Problem::Usage(anyhow::anyhow!(failure.into_message())))?;
    if filter.is_contradictory() {
        return Err(Problem::Usage(anyhow::anyhow!("--since is after --until: no entry can match both")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Config, clap::Error> {
        Config::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_words_are_sound() {
        Config::command().debug_assert();
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "fourwire get 01a1fc81-0c09-763f-8df2-a41011d222e4 --level error",
            "fourwire get --all --limit 5",
            "fourwire tail --after 5 --from-start",
            "fourwire tail --after 5 --since 2026-01-31T12:00:00Z",
            "fourwire tail --from-start --since 2026-01-31T12:00:00Z",
            "fourwire send --name event",
            "fourwire send hello",
            "fourwire send --transport amqp --name event hello",
            "fourwire send --level INFO --name event hello",
            "fourwire load --from-line 0 file",
            "fourwire load file --over tcp",
            "fourwire --fourwire-deadline-ms 0 load file",
            "fourwire get --limit 0",
            "fourwire dead list --limit 0",
            "fourwire dead show",
            "fourwire dead retry",
            "fourwire dead retry --all order-4711",
            "fourwire dead drop",
            "fourwire explain --entries 0",
            "fourwire explain --entries 1001",
            "fourwire explain --call read-logs",
            "fourwire explain --read file --transport grpc",
            "fourwire explain --read file --save other",
            "fourwire dead drop --all order-4711",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_setting_may_stand_before_the_command_or_behind_it() {
        for line in [
            "fourwire --logger-http-url http://logger:1 get",
            "fourwire get --logger-http-url http://logger:1",
        ] {
            let stack = parse(line).expect(line).stack;
            assert!(format!("{:?}", stack.endpoints.logger_http_url).contains("logger:1"), "{line}");
        }
    }

    #[test]
    fn without_a_command_there_is_the_help_whatever_is_set() {
        for line in ["fourwire", "fourwire --logger-http-url http://logger:1"] {
            assert!(parse(line).is_err_and(|error| is_without_command(&error)), "{line}");
        }
        assert!(parse("fourwire send").is_err_and(|error| !is_without_command(&error)));
    }

    #[test]
    fn a_usage_names_what_a_command_needs_and_none_of_the_settings() {
        for (rest, usage) in [
            ("nonsense", "fourwire [OPTIONS] <COMMAND>"),
            ("send hello", "fourwire send [OPTIONS] --name <NAME> <DATA>"),
            ("get --all --limit 5", "fourwire get [OPTIONS] [ID]"),
            ("tail --after 5 --from-start", "fourwire tail [OPTIONS]"),
            ("explain --entries many", "fourwire explain [OPTIONS]"),
            ("load", "fourwire load [OPTIONS] <FILE>"),
            ("dead retry", "fourwire dead retry [OPTIONS] <ID>..."),
        ] {
            let error = parse(&format!("fourwire --logger-http-url http://logger:1 {rest}")).expect_err(rest);
            let text = error.to_string();
            let line = text.lines().find(|line| line.starts_with("Usage: ")).expect("a usage");
            assert_eq!(line, format!("Usage: {usage}"));
        }
    }

    #[test]
    fn a_value_that_is_none_is_told_what_it_should_be() {
        for (line, words) in [
            ("fourwire get --limit many", "'--limit <LIMIT>': expected a whole number of at least 1"),
            ("fourwire load file --from-line 0", "'--from-line <N>': expected a whole number of at least 1"),
            (
                "fourwire get --fourwire-deadline-ms 1.5",
                "'--fourwire-deadline-ms <FOURWIRE_DEADLINE_MS>': expected a whole number from 1 to 60000",
            ),
            ("fourwire get --cursor foo", "'foo' for '--cursor <CURSOR>': expected the cursor"),
            ("fourwire get --since noon", "'noon' for '--since <TIME>': expected an RFC 3339 time"),
            ("fourwire get --logger-http-url logger", "a URL of scheme, host and port"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.exit_code() == 2 && error.to_string().contains(words), "{error}");
        }
    }
}
