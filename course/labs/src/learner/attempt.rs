//! `lab check`: one attempt of a learner, or several with a seed each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;

use super::{
    place::{Place, now, work},
    put,
};
use crate::{
    catalogue::{self, Lab},
    check::{self, Order, Outcome, Shared},
    config::{Check, Format},
    progress::Progress,
    report::{self, Again, Text},
    run::Wanted,
    verdict::{Status, Trouble},
    words::{Locale, text},
};

/// Checks a program, and says what came out.
///
/// # Errors
/// If there is no such lab or program.
pub async fn check(arguments: &Check, locale: Locale) -> anyhow::Result<ExitCode> {
    let (lab, dir) = target(arguments)?;
    let known = lab.properties.iter().map(|property| property.id.to_string()).collect::<Vec<_>>().join(", ");
    if let Some(only) = arguments.only.filter(|only| lab.property(*only).is_none()) {
        Err(Trouble(text!(
            "lab {} has no property {only}: there are {known}",
            "в задании {} нет свойства {only}: есть {known}",
            lab.number
        )))?;
    }
    let shared = Shared::saying(locale);
    let first = arguments.seed.unwrap_or_else(|| rand::random_range(1..100_000));
    let again = again(arguments, &lab, &dir);
    let mut code = ExitCode::SUCCESS;
    for seed in (first..).take(usize::try_from(arguments.repeat)?) {
        let (outcome, out) = once(arguments, &lab, &dir, seed, &shared, locale).await?;
        code = exit_code(&outcome);
        show(arguments.format, &lab, &outcome, &out, &again, locale)?;
        if outcome.status != Status::Pass {
            break;
        }
    }
    Ok(code)
}

async fn once(
    arguments: &Check,
    lab: &Lab,
    dir: &Path,
    seed: u64,
    shared: &Shared,
    locale: Locale,
) -> anyhow::Result<(Outcome, PathBuf)> {
    let out = arguments.out.clone().unwrap_or_else(|| dir.join("results").join(now()));
    let wanted = Wanted { only: arguments.only, all: arguments.all, without: None };
    let limit = Order::limit_of(lab, arguments.patience);
    let order = Order { lab, dir, out: out.clone(), seed, wanted, patience: arguments.patience, limit };
    let text = Text(locale);
    let is_text = arguments.format == Format::Text;
    if is_text {
        text.head(lab, seed);
    }
    let show = move |lab: &Lab, finding: &_| {
        if is_text {
            text.finding(lab, finding);
        }
    };
    let outcome = check::check(&order, shared, &show).await;
    let mut progress = Progress::read(&work())?;
    report::write(lab, &outcome, progress.of(lab.number).hints, &out)?;
    if arguments.out.is_none() {
        link_latest(&out)?;
    }
    // One property alone, or another's program, says nothing of how far a learner is.
    if arguments.only.is_none() && dir.starts_with(work()) {
        progress.checked(lab.number, outcome.status, outcome.score())?;
    }
    Ok((outcome, out))
}

/// The lab, and the directory of the program.
fn target(arguments: &Check) -> anyhow::Result<(Lab, PathBuf)> {
    let Some(number) = arguments.number else {
        let dir = std::env::current_dir()?;
        let name = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let number = name.split('-').next().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| {
            Trouble(text!(
                "say which lab: lab check 1, or go to a directory that is named after one",
                "укажите задание: lab check 1, или перейдите в каталог, названный по заданию"
            ))
        })?;
        return Ok((catalogue::lab(number)?, dir));
    };
    let lab = catalogue::lab(number)?;
    let dir = Place::of(&lab, arguments.dir.as_deref()).dir;
    if !dir.is_dir() {
        Err(Trouble(text!(
            "{} is not there: `lab start {number}` makes it",
            "{} нет: его создаёт `lab start {number}`",
            dir.display()
        )))?;
    }
    Ok((lab, dir.canonicalize()?))
}

/// What the same check is told besides lab, seed and property.
fn again(arguments: &Check, lab: &Lab, dir: &Path) -> Again {
    let place = Place::of(lab, Some(dir)).argument(lab);
    let patience = arguments.patience;
    let rest = if patience > 1.0 { format!("{place} --patience {patience}") } else { place };
    Again { rest, only: arguments.only.is_some(), all: arguments.all }
}

fn link_latest(out: &Path) -> anyhow::Result<()> {
    let latest = out.with_file_name("latest");
    let _ = fs::remove_file(&latest);
    let name = out.file_name().context("a directory has a name")?;
    std::os::unix::fs::symlink(name, &latest).with_context(|| latest.display().to_string())
}

fn show(
    format: Format,
    lab: &Lab,
    outcome: &Outcome,
    out: &Path,
    again: &Again,
    locale: Locale,
) -> anyhow::Result<()> {
    match format {
        Format::Json => put(fs::read_to_string(out.join("result.json"))?.trim_end()),
        Format::Junit => put(report::junit(lab, outcome)?.trim_end()),
        Format::Text => {
            Text(locale).end(lab, outcome, out, again);
            if outcome.status != Status::Pass || outcome.score() < outcome.findings.len() {
                return Ok(());
            }
            for hint in &lab.hints {
                put(format_args!("  · {}", hint.of(locale)))?;
            }
            put(lab.after.of(locale))
        }
    }
}

/// 0 passed, 1 failed, 2 unusable, 3 unknown.
fn exit_code(outcome: &Outcome) -> ExitCode {
    if outcome.unusable.is_some() {
        return ExitCode::from(2);
    }
    match outcome.status {
        Status::Pass => ExitCode::SUCCESS,
        Status::Fail => ExitCode::FAILURE,
        Status::Unknown | Status::NotTried => ExitCode::from(3),
    }
}
