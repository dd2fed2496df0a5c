//! Reads the settings of a program: its flags, and its environment variables. It knows no setting of its own.
//!
//! An empty variable is as unset: a compose file with `X: ${X:-}` sets all of them, and OpenTelemetry asks for it.
//! What stands in a file and not in a setting is read by [`secret`], and the three files of TLS by [`tls`].

pub mod secret;
pub mod tls;

use std::{
    env,
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr},
};

use clap::{Arg, Command, Parser, builder::Resettable, error::ErrorKind};

/// The settings of this process.
///
/// # Errors
/// What clap says where they cannot be read, or were not asked for: `--help` is such an error too.
pub fn read<Settings: Parser>() -> Result<Settings, clap::Error> {
    read_from(Settings::command(), |variable| env::var_os(variable).is_some_and(|value| value.is_empty()))
}

fn read_from<Settings: Parser>(
    command: Command,
    is_empty: impl Fn(&OsStr) -> bool,
) -> Result<Settings, clap::Error> {
    let mut without = without_empty(command.clone(), &is_empty);
    let read = without.try_get_matches_from_mut(env::args_os());
    let settings = read.and_then(|mut matches| {
        Settings::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut without))
    });
    settings.map_err(|error| {
        if error.kind() == ErrorKind::DisplayHelp {
            // Which variables there are does not depend on what they are set to.
            return command.try_get_matches_from(env::args_os()).err().unwrap_or(error);
        }
        error
    })
}

/// The same command, but as if the empty variables were not set. clap would read them as values.
fn without_empty(command: Command, is_empty: &impl Fn(&OsStr) -> bool) -> Command {
    let unset = |argument: Arg| {
        let empty = argument.get_env().is_some_and(is_empty);
        if empty { argument.env(Resettable::Reset) } else { argument }
    };
    command.mut_args(unset).mut_subcommands(|command| without_empty(command, is_empty))
}

/// Reads where to listen: an address and a port, or `localhost` for 127.0.0.1.
///
/// # Errors
/// With an example, if it is neither.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let local = || text.strip_prefix("localhost:")?.parse().ok();
    let local = || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, local()?)));
    text.parse().ok().or_else(local).ok_or_else(|| {
        "expected an IP address and port such as 127.0.0.1:8080, localhost:8080, [::1]:8080, or 0.0.0.0:8080 for all \
         interfaces"
            .to_owned()
    })
}

/// Reads the name of a host without a port, in lower case.
///
/// # Errors
/// With an example, if it is none.
pub fn host_name(text: &str) -> Result<String, String> {
    let host = text.trim().to_ascii_lowercase();
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !host.is_empty() && host.bytes().all(is_of_names) {
        Ok(host)
    } else {
        Err("expected comma-separated host names such as logger-service".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[derive(Debug, Parser)]
    struct Settings {
        #[arg(long, env = "SETTINGS_TEST_PORT", default_value_t = 7, global = true)]
        port: u16,
        #[arg(long, env = "SETTINGS_TEST_WIDE", global = true)]
        wide: bool,
        #[command(subcommand)]
        word: Option<Word>,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Word {
        Go {
            #[arg(long, env = "SETTINGS_TEST_FILE")]
            file: Option<String>,
        },
    }

    /// As if these variables were empty: clap has read the environment, which a test cannot change, before.
    fn parsed(line: &str, empty: &[&str]) -> Settings {
        let set = |argument: Arg| argument.env("PATH");
        let command = Settings::command().mut_args(set).mut_subcommands(|command| command.mut_args(set));
        // PATH is no port, no flag: unless it counts as empty, it is refused.
        let command = without_empty(command, &|_| !empty.is_empty());
        let matches = command.try_get_matches_from(line.split(' ')).expect("nothing is set");
        clap::FromArgMatches::from_arg_matches(&matches).expect("they are read")
    }

    #[test]
    fn an_empty_variable_is_as_unset_for_the_words_of_a_command_too() {
        let settings = parsed("program go", &["PATH"]);
        assert_eq!((settings.port, settings.wide), (7, false));
        assert!(matches!(settings.word, Some(Word::Go { file: None })));
        assert_eq!(parsed("program --port 8 go", &["PATH"]).port, 8, "a flag counts");
    }

    #[test]
    fn an_address_to_listen_on_may_be_localhost() {
        for (text, address) in [
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("localhost:9182", Some("127.0.0.1:9182")),
            ("[::1]:0", Some("[::1]:0")),
            ("localhost", None),
            ("localhost:99999", None),
            ("example.org:80", None),
            (":80", None),
            ("", None),
        ] {
            let read = listen_address(text);
            assert_eq!(read.as_ref().ok().map(ToString::to_string).as_deref(), address, "{text}");
            assert!(read.is_ok() || read.is_err_and(|error| error.contains("127.0.0.1:8080")));
        }
    }
}
