//! `lab grade`: the labs of many learners, in one table.

use std::{
    fs,
    io::{Write, stdout},
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
    let submissions = submissions(&labs, &arguments.dirs)?;
    ensure!(!submissions.is_empty(), "no lab was found: expected LEARNER/01-four-wires/run and so on");
    let seed = arguments.seed.unwrap_or_else(|| rand::random_range(1..100_000));
    let shared = Shared::new();
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
        let verdict = verdict(outcome);
        let (score, max) = (outcome.score(), outcome.findings.len());
        let of = say(locale, "of", "из");
        writeln!(
            stdout(),
            "{:<24} {:<22} {verdict:<8} {score} {of} {max}",
            submission.student,
            submission.lab.name()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The labs in the directories, in the order of the learners' names.
fn submissions<'a>(labs: &'a [Lab], dirs: &[PathBuf]) -> anyhow::Result<Vec<Submission<'a>>> {
    let mut submissions = Vec::new();
    for dir in dirs {
        let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
        let student = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
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
    Ok(submissions)
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

const fn verdict(outcome: &Outcome) -> &'static str {
    if outcome.unusable.is_some() { "error" } else { outcome.status.as_str() }
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
    ])?;
    for (submission, outcome) in rows {
        table.write_record([
            submission.student.clone(),
            submission.lab.name(),
            outcome.language.to_owned(),
            verdict(outcome).to_owned(),
            outcome.score().to_string(),
            outcome.findings.len().to_string(),
            format!("{:.1}", outcome.took.as_secs_f64()),
            submission.hints.to_string(),
            outcome.seed.to_string(),
        ])?;
    }
    fs::write(file, table.into_inner()?).with_context(|| file.display().to_string())
}
