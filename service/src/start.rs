//! What a process starts with, and how it ends: why it did not start is told in the format of its log.

use std::process::ExitCode;

use clap::Parser;

use crate::telemetry::LogFormat;

/// The settings of the command line and the environment, in which an empty variable is as unset. If they cannot be read,
/// or it was for `--help`, the process ends here, with what clap says.
pub fn settings<Settings: Parser>() -> Settings {
    settings::read().unwrap_or_else(|error: clap::Error| {
        // To standard output goes what was asked for.
        if !error.use_stderr() {
            error.exit();
        }
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let format = asked_format(std::env::args_os().map(lossy), std::env::var_os("LOG_FORMAT").map(lossy));
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

/// Which format is asked for by settings that cannot be read as a whole.
fn asked_format(arguments: impl Iterator<Item = String>, variable: Option<String>) -> LogFormat {
    const FLAG: &str = "--log-format";
    let mut arguments = arguments.skip_while(|argument| !argument.starts_with(FLAG));
    let given = arguments.next().and_then(|flag| match flag.strip_prefix(FLAG)?.strip_prefix('=') {
        Some(value) => Some(value.to_owned()),
        None => arguments.next(),
    });
    match given.or(variable).as_deref() {
        Some("json") => LogFormat::Json,
        Some(_) | None => LogFormat::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_found_in_settings_that_cannot_be_read() {
        for (arguments, variable, format) in [
            ("broker --nonsense", Some("json"), LogFormat::Json),
            ("broker --nonsense --log-format json", None, LogFormat::Json),
            ("broker --log-format=json --nonsense", Some("text"), LogFormat::Json),
            ("broker --log-format text", Some("json"), LogFormat::Text),
            ("broker --log-format", None, LogFormat::Text),
            ("broker", Some("xml"), LogFormat::Text),
            ("broker json", None, LogFormat::Text),
        ] {
            let words = arguments.split(' ').map(str::to_owned);
            assert_eq!(asked_format(words, variable.map(str::to_owned)), format, "{arguments} {variable:?}");
        }
    }
}
