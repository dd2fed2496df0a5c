//! `make torture`: breaks the stack under load, over and over. Ends with 1 at the first broken promise.

use std::{process::ExitCode, time::Instant};

use anyhow::Context;
use clap::Parser;
use tests::torture::{Report, Trial};

/// Breaks the stack under load, over and over, and verifies what was answered against what is stored.
#[derive(Debug, Parser)]
#[command(name = "torture")]
struct Arguments {
    /// Runs only the trials whose name contains this text
    #[arg(long)]
    only: Option<String>,

    /// Rounds of each trial, instead of those of a full run
    #[arg(long)]
    rounds: Option<u32>,

    /// Random seed: repeats the entries and the waits of an earlier run
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let wanted = |trial: &Trial| arguments.only.as_ref().is_none_or(|only| trial.to_string().contains(only));
    let trials: Vec<Trial> = Trial::all().into_iter().filter(wanted).collect();
    if trials.is_empty() {
        eprintln!("error: no trial has a name that contains this; the trials are: {}", names());
        return Ok(ExitCode::FAILURE);
    }
    let (mut rounds, mut entries, mut detected, mut lines) = (0, 0, 0, Vec::new());
    for trial in trials {
        let begun = Instant::now();
        let planned = arguments.rounds.unwrap_or_else(|| trial.full_rounds());
        let report = trial.run(planned, seed, |round| eprint!("\r{trial}: {round} of {planned} ")).await;
        let report = report.with_context(|| format!("{trial}, seed {seed}"))?;
        let line = line(trial, &report, begun);
        eprintln!();
        println!("{line}");
        lines.push(line);
        if trial.is_control() {
            detected += 1;
        } else {
            rounds += report.rounds;
            entries += report.entries;
        }
        if !report.broken.is_empty() {
            println!("BROKEN by {trial}, seed {seed}: {}", report.broken.join("; "));
            return Ok(ExitCode::FAILURE);
        }
    }
    if lines.len() > 1 {
        println!("\n{}", lines.join("\n"));
    }
    if rounds > 0 {
        println!(
            "{rounds} rounds, {entries} entries, lost 0, phantom 0, resurrected 0, altered 0, duplicated 0, \
             unanswered 0"
        );
    }
    if detected > 0 {
        println!("negative controls: {detected} of {detected} detected");
    }
    Ok(ExitCode::SUCCESS)
}

fn line(trial: Trial, report: &Report, begun: Instant) -> String {
    let Report { rounds, figures, .. } = report;
    let seconds = begun.elapsed().as_secs();
    format!("{trial:<24} {rounds:>3} rounds in {seconds:>4} s, {figures}")
}

fn names() -> String {
    Trial::all().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
