//! The words for learners: `list`, `start`, `reset`, `check`, `hint`, `solution`.

mod attempt;
mod place;

use std::{
    fmt::Display,
    io::{Write, stdout},
};

use anyhow::{Context, ensure};

pub use self::attempt::check;
pub(crate) use self::place::copy_files;
use self::place::{Place, argument, copy_start, missing, work};
use crate::{
    catalogue::{self, Lab, Level},
    config::{Language, Start},
    progress::Progress,
    words::{Locale, make_lab, say},
};

/// Writes a line.
fn put(text: impl Display) -> anyhow::Result<()> {
    writeln!(stdout(), "{text}").context("it cannot be written to standard output")
}

/// A row for each lab.
///
/// # Errors
/// If the labs cannot be read.
pub fn list(locale: Locale) -> anyhow::Result<()> {
    let progress = Progress::read(&work())?;
    for lab in catalogue::all()? {
        let tried = progress.of(lab.number);
        let state = match (tried.passed, tried.attempts) {
            (true, _) => say(locale, "passed", "сдано").to_owned(),
            (false, 0) => "–".to_owned(),
            (false, _) => {
                format!("{} {} {}", tried.best_score, say(locale, "of", "из"), lab.properties.len())
            }
        };
        let level = match lab.level {
            Level::Easy => say(locale, "easy", "просто"),
            Level::Moderate => say(locale, "moderate", "средне"),
            Level::Hard => say(locale, "hard", "сложно"),
        };
        let minutes = say(locale, "min", "мин");
        let title = lab.title.of(locale);
        put(format_args!("{:>2}  {title:<58} {level:<9} {:>3} {minutes}  {state}", lab.number, lab.minutes))?;
        for missing in missing(&lab) {
            let what = missing.of(locale);
            put(format_args!("      {}: {what}", say(locale, "missing here", "здесь не хватает")))?;
        }
    }
    Ok(())
}

/// Copies a start.
///
/// # Errors
/// If there is something in the place already, or the language has no start.
pub fn start(start: &Start, locale: Locale) -> anyhow::Result<()> {
    let lab = catalogue::lab(start.number)?;
    let place = Place::of(&lab, start.dir.as_deref());
    let there = start.dir.as_deref().map_or_else(String::new, |dir| format!(" --dir {}", argument(dir)));
    let again = make_lab(&format!("reset {}{there}", lab.number));
    let text =
        say(locale, "{dir} is there already; {again} moves it aside", "{dir} уже есть; {again} отложит его");
    let text = text.replace("{dir}", &place.dir.display().to_string()).replace("{again}", &again);
    ensure!(!place.dir.exists(), "{text}");
    put_start(&lab, &place, start.lang, locale)
}

/// Moves what is there aside, and copies the start.
///
/// # Errors
/// As [`start`].
pub fn reset(start: &Start, locale: Locale) -> anyhow::Result<()> {
    let lab = catalogue::lab(start.number)?;
    let place = Place::of(&lab, start.dir.as_deref());
    if place.dir.exists() {
        let aside = place.aside();
        std::fs::rename(&place.dir, &aside)?;
        put(format_args!("{} {}", say(locale, "What you wrote is in", "Ваш код теперь в"), aside.display()))?;
    }
    put_start(&lab, &place, start.lang, locale)
}

fn put_start(lab: &Lab, place: &Place, language: Language, locale: Locale) -> anyhow::Result<()> {
    let edit = copy_start(lab, language, &place.dir)?;
    let readme = say(locale, "README.md", "README.ru.md");
    put(format_args!("{:<8} {}", say(locale, "task", "задание"), lab.dir.join(readme).display()))?;
    put(format_args!("{:<8} {}", say(locale, "edit", "правьте"), edit.display()))?;
    let check = make_lab(&format!("check {}{}", lab.number, place.argument(lab)));
    put(format_args!("{:<8} {check}", say(locale, "check", "проверка")))
}

/// Shows the next hint, or after a pass all.
///
/// # Errors
/// If there is no such lab.
pub fn hint(number: u32, locale: Locale) -> anyhow::Result<()> {
    let lab = catalogue::lab(number)?;
    let mut progress = Progress::read(&work())?;
    let tried = progress.of(number);
    let shown = if tried.passed { lab.hints.len() } else { (tried.hints + 1).min(lab.hints.len()) };
    for (at, hint) in (1..).zip(&lab.hints[..shown]) {
        put(format_args!("{at} {} {}: {}", say(locale, "of", "из"), lab.hints.len(), hint.of(locale)))?;
    }
    if tried.passed {
        put(format_args!("\n{}", lab.after.of(locale)))?;
        return put(format_args!("{}", lab.dir.join("solution").display()));
    }
    progress.hinted(number, shown)
}

/// Says where the solution is.
///
/// # Errors
/// If the lab is not passed yet.
pub fn solution(number: u32, spoil: bool, locale: Locale) -> anyhow::Result<()> {
    let lab = catalogue::lab(number)?;
    let passed = Progress::read(&work())?.of(number).passed;
    let why = say(
        locale,
        "lab {} is not passed yet; --spoil shows it all the same",
        "задание {} ещё не сдано; --spoil покажет и так",
    );
    ensure!(passed || spoil, "{}", why.replace("{}", &number.to_string()));
    put(lab.dir.join("solution").display())?;
    put(lab.after.of(locale))
}
