//! `lab verify`: the proof that the labs judge. Each start fails at its property, each solution passes, each mutant is
//! caught where it should be, and our own services pass what they can take part in.

mod job;
mod plan;

use std::{
    fmt::Display,
    io::{Write, stdout},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, stream};

use self::{
    job::{Expect, Job, Judged},
    plan::Plan,
};
use crate::{
    catalogue::{self, Lab},
    check::Shared,
    config::Verify,
};

/// How many run at a time, but for those that judge by time.
const AT_ONCE: usize = 2;

/// How often a check is repeated whose verdict is unknown: a busy machine is no failure of a lab.
const AGAIN: usize = 2;

/// Verifies labs, and says whether all is as it should be.
///
/// # Errors
/// If the labs cannot be read.
pub async fn verify(arguments: &Verify) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let mut labs = catalogue::all()?;
    labs.retain(|lab| arguments.numbers.is_empty() || arguments.numbers.contains(&lab.number));
    ensure!(!labs.is_empty(), "there is no such lab");
    if let Some((number, property)) = arguments.without {
        let lab = labs
            .iter()
            .find(|lab| lab.number == number)
            .context("--without names a lab that is not verified")?;
        ensure!(lab.property(property).is_some(), "lab {number} has no property {property}");
    }
    let plan = Plan::new(&labs, arguments)?;
    plan.skipped.iter().try_for_each(|skipped| put(format_args!("skip   {skipped}")))?;
    let shared = Shared::new();
    let mut judged = run(&plan.jobs, false, &shared).await?;
    judged.extend(run(&plan.jobs, true, &shared).await?);
    if arguments.full {
        put("       the same beside a busy machine")?;
        let _busy = plan::busy()?;
        judged.extend(run(&plan.busy, false, &shared).await?);
        judged.extend(run(&plan.busy, true, &shared).await?);
    }
    let wrong: Vec<&Judged> = judged.iter().filter(|judged| judged.wrong.is_some()).collect();
    for judged in &wrong {
        put(format_args!("WRONG  {}: {}", judged.name, judged.wrong.as_deref().unwrap_or_default()))?;
    }
    let seconds = begun.elapsed().as_secs();
    put(format_args!("{} of {} as expected, in {seconds} s", judged.len() - wrong.len(), judged.len()))?;
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs those jobs that are to run alone, or the others.
async fn run(jobs: &[Job<'_>], alone: bool, shared: &Shared) -> anyhow::Result<Vec<Judged>> {
    let at_once = if alone { 1 } else { AT_ONCE };
    let chosen = jobs.iter().filter(|job| job.lab.alone == alone);
    let mut running =
        stream::iter(chosen.map(|job| async move { (job, job.run(shared).await) })).buffer_unordered(at_once);
    let (mut judged, mut unknown) = (Vec::new(), Vec::new());
    while let Some((job, result)) = running.next().await {
        let result = result?;
        if result.unknown {
            unknown.push((job, result));
        } else {
            show(&result)?;
            judged.push(result);
        }
    }
    drop(running);
    for (job, mut result) in unknown {
        for _ in 0..AGAIN {
            put(format_args!("again  {}: {}", result.name, result.wrong.as_deref().unwrap_or_default()))?;
            result = job.run(shared).await?;
            if !result.unknown {
                break;
            }
        }
        show(&result)?;
        judged.push(result);
    }
    Ok(judged)
}

fn show(judged: &Judged) -> anyhow::Result<()> {
    let word = if judged.wrong.is_some() { "WRONG" } else { "ok" };
    put(format_args!("{word:<6} {:<58} {:>5.1} s", judged.name, judged.took.as_secs_f64()))
}

fn put(text: impl Display) -> anyhow::Result<()> {
    writeln!(stdout(), "{text}").context("it cannot be written to standard output")
}

#[cfg(test)]
mod tests;
