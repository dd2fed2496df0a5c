//! The log filter, `RUST_LOG`, parsed so that a typo does not silence everything.

use anyhow::{Context, ensure};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// The default: tarpc logs a line for each request.
pub(super) const DEFAULT: &str = "info,tarpc=warn";

/// Reads a filter. Where no level stands alone, it is added to the default.
///
/// To tracing-subscriber a word that is no level is a part of a program, of which all is logged, and nothing of all
/// others: `verbose` would silence the whole service.
///
/// # Errors
/// If it is no filter; the message says what to give.
pub(super) fn parse(text: &str) -> anyhow::Result<EnvFilter> {
    let context =
        || format!("RUST_LOG is {text:?}: expected a level such as \"info\", or \"info,transport=debug\"");
    let words: Vec<&str> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let (levels, parts): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| !word.contains(['=', '[']));
    for word in &levels {
        let sound = word.parse::<LevelFilter>().is_ok();
        ensure!(sound, "{}; {word:?} is not a level: off, error, warn, info, debug or trace", context());
    }
    let base = if levels.is_empty() { DEFAULT.to_owned() } else { levels.join(",") };
    let filter = [vec![base.as_str()], parts].concat().join(",");
    EnvFilter::builder().parse(filter).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        parse(text).map(|filter| filter.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_word_that_is_no_level_silences_nothing() {
        for (text, shown) in [
            ("", &["info", "tarpc=warn"][..]),
            (" , ", &["info", "tarpc=warn"]),
            ("transport=debug", &["info", "tarpc=warn", "transport=debug"]),
            ("tarpc=trace", &["info", "tarpc=trace"]),
            ("WARN", &["warn"]),
            ("info, transport=debug", &["info", "transport=debug"]),
            ("off", &["off"]),
        ] {
            let mut read: Vec<String> =
                read(text).expect(text).split(',').map(str::to_owned).collect::<Vec<_>>();
            read.sort_unstable();
            let mut shown = shown.to_vec();
            shown.sort_unstable();
            assert_eq!(read, shown, "{text}");
        }
        for text in ["verbose", "inof", "info,broker", "broker=loud", "a=b=c"] {
            let error = read(text).expect_err(text);
            assert!(error.contains("RUST_LOG") && error.contains("info"), "{error}");
        }
    }
}
