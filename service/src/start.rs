//! Start and end of a process: why it did not start is logged in the configured format.

use std::{ffi::OsString, process::ExitCode};

use clap::{Arg, Command, Parser, builder::Resettable};

use crate::telemetry::LogFormat;

/// The settings of the command line and the environment, in which an empty variable is as unset. If they cannot be read,
/// or it was for `--help`, the process ends here, with what clap says.
pub fn settings<Settings: Parser>() -> Settings {
    settings::read().unwrap_or_else(|error: clap::Error| {
        // To standard output goes what was asked for.
        if !error.use_stderr() {
            error.exit();
        }
        let format = asked_format(Settings::command(), std::env::args_os());
        format.last_word(error.to_string().trim_start_matches("error: ").trim_end());
        std::process::exit(error.exit_code())
    })
}

/// How the process ends, after its last lines: with the whole reason on one line, also where `RUST_BACKTRACE` is set,
/// since what stops a service is mostly a setting.
pub fn exit_code(result: anyhow::Result<()>, format: LogFormat) -> ExitCode {
    match result {
        Ok(()) => {
            format.log().flush();
            ExitCode::SUCCESS
        }
        Err(error) => {
            format.last_word(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Which format is asked for by settings that cannot be read as a whole: by the flag where clap comes to it before it gives
/// up, or by the variable.
fn asked_format(command: Command, arguments: impl Iterator<Item = OsString>) -> LogFormat {
    const FORMAT: &str = "log_format";
    // It gives up at the first variable that it cannot read, too.
    let alone = |setting: Arg| {
        if setting.get_id() == FORMAT { setting } else { setting.env(Resettable::Reset) }
    };
    let read = command.mut_args(alone).ignore_errors(true).try_get_matches_from(arguments);
    let format = read.ok().and_then(|found| found.try_get_one(FORMAT).ok().flatten().copied());
    format.unwrap_or(LogFormat::Text)
}

#[cfg(test)]
mod tests {
    use clap::{Args, value_parser};

    use super::*;

    #[test]
    fn the_format_is_found_in_settings_that_cannot_be_read() {
        let port = Arg::new("port").long("port").value_parser(value_parser!(u16));
        let command = crate::telemetry::Settings::augment_args(Command::new("broker").arg(port));
        for (arguments, format) in [
            ("broker --log-format json --nonsense", LogFormat::Json),
            ("broker --log-format=json --port x", LogFormat::Json),
            ("broker --log-format text --nonsense", LogFormat::Text),
            ("broker --log-format", LogFormat::Text),
            ("broker --log-format xml", LogFormat::Text),
            ("broker --port x", LogFormat::Text),
            ("broker json", LogFormat::Text),
        ] {
            let words = arguments.split(' ').map(OsString::from);
            assert_eq!(asked_format(command.clone(), words), format, "{arguments}");
        }
    }
}
