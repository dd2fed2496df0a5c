//! `lab grade`: the labs of many learners, in one table.

use std::{
    fs,
    io::{Write, stderr, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};

use crate::{
    catalogue::{self, Lab},
    check::{self, Order, Outcome, Shared},
    config::Grade,
    progress::Progress,
    report,
    run::Wanted,
    verdict::Status,
    words::{Locale, say},
};

/// A lab of a learner.
#[derive(Debug)]
struct Submission<'a> {
    student: String,
    lab: &'a Lab,
    dir: PathBuf,
    hints: usize,
}

/// Checks them one after the other; those that nobody can judge once more at the end.
///
/// # Errors
/// If there is nothing to check, or the table cannot be written.
pub async fn grade(arguments: &Grade, locale: Locale) -> anyhow::Result<ExitCode> {
    let labs = catalogue::all()?;
    let (submissions, skipped) = submissions(&labs, &arguments.dirs, locale)?;
    skipped.iter().try_for_each(|skipped| writeln!(stderr(), "{skipped}"))?;
    let none = say(
        locale,
        "no lab was found: expected LEARNER/01-four-wires/run and so on",
        "ни одного задания не найдено: ожидается УЧЕНИК/01-four-wires/run и так далее",
    );
    ensure!(!submissions.is_empty(), "{none}");
    let seed = arguments.seed.unwrap_or_else(|| rand::random_range(1..100_000));
    let seed_word = say(locale, "seed", "начальное значение (seed)");
    writeln!(stdout(), "{seed_word} {seed}")?;
    let shared = Shared::saying(locale);
    let mut outcomes = Vec::new();
    for submission in &submissions {
        outcomes.push(one(arguments, submission, seed, &shared).await?);
    }
    for (submission, outcome) in submissions.iter().zip(&mut outcomes) {
        if outcome.status == Status::Unknown && outcome.unusable.is_none() {
            *outcome = one(arguments, submission, seed, &shared).await?;
        }
    }
    let rows: Vec<_> = submissions.iter().zip(&outcomes).collect();
    write_table(&arguments.csv, &rows)?;
    for (submission, outcome) in rows {
        let verdict = shown_verdict(outcome, locale);
        let (score, max) = (outcome.score(), outcome.findings.len());
        let of = say(locale, "of", "из");
        let (student, lab) = (&submission.student, submission.lab.name());
        let failed = first_failed(outcome).and_then(|id| submission.lab.property(id));
        let failed = failed.map_or_else(String::new, |property| {
            format!("  ✗ {} {}", property.id, property.title.of(locale))
        });
        writeln!(stdout(), "{student:<24} {lab:<22} {verdict:<10} {score} {of} {max}{failed}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The labs in the directories, in the order of the learners' names.
///
/// What looks like a submission and is not checked is named besides.
fn submissions<'a>(
    labs: &'a [Lab],
    dirs: &[PathBuf],
    locale: Locale,
) -> anyhow::Result<(Vec<Submission<'a>>, Vec<String>)> {
    let (mut submissions, mut skipped) = (Vec::new(), Vec::new());
    for dir in dirs {
        let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
        let student = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if !dir.is_dir() {
            let what = say(locale, "not a directory, skipped", "это не каталог, пропущено");
            skipped.push(format!("{student}: {what}"));
            continue;
        }
        skipped.extend(misnamed(labs, &dir, &student, locale)?);
        let progress = Progress::read(&dir)?;
        for lab in labs {
            let own = dir.join(lab.name());
            if own.is_dir() {
                let hints = progress.of(lab.number).hints;
                submissions.push(Submission { student: student.clone(), lab, dir: own, hints });
            }
        }
    }
    submissions.sort_by(|one, other| (&one.student, one.lab.number).cmp(&(&other.student, other.lab.number)));
    Ok((submissions, skipped))
}

/// The directories of a learner that are not named as a lab is, each with the name that is probably meant.
fn misnamed(labs: &[Lab], dir: &Path, student: &str, locale: Locale) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Hidden ones, and what `lab reset` has moved aside, are meant to be left out.
        let is_left_out = name.starts_with(['.', '_']) || name.contains(".bak-");
        if entry.path().is_dir() && !is_left_out && labs.iter().all(|lab| lab.name() != name) {
            names.push(name);
        }
    }
    names.sort();
    let skipped = names.iter().map(|name| {
        let meant = meant(labs, name).map_or_else(|| "NN-NAME".to_owned(), Lab::name);
        let text = say(
            locale,
            "not a lab's directory (expected {}), skipped",
            "не каталог задания (ожидается {}), пропущено",
        );
        format!("{student}/{name}: {}", text.replace("{}", &meant))
    });
    Ok(skipped.collect())
}

/// The lab whose name, or else whose number, is in a text.
fn meant<'a>(labs: &'a [Lab], name: &str) -> Option<&'a Lab> {
    let name = name.to_lowercase().replace(['_', ' '], "-");
    let number = || name.split(|char: char| !char.is_ascii_digit()).find_map(|part| part.parse::<u32>().ok());
    labs.iter()
        .find(|lab| name.contains(&lab.slug))
        .or_else(|| labs.iter().find(|lab| number() == Some(lab.number)))
}

async fn one(
    arguments: &Grade,
    submission: &Submission<'_>,
    seed: u64,
    shared: &Shared,
) -> anyhow::Result<Outcome> {
    let out = arguments.out.join(&submission.student).join(submission.lab.name());
    let order = Order {
        lab: submission.lab,
        dir: &submission.dir,
        out: out.clone(),
        seed,
        // A point for each property that holds, whichever does not.
        wanted: Wanted { all: true, ..Wanted::default() },
        patience: arguments.patience,
        limit: Order::limit_of(submission.lab, arguments.patience),
    };
    let outcome = check::check(&order, shared, &|_, _| {}).await;
    report::write(submission.lab, &outcome, submission.hints, &out)?;
    Ok(outcome)
}

/// The verdict on the screen.
const fn shown_verdict(outcome: &Outcome, locale: Locale) -> &'static str {
    if outcome.unusable.is_some() {
        return say(locale, "error", "ошибка");
    }
    match outcome.status {
        Status::Pass => say(locale, "pass", "сдано"),
        Status::Fail => say(locale, "fail", "не сдано"),
        Status::Unknown => say(locale, "unknown", "неизвестно"),
        Status::NotTried => say(locale, "not tried", "не проверено"),
    }
}

/// The first property that does not hold.
fn first_failed(outcome: &Outcome) -> Option<u32> {
    outcome.findings.iter().find(|finding| finding.status == Status::Fail).map(|finding| finding.id)
}

fn write_table(file: &Path, rows: &[(&Submission<'_>, &Outcome)]) -> anyhow::Result<()> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record([
        "student",
        "lab",
        "language",
        "verdict",
        "score",
        "max_score",
        "seconds",
        "hints",
        "seed",
        "first_failed",
    ])?;
    for (submission, outcome) in rows {
        table.write_record([
            submission.student.clone(),
            submission.lab.name(),
            outcome.language.to_owned(),
            outcome.verdict().to_owned(),
            outcome.score().to_string(),
            outcome.findings.len().to_string(),
            format!("{:.1}", outcome.took.as_secs_f64()),
            submission.hints.to_string(),
            outcome.seed.to_string(),
            first_failed(outcome).map_or_else(String::new, |id| id.to_string()),
        ])?;
    }
    fs::write(file, table.into_inner()?).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misnamed_directory_is_named_and_one_that_is_hidden_is_not() {
        let class = tempfile::tempdir().expect("a directory");
        for name in
            ["kept-word-8", "lab 3", "01-four-wires", ".git", "notes", "08-kept-word.bak-20260101T000000"]
        {
            fs::create_dir_all(class.path().join("vera").join(name)).expect("writable");
        }
        fs::write(class.path().join("list.txt"), "").expect("writable");
        let labs = catalogue::all().expect("readable");
        let dirs = [class.path().join("vera"), class.path().join("list.txt")];
        let (found, skipped) = submissions(&labs, &dirs, Locale::En).expect("readable");
        assert_eq!(found.len(), 1);
        assert_eq!(
            skipped,
            [
                "vera/kept-word-8: not a lab's directory (expected 08-kept-word), skipped",
                "vera/lab 3: not a lab's directory (expected 03-own-rpc), skipped",
                "vera/notes: not a lab's directory (expected NN-NAME), skipped",
                "list.txt: not a directory, skipped",
            ]
        );
    }
}
