//! What came out of a check: of each property, and of all together.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::words::{Locale, Text};

/// What came out of a property, or of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not, and the program is why.
    Fail,
    /// Nobody knows: something of ours failed, or the machine stalled.
    Unknown,
    /// It was not looked at.
    NotTried,
}

impl Status {
    /// The word for it in JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Unknown => "unknown",
            Status::NotTried => "not_tried",
        }
    }
}

/// What came out of a property.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The property.
    pub id: u32,
    /// Whether it holds.
    pub status: Status,
    /// What was expected, and seen instead, if it does not.
    pub failed: Option<Failed>,
    /// Why nobody knows, or why it was not tried.
    pub message: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Finding {
    /// One that was not looked at.
    pub const fn not_tried(id: u32) -> Self {
        Finding { id, status: Status::NotTried, failed: None, message: None, took: Duration::ZERO }
    }
}

/// What all findings come to: a failure counts more than what nobody knows.
pub fn overall(findings: &[Finding]) -> Status {
    let any = |status| findings.iter().any(|finding| finding.status == status);
    if any(Status::Fail) {
        Status::Fail
    } else if any(Status::Unknown) {
        Status::Unknown
    } else if any(Status::Pass) {
        Status::Pass
    } else {
        Status::NotTried
    }
}

/// The program did not do what it should. Every other error of a check is our own, and then nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub saw: String,
    /// The first that was wrong.
    pub first: Option<String>,
    /// What was expected and seen, in Russian. Only what every lab may say is translated.
    pub in_russian: Option<Box<(String, String)>>,
    /// A guess at the cause.
    pub guess: Option<Box<Text>>,
}

impl Failed {
    /// Expected one thing, and saw another.
    pub fn new(expected: impl fmt::Display, saw: impl fmt::Display) -> Self {
        let (expected, saw) = (expected.to_string(), saw.to_string());
        Failed { expected, saw, first: None, in_russian: None, guess: None }
    }

    /// The same in Russian.
    #[must_use]
    pub fn in_russian(self, expected: impl fmt::Display, saw: impl fmt::Display) -> Self {
        Failed { in_russian: Some(Box::new((expected.to_string(), saw.to_string()))), ..self }
    }

    /// Guesses at the cause.
    #[must_use]
    pub fn guess(self, en: impl fmt::Display, ru: impl fmt::Display) -> Self {
        let text = Text { en: en.to_string(), ru: ru.to_string() };
        Failed { guess: Some(Box::new(text)), ..self }
    }

    /// What was expected, and seen, in a language.
    pub fn of(&self, locale: Locale) -> (&str, &str) {
        match (locale, self.in_russian.as_deref()) {
            (Locale::Ru, Some((expected, saw))) => (expected, saw),
            (Locale::Ru | Locale::En, _) => (&self.expected, &self.saw),
        }
    }

    /// Names the first that was wrong.
    #[must_use]
    pub fn first(self, first: impl fmt::Display) -> Self {
        Failed { first: Some(first.to_string()), ..self }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, saw {}", self.expected, self.saw)?;
        if let Some(first) = &self.first {
            write!(f, "; first: {first}")?;
        }
        self.guess.as_ref().map_or(Ok(()), |guess| write!(f, "; {}", guess.en))
    }
}

impl std::error::Error for Failed {}

/// The program cannot be checked at all: it cannot be built, or it ends before it has done anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable(pub Text);

impl Unusable {
    /// Why, in both languages.
    pub fn new(en: impl fmt::Display, ru: impl fmt::Display) -> Self {
        Unusable(Text { en: en.to_string(), ru: ru.to_string() })
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.en)
    }
}

impl std::error::Error for Unusable {}

/// The property cannot be tried on this program or machine, and nobody is to blame.
#[derive(Debug)]
pub struct NotTried(pub String);

impl fmt::Display for NotTried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotTried {}

/// Expects so many of so many.
///
/// # Errors
/// If it is another number.
pub fn expect_count(what: &str, expected: usize, saw: usize) -> Result<(), Failed> {
    if expected == saw { Ok(()) } else { Err(Failed::new(format_args!("{what}: {expected}"), saw)) }
}

/// Expects at most so much.
///
/// # Errors
/// If it is more.
pub fn expect_at_most<T: PartialOrd + fmt::Debug>(what: &str, limit: T, saw: T) -> Result<(), Failed> {
    if saw <= limit {
        Ok(())
    } else {
        Err(Failed::new(format_args!("{what}: at most {limit:?}"), format_args!("{saw:?}")))
    }
}

/// Expects that none of those looked at is wrong; names the first, and how many of how many are.
///
/// # Errors
/// If there is one.
pub fn expect_all<T>(
    what: &str,
    items: impl IntoIterator<Item = T>,
    wrong: impl Fn(&T) -> Option<String>,
) -> Result<(), Failed> {
    let (mut all, mut first, mut bad) = (0, None, 0);
    for item in items {
        all += 1;
        if let Some(why) = wrong(&item) {
            bad += 1;
            first.get_or_insert(why);
        }
    }
    match first {
        None => Ok(()),
        Some(first) => {
            Err(Failed::new(format_args!("{what}: {all} of {all}"), format_args!("{} of {all}", all - bad))
                .first(first))
        }
    }
}
