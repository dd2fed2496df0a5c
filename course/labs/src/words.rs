//! Text in the two languages of the course.

use std::{fmt::Display, time::Duration};

use clap::ValueEnum;
use serde::Deserialize;

/// A language that texts are shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Locale {
    /// English.
    En,
    /// Russian.
    Ru,
}

impl Locale {
    /// That of the environment: Russian if `LC_ALL`, `LC_MESSAGES` or `LANG` says so.
    pub fn of_environment() -> Self {
        let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
        let set = names.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty());
        if set.is_some_and(|value| value.starts_with("ru")) { Locale::Ru } else { Locale::En }
    }
}

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// English.
    pub en: String,
    /// Russian.
    pub ru: String,
}

impl Text {
    /// What needs no translation: a number, or what a program has said.
    pub fn same(value: impl Display) -> Self {
        let text = value.to_string();
        Text { en: text.clone(), ru: text }
    }

    /// The text in one of them.
    pub fn of(&self, locale: Locale) -> &str {
        match locale {
            Locale::En => &self.en,
            Locale::Ru => &self.ru,
        }
    }
}

/// A [`Text`] of two formats with the same values, which no function could take.
macro_rules! text {
    ($en:literal, $ru:literal $(, $value:expr)* $(,)?) => {
        $crate::words::Text { en: format!($en $(, $value)*), ru: format!($ru $(, $value)*) }
    };
}
pub(crate) use text;

/// A time for people: in milliseconds below a second, in seconds from there on. To the millisecond: rounded further,
/// what is just above a limit would read as the limit itself.
pub fn seconds(time: Duration) -> Text {
    let (whole, ms) = (time.as_secs(), time.subsec_millis());
    if whole == 0 {
        return text!("{ms} ms", "{ms} мс");
    }
    let digits = format!("{ms:03}");
    match digits.trim_end_matches('0') {
        "" => text!("{whole} s", "{whole} с"),
        part => text!("{whole}.{part} s", "{whole},{part} с"),
    }
}

/// What something held, or that it held nothing.
pub fn held(value: Option<impl Display>) -> Text {
    value.map_or_else(|| text!("none", "нет"), Text::same)
}

/// A word as a shell takes it.
pub fn shell_word(text: &str) -> String {
    shlex::try_quote(text).expect("neither a path nor an argument has a NUL in it").into_owned()
}

/// The command line that runs `lab` with these arguments from the repository's directory. A shell reads it, then make,
/// and then another shell the arguments.
pub fn make_lab(arguments: &str) -> String {
    // What make would take for a variable.
    let arguments = arguments.replace('$', "$$");
    if arguments.contains(['"', '$', '`', '\\', '!']) {
        return format!("make lab {}", shell_word(&format!("ARGS={arguments}")));
    }
    format!("make lab ARGS=\"{arguments}\"")
}

/// One of two texts that stand in the code.
pub const fn say(locale: Locale, en: &'static str, ru: &'static str) -> &'static str {
    match locale {
        Locale::En => en,
        Locale::Ru => ru,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Text, held, make_lab, seconds, shell_word};

    #[test]
    fn a_time_is_told_as_people_say_it() {
        for (ms, en, ru) in [
            (0, "0 ms", "0 мс"),
            (812, "812 ms", "812 мс"),
            (1_000, "1 s", "1 с"),
            (1_300, "1.3 s", "1,3 с"),
            (1_304, "1.304 s", "1,304 с"),
            (60_050, "60.05 s", "60,05 с"),
        ] {
            let told = seconds(Duration::from_millis(ms));
            assert_eq!((&*told.en, &*told.ru), (en, ru), "{ms} ms");
        }
        assert_eq!(seconds(Duration::from_micros(999_999)).en, "999 ms");
    }

    #[test]
    fn a_command_means_the_same_after_two_shells_and_make() {
        assert_eq!(make_lab("check 1 '/no/my lab'"), "make lab ARGS=\"check 1 '/no/my lab'\"");
        for place in
            ["/no/my lab", "/no/ann's", "/no/$HOME", "/no/`id`", "/no/\"a\" 'b'!", "/no/\\", "/нет/а б"]
        {
            let line = make_lab(&format!("check 1 {}", shell_word(place)));
            let words = shlex::split(&line).expect("a command");
            let [make, lab, arguments] = &words[..] else { panic!("{line}") };
            assert_eq!((&**make, &**lab), ("make", "lab"));
            let arguments = arguments.strip_prefix("ARGS=").expect("the arguments").replace("$$", "$");
            assert_eq!(shlex::split(&arguments), Some(["check", "1", place].map(str::to_owned).to_vec()));
        }
    }

    #[test]
    fn what_is_not_there_is_told_in_both_languages() {
        assert_eq!(held(None::<u8>), text!("none", "нет"));
        assert_eq!(held(Some("log.INFO")), Text::same("log.INFO"));
        assert_eq!(held(Some(2)), Text::same("2"));
    }
}
