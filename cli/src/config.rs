//! The command's words and settings. Its settings are read from the environment by [`Stack`], `NO_COLOR` and `TERM` by
//! [`Look`].

mod dead;
mod explain;
mod get;
mod load;
mod look;
mod send;
mod stack;
mod status;
mod tail;

use std::ops::RangeInclusive;

use clap::{Arg, CommandFactory, Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;
use proto::Filter;

pub(crate) use self::stack::place;
use self::{
    dead::DEAD_EXAMPLES,
    explain::EXPLAIN_EXAMPLES,
    get::GET_EXAMPLES,
    load::{LOAD_ABOUT, LOAD_EXAMPLES},
    send::SEND_EXAMPLES,
    status::STATUS_EXAMPLES,
    tail::TAIL_EXAMPLES,
};
pub use self::{
    dead::{Dead, What, Which},
    explain::{Call, Explain},
    get::Get,
    load::{Load, Over},
    look::Look,
    send::{Over as SendOver, Send},
    stack::Stack,
    status::Status,
    tail::Tail,
};
use crate::{Ending, problem::Problem};

const EXAMPLES: &str = "\
Examples:
  fourwire send hello                       store an entry over http
  fourwire send --transport rabbitmq hello  queue it in RabbitMQ
  fourwire send --transport all hello       compare the four
  fourwire status                           what is up, and what waits
  fourwire get --level error --since 1h     the errors of the last hour
  fourwire tail --contains timeout          follow new entries
  fourwire load entries.ndjson              store a whole file
  fourwire dead list                        messages that could not be stored
  fourwire explain --transport grpc         every byte on the wire, explained

Exit codes:
  0  success: stored, queued, or stored before
  1  rejected: the same input would be rejected again; or no such entry
  2  usage error: a flag, a value, a file or a setting that cannot be used
  3  incomplete: what is not done is certainly not stored
  4  unknown: it may or may not be stored; retry with the same id
  5  done, but the result could not be written: see standard error

`make run` starts the stack that this command talks to.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(fourwire completions bash)
  fourwire completions zsh > ~/.zfunc/_fourwire
  fourwire completions fish > ~/.config/fish/completions/fourwire.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  fourwire man | man -l -
  fourwire man send > fourwire-send.1";

/// Sends log entries to Fourwire, reads them back, follows them, and loads files of them.
///
/// It talks to the logger and to RabbitMQ directly, and needs no broker. Each setting is a flag and an environment variable
/// of the same name; the flag takes precedence. On a terminal levels are coloured, unless NO_COLOR is set.
#[derive(Debug, Parser)]
// clap's own usage names each setting that the environment has, here and below.
#[command(name = "fourwire", version = proto::release::VERSION)]
#[command(override_usage = "fourwire [OPTIONS] <COMMAND>", after_help = EXAMPLES, mut_args(without_connection))]
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
    /// are no command: without any with what there is, else with what is wrong.
    pub fn read() -> Self {
        settings::read().unwrap_or_else(|error| {
            if !is_without_command(&error) {
                error.exit();
            }
            say!("{}", commands().render_help().to_string().trim_end());
            std::process::exit(Ending::Usage as i32)
        })
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store one entry over a transport of your choice
    #[command(override_usage = "fourwire send [OPTIONS] <DATA>", after_help = SEND_EXAMPLES)]
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
    /// Show which transports are up, and how many messages are ready in RabbitMQ
    #[command(override_usage = "fourwire status [OPTIONS]", after_help = STATUS_EXAMPLES)]
    Status(Status),
    /// Print the completions for a shell
    #[command(override_usage = "fourwire completions <SHELL>", after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page of fourwire, or of one of its commands
    #[command(override_usage = "fourwire man [COMMAND]", after_help = MAN_EXAMPLES)]
    Man {
        /// The command, such as send
        command: Option<String>,
    },
}

/// The command as one sees it who has named none of its own: what there is, and where to read on.
fn commands() -> clap::Command {
    Config::command().help_template(
        "{about}\n\n{usage-heading} {usage}\n\nCommands:\n{subcommands}\n\n\
        Options, examples and exit codes: fourwire --help\nOf a command: fourwire <COMMAND> --help",
    )
}

/// `-h` is short: where things are is in `--help`.
fn without_connection(argument: Arg) -> Arg {
    let is_one = argument.get_help_heading() == Some(stack::HEADING);
    argument.hide_short_help(is_one)
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
    filter.check().map_err(|failure| Problem::usage(failure.into_message()))?;
    if filter.is_contradictory() {
        return Err(Problem::usage("--since is after --until: no entry can match both"));
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
            "fourwire send --count 0 hello",
            "fourwire get --short --json",
            "fourwire completions dos",
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
    fn what_is_short_to_type_is_understood() {
        let Command::Get(get) = parse("fourwire get --since 2h --level warn").expect("sound").command else {
            panic!("another command");
        };
        let now = proto::Time::now().as_microsecond();
        let since = get.filter.since.expect("a time").as_microsecond();
        assert!((now - since - 7_200_000_000).abs() < 60_000_000, "{since}");
        assert_eq!(get.filter.level, Some(proto::Level::Warning));
        let Command::Send(send) = parse("fourwire send --level warn hello").expect("sound").command else {
            panic!("another command");
        };
        assert_eq!((send.name.as_str(), send.level), ("event", proto::Level::Warning));
    }

    #[test]
    fn the_short_help_has_no_addresses_and_the_long_one_has() {
        let mut command = Config::command();
        command.build();
        for word in ["send", "get", "tail", "load", "status"] {
            let own = command.find_subcommand_mut(word).expect(word);
            let (short, long) = (own.render_help().to_string(), own.render_long_help().to_string());
            assert!(!short.contains("LOGGER_HTTP_URL") && !short.contains("TLS_CERT"), "{short}");
            assert!(long.contains("LOGGER_HTTP_URL") && long.contains("FOURWIRE_TLS_CERT"), "{long}");
            assert!(short.lines().count() < long.lines().count(), "{word}");
        }
    }

    #[test]
    fn the_help_wraps_at_each_width_and_its_tables_need_not() {
        for width in [80, 100] {
            let mut command = Config::command().term_width(width);
            command.build();
            let mut helps = Vec::new();
            add_helps(&command, width, &mut helps);
            assert!(helps.len() > 12, "{}", helps.len());
            for (name, help, after) in helps {
                for line in help.lines() {
                    assert!(line.chars().count() <= width, "{name} at {width}: {line}");
                }
                // A line of a table or an example that wraps leaves a stub.
                for line in after.lines().filter(|line| line.starts_with("  ")) {
                    assert!(line.chars().count() <= 80, "{name}: {line}");
                }
            }
        }
    }

    fn add_helps(command: &clap::Command, width: usize, helps: &mut Vec<(String, String, String)>) {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let mut own = command.clone().term_width(width);
        for help in [own.render_help(), own.render_long_help()] {
            helps.push((command.get_name().to_owned(), help.to_string(), after.clone()));
        }
        command.get_subcommands().for_each(|command| add_helps(command, width, helps));
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
    fn what_there_is_fits_on_a_small_screen() {
        let shown = commands().render_help().to_string();
        for word in ["Usage: fourwire [OPTIONS] <COMMAND>", "  send ", "  explain ", "fourwire --help"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        for word in ["Options:", "Examples:", "LOGGER_HTTP_URL"] {
            assert!(!shown.contains(word), "{word}: {shown}");
        }
        assert!(shown.lines().count() <= 24, "{shown}");
    }

    #[test]
    fn a_usage_names_what_a_command_needs_and_none_of_the_settings() {
        for (rest, usage) in [
            ("nonsense", "fourwire [OPTIONS] <COMMAND>"),
            ("send", "fourwire send [OPTIONS] <DATA>"),
            ("get --all --limit 5", "fourwire get [OPTIONS] [ID]"),
            ("tail --after 5 --from-start", "fourwire tail [OPTIONS]"),
            ("explain hello", "fourwire explain [OPTIONS]"),
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
            (
                "fourwire get --limit many",
                "'--limit <LIMIT>': expected a whole number of at least 1: --all takes all",
            ),
            ("fourwire get --limit 0", "--cursor resumes"),
            ("fourwire load file --from-line 0", "'--from-line <N>': expected a whole number of at least 1"),
            (
                "fourwire get --fourwire-deadline-ms 1.5",
                "'--fourwire-deadline-ms <FOURWIRE_DEADLINE_MS>': expected a whole number from 1 to 60000",
            ),
            ("fourwire get --cursor foo", "'foo' for '--cursor <CURSOR>': expected the cursor"),
            ("fourwire get --since noon", "'noon' for '--since <TIME>': expected an RFC 3339 time"),
            ("fourwire get --since 1.5h", "or an age such as 90s, 15m, 2h or 7d"),
            ("fourwire get --logger-http-url logger", "a URL of scheme, host and port"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.exit_code() == 2 && error.to_string().contains(words), "{error}");
        }
    }
}
