//! What is shown to people. The text of an entry is somebody else's, and a terminal obeys what it reads: control
//! characters, and those that turn the direction of writing, are never shown as they are.

use std::io::{self, Write as _};

pub(crate) use explain::escaped as escape;
use explain::is_obeyed;
use indicatif::HumanCount;
use proto::{Level, StoredEntry};
use serde::Serialize;

/// A value as one line of JSON. It means the same, and holds nothing that a terminal would obey.
pub(crate) fn json_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("these values have only string keys, so they serialise");
    if !json.chars().any(is_obeyed) {
        return json;
    }
    // JSON itself has none of them outside of strings, and all of them are of the first plane.
    json.chars().fold(String::with_capacity(json.len() + 16), |mut line, char| {
        if is_obeyed(char) {
            line.push_str(&format!("\\u{:04x}", char as u32));
        } else {
            line.push(char);
        }
        line
    })
}

/// A stored entry as one line: without id and date if it is to be short, and in colours if the terminal has them.
pub(crate) fn entry_line(entry: &StoredEntry, short: bool, colours: bool) -> String {
    let StoredEntry { id, name, data, level, stored_at, transport, .. } = entry;
    let (on, off) = match (level, colours) {
        (Level::Warning, true) => ("\u{1b}[33m", "\u{1b}[0m"),
        (Level::Error, true) => ("\u{1b}[31m", "\u{1b}[0m"),
        (Level::Info, _) | (_, false) => ("", ""),
    };
    let (level, transport) = (level.as_str(), transport.as_str());
    let (name, data) = (escape(name), escape(data));
    let at = format!("{stored_at:.6}");
    if short {
        // As far as milliseconds, of the day.
        let time = at.split_once('T').map_or(at.as_str(), |(_, time)| time).get(..12).unwrap_or(&at);
        return format!("{time} {on}{level:<7}{off} {transport:<8} {name}: {data}");
    }
    format!("{at} {on}{level:<7}{off} {transport:<8} {id} {name}: {data}")
}

/// So many of something, in words.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", HumanCount(number), if number == 1 { one } else { many })
}

/// Writes a line to standard output.
///
/// # Errors
/// If nobody reads it any more.
pub(crate) fn put(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// As [`put`], for what became of entries: if it cannot be written there, it is told on standard error.
///
/// # Errors
/// As there.
pub(crate) fn put_or_tell(line: &str) -> io::Result<()> {
    put(line).inspect_err(|_| say!("{line}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        let text = "a\u{1b}[31m\n\u{9b}b\u{202e}ж\t\u{7f}";
        assert_eq!(escape(text), "a\\u{1b}[31m\\n\\u{9b}b\\u{202e}ж\\t\\u{7f}");
    }

    #[test]
    fn a_line_is_as_short_and_as_colourful_as_it_is_asked_to_be() {
        let at = "2026-01-31T12:00:00.123456Z".parse().expect("a time");
        let entry = |level| StoredEntry {
            id: uuid::Uuid::nil(),
            name: "event".into(),
            data: "he\u{1b}llo".into(),
            level,
            created_at: at,
            stored_at: at,
            transport: proto::Transport::Grpc,
            attempts: 1,
        };
        let plain = entry_line(&entry(Level::Error), false, false);
        let id = uuid::Uuid::nil();
        assert_eq!(plain, format!("2026-01-31T12:00:00.123456Z error   grpc     {id} event: he\\u{{1b}}llo"));
        let short = entry_line(&entry(Level::Error), true, true);
        assert_eq!(short, "12:00:00.123 \u{1b}[31merror  \u{1b}[0m grpc     event: he\\u{1b}llo");
        assert!(!entry_line(&entry(Level::Info), true, true).contains('\u{1b}'));
    }

    #[test]
    fn one_is_one() {
        for (number, text) in [(0, "0 entries"), (1, "1 entry"), (1_001, "1,001 entries")] {
            assert_eq!(counted(number, "entry", "entries"), text);
        }
    }

    proptest! {
        #[test]
        fn a_line_of_json_means_the_same_and_is_safe_to_show(text in any::<String>()) {
            let line = json_line(&text);
            prop_assert!(!line.chars().any(is_obeyed));
            prop_assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), text);
        }

        #[test]
        fn no_text_reaches_a_terminal_raw(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(is_obeyed));
        }
    }
}
