//! What a learner sees on the terminal.

use std::{
    fmt::Display,
    io::{Write, stdout},
    path::Path,
};

use crate::{
    catalogue::Lab,
    check::Outcome,
    verdict::{Finding, Status},
    words::{Locale, make_lab, say},
};

/// What the command is told that checks once more, besides lab, seed and property.
#[derive(Debug)]
pub struct Again {
    /// The directory, if it is not the usual one, and options; empty, or with a space before.
    pub rest: String,
    /// Whether one property alone was checked.
    pub only: bool,
    /// Whether the check went on after a failure.
    pub all: bool,
}

/// Shows a check in one language.
#[derive(Debug, Clone, Copy)]
pub struct Text(pub Locale);

impl Text {
    /// What is about to be checked.
    pub fn head(self, lab: &Lab, seed: u64) {
        let word = say(self.0, "Lab", "Задание");
        put(format_args!("{word} {} · {}    seed {seed}", lab.number, lab.title.of(self.0)));
    }

    /// A property, as soon as it was tried.
    pub fn finding(self, lab: &Lab, finding: &Finding) {
        let locale = self.0;
        let sign = match finding.status {
            Status::Pass => '✓',
            Status::Fail => '✗',
            Status::Unknown => '?',
            Status::NotTried => '–',
        };
        let title = lab.property(finding.id).map_or("", |property| property.title.of(locale));
        let unit = say(locale, "s", "с");
        put(format_args!("  {sign} {} {title}    {:.1} {unit}", finding.id, finding.took.as_secs_f64()));
        let row = |name: &str, text: &dyn Display| put(format_args!("      {name:<9} {text}"));
        if let Some(failed) = &finding.failed {
            row(say(locale, "expected", "ожидалось"), &failed.expected.of(locale));
            row(say(locale, "saw", "получено"), &failed.saw.of(locale));
            if let Some(first) = &failed.first {
                row(say(locale, "first", "например"), &first.of(locale));
            }
            if let Some(guess) = &failed.guess {
                row(say(locale, "perhaps", "возможно"), &guess.of(locale));
            }
        }
        if let Some(message) = &finding.message {
            row(say(locale, "because", "почему"), &message.of(locale));
        }
    }

    /// What came out, and what to do next.
    pub fn end(self, lab: &Lab, outcome: &Outcome, out: &Path, again: &Again) {
        let locale = self.0;
        if let Some(why) = &outcome.unusable {
            let cannot = say(locale, "The program cannot be started", "Программу не удалось запустить");
            put(format_args!("  ✗ {cannot}: {}", why.0.of(locale)));
            let log = out.join("program.log");
            if log.metadata().is_ok_and(|log| log.len() > 0) {
                put(format_args!("      {:<9} {}", say(locale, "look", "смотрите"), log.display()));
            }
            return;
        }
        if let Some(message) = &outcome.message {
            put(format_args!("  ? {}", message.of(locale)));
        }
        let number = lab.number;
        if let Some(failed) = outcome.findings.iter().find(|finding| finding.status == Status::Fail) {
            let hint = make_lab(&format!("hint {number}"));
            let repeat = make_lab(&format!(
                "check {number}{} --seed {} --only {}",
                again.rest, outcome.seed, failed.id
            ));
            put(format_args!(
                "      {:<9} {}",
                say(locale, "look", "смотрите"),
                out.join("program.log").display()
            ));
            put(format_args!("      {:<9} {hint}", say(locale, "next", "дальше")));
            let data = say(locale, "again with the same data", "ещё раз на тех же данных");
            put(format_args!("      {:<9} {repeat}    {data}", ""));
            let rest = outcome.findings.iter().any(|finding| finding.status == Status::NotTried);
            if rest && !again.only && !again.all {
                put(say(
                    locale,
                    "  – the others were not tried: the first failure comes first (--all tries them)",
                    "  – остальное не проверялось: сначала первая ошибка (--all проверит всё)",
                ));
            }
        }
        let (score, max) = (outcome.score(), outcome.findings.len());
        let unit = say(locale, "s", "с");
        let points = match (locale, again.only) {
            (Locale::En, false) => format!("{score} of {max} points"),
            (Locale::Ru, false) => format!("{score} из {max} баллов"),
            (Locale::En, true) => format!("{score} of 1 that was tried ({max} properties in all)"),
            (Locale::Ru, true) => format!("{score} из 1 проверенного (всего свойств {max})"),
        };
        put(format_args!("{points} · {:.1} {unit} · {}", outcome.took.as_secs_f64(), out.display()));
        if outcome.status == Status::Unknown {
            put(say(
                locale,
                "Unknown: this says nothing about your program. Run it again on a quieter machine.",
                "Неизвестно: о вашей программе это ничего не говорит. Повторите, когда машина свободнее.",
            ));
        }
        if outcome.status == Status::Pass && score == max {
            put(say(locale, "Passed.", "Сдано."));
        }
    }
}

/// Writes a line. That nobody reads it is no failure of the check.
fn put(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}
