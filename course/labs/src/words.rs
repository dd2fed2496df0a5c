//! Text in the two languages of the course.

use std::fmt::Display;

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

/// The command line that runs `lab` with these arguments from the repository's directory.
pub fn make_lab(arguments: &str) -> String {
    format!("make lab ARGS=\"{arguments}\"")
}

/// One of two texts that stand in the code.
pub const fn say(locale: Locale, en: &'static str, ru: &'static str) -> &'static str {
    match locale {
        Locale::En => en,
        Locale::Ru => ru,
    }
}
