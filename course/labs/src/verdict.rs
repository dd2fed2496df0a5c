//! What came out of a check: of each property, and of all together.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::words::{Text, text};

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
    pub message: Option<Text>,
    /// How long it took.
    pub took: Duration,
}

impl Finding {
    /// What is wrong, in English: for files and not for learners.
    pub fn why(&self) -> Option<String> {
        let message = || self.message.as_ref().map(|message| message.en.clone());
        self.failed.as_ref().map(ToString::to_string).or_else(message)
    }

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
    pub expected: Text,
    /// What was seen.
    pub saw: Text,
    /// The first that was wrong.
    pub first: Option<Box<Text>>,
    /// A guess at the cause.
    pub guess: Option<Box<Text>>,
}

impl Failed {
    /// Expected one thing, and saw another.
    pub const fn new(expected: Text, saw: Text) -> Self {
        Failed { expected, saw, first: None, guess: None }
    }

    /// Guesses at the cause.
    #[must_use]
    pub fn guess(self, guess: Text) -> Self {
        Failed { guess: Some(Box::new(guess)), ..self }
    }

    /// Names the first that was wrong.
    #[must_use]
    pub fn first(self, first: Text) -> Self {
        Failed { first: Some(Box::new(first)), ..self }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, saw {}", self.expected.en, self.saw.en)?;
        if let Some(first) = &self.first {
            write!(f, "; first: {}", first.en)?;
        }
        self.guess.as_ref().map_or(Ok(()), |guess| write!(f, "; {}", guess.en))
    }
}

impl std::error::Error for Failed {}

/// The program cannot be checked at all: it cannot be built, or it ends before it has done anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.en)]
pub struct Unusable(pub Text);

/// The property cannot be tried on this program or machine, and nobody is to blame.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.en)]
pub struct NotTried(pub Text);

/// The check itself cannot go on; the program is not to blame.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.en)]
pub struct Trouble(pub Text);

/// Why, in both languages as far as it is known.
pub fn why(error: &anyhow::Error) -> Text {
    error
        .downcast_ref::<Trouble>()
        .map_or_else(|| Text::same(format_args!("{error:#}")), |trouble| trouble.0.clone())
}

/// Expects so many of so many.
///
/// # Errors
/// If it is another number.
pub fn expect_count(what: Text, expected: usize, saw: usize) -> Result<(), Failed> {
    let Text { en, ru } = what;
    if expected == saw {
        Ok(())
    } else {
        Err(Failed::new(text!("{en}: {expected}", "{ru}: {expected}"), Text::same(saw)))
    }
}

/// Expects at most so much, which is told as `shown` says.
///
/// # Errors
/// If it is more.
pub fn expect_at_most<T: PartialOrd + Copy>(
    what: Text,
    limit: T,
    saw: T,
    shown: impl Fn(T) -> Text,
) -> Result<(), Failed> {
    if saw <= limit {
        Ok(())
    } else {
        let (Text { en, ru }, Text { en: most, ru: most_ru }) = (what, shown(limit));
        let expected = text!("{en}: at most {most}", "{ru}: не больше {most_ru}");
        Err(Failed::new(expected, shown(saw)))
    }
}

/// Expects that none of those looked at is wrong; names the first, and how many of how many are.
///
/// # Errors
/// If there is one.
pub fn expect_all<T>(
    what: Text,
    items: impl IntoIterator<Item = T>,
    wrong: impl Fn(&T) -> Option<Text>,
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
            let (Text { en, ru }, good) = (what, all - bad);
            let expected = text!("{en}: {all} of {all}", "{ru}: {all} из {all}");
            Err(Failed::new(expected, text!("{good} of {all}", "{good} из {all}")).first(first))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::seconds;

    #[test]
    fn what_was_expected_and_seen_is_told_in_both_languages() {
        let wrong = |n: &u32| (*n > 1).then(|| text!("line {n}", "строка {n}"));
        let failed = expect_all(text!("lines", "строки"), [1, 2, 3], wrong).expect_err("two are wrong");
        assert_eq!(failed.to_string(), "expected lines: 3 of 3, saw 1 of 3; first: line 2");
        assert_eq!((&*failed.expected.ru, &*failed.saw.ru), ("строки: 3 из 3", "1 из 3"));
        assert_eq!(failed.first.expect("the first").ru, "строка 2");
        let failed = expect_at_most(text!("calls", "вызовов"), 3, 4, Text::same).expect_err("too many");
        assert_eq!(
            (&*failed.expected.en, &*failed.expected.ru),
            ("calls: at most 3", "вызовов: не больше 3")
        );
        let (limit, took) = (Duration::from_millis(1_500), Duration::from_millis(1_512));
        let late = expect_at_most(text!("time", "время"), limit, took, seconds).expect_err("too long");
        assert_eq!(late.to_string(), "expected time: at most 1.5 s, saw 1.512 s");
        assert_eq!((&*late.expected.ru, &*late.saw.ru), ("время: не больше 1,5 с", "1,512 с"));
    }

    #[test]
    fn why_a_check_cannot_go_on_is_told_in_both_languages_where_it_is_known() {
        let trouble = anyhow::Error::from(Trouble(text!("no node", "нет узла"))).context("starting");
        assert_eq!(why(&trouble), text!("no node", "нет узла"));
        let other = anyhow::anyhow!("broken pipe").context("writing");
        assert_eq!(why(&other), Text::same("writing: broken pipe"));
    }
}
