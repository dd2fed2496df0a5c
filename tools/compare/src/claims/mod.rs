//! `compare claims`: what the two lectures of `course/lectures/` say, and what a run shows of it.
//!
//! The experiments measure, each once, and leave their [`Figures`]; [`rules`] has the claims, each with the rule that
//! makes its verdict of the figures; [`page`] writes docs/claims.md and its Russian twin. What is opinion or history has
//! no experiment: it stands in the templates of the pages, with its source.

mod claim;
mod experiments;
mod figures;
mod language;
pub mod page;
mod record;
pub mod rules;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::ensure;

pub use claim::{Ask, Claim, Finding, Lecture, Verdict};
pub use figures::Figures;
pub use language::Language;
pub use record::{Judged, Record, Warning};

use crate::{config, fit, record::Circumstances};

/// Runs the experiments that the chosen claims ask for; leaves claims.json in the directory that is returned with the
/// record, and both pages, if all claims were measured.
///
/// # Errors
/// If there is no such claim, the machine is busy, or an experiment breaks off.
pub async fn run(arguments: &config::Claims) -> anyhow::Result<(Record, PathBuf)> {
    if let Some(directory) = &arguments.draw {
        let record = Record::read(directory)?.judged_again();
        record.write(directory)?;
        page::write(&record, directory)?;
        return Ok((record, directory.clone()));
    }
    let chosen: Vec<&Claim> = rules::all().filter(|claim| arguments.chooses(claim.id)).collect();
    for id in &arguments.only {
        let is_there = chosen.iter().any(|claim| claim.id == *id);
        ensure!(is_there, "there is no measured claim {id}: docs/claims.md has the list");
    }
    let directory = fit::out(arguments.common.out.as_deref(), "claims")?;
    let is_part = !arguments.only.is_empty();
    ensure!(
        !is_part || !directory.join("claims.md").exists(),
        "--only would replace a whole record by a part of it"
    );
    let asks: BTreeSet<Ask> = chosen.iter().flat_map(|claim| claim.asks).copied().collect();
    let binaries = fit::binaries_with(arguments.common.binaries.as_deref(), &experiments::binaries(&asks))?;
    let circumstances = Circumstances::now(arguments.common.seed, Some(&binaries));
    let warnings = unfit(arguments, &circumstances, &binaries)?;
    let begun = Instant::now();
    let figures = experiments::run(&asks, &binaries, arguments).await?;
    say!("measured in {:.0} s", begun.elapsed().as_secs_f64());
    let record = Record::new(circumstances, warnings, figures, chosen.iter().map(|claim| claim.id));
    record.write(&directory)?;
    if !is_part {
        page::write(&record, &directory)?;
    }
    Ok((record, directory))
}

/// What makes this no evidence, for the pages; a refusal where it takes --force.
fn unfit(
    arguments: &config::Claims,
    circumstances: &Circumstances,
    binaries: &Path,
) -> anyhow::Result<Vec<Warning>> {
    let mut warnings = Vec::new();
    if arguments.quick {
        warnings.push(Warning::Quick);
    }
    if !circumstances.release || fit::built_to_be_tried(binaries)?.is_some() {
        ensure!(
            arguments.force,
            "this is no release build: `cargo build --release --workspace --bins`, or --force"
        );
        warnings.push(Warning::Debug);
    }
    if circumstances.busy > fit::MOST_BUSY {
        let busy = circumstances.busy * 100.0;
        ensure!(
            arguments.force || arguments.quick,
            "the machine is busy ({busy:.0} % CPU in use in the last seconds): wait, or use --force"
        );
        warnings.push(Warning::Busy);
    }
    Ok(warnings)
}

/// The verdicts and what they rest on, for the terminal.
pub fn summary(record: &Record) -> String {
    let language = Language::English;
    let lines = record.claims.iter().filter_map(|judged| {
        let claim = rules::all().find(|claim| claim.id == judged.id)?;
        let said = (claim.rule)(&record.figures, language).map(|finding| finding.text).unwrap_or_default();
        Some(format!(
            "{:>3}  {}: {}\n     {said}\n",
            judged.id,
            judged.verdict.word(language),
            claim.quotes_en[0]
        ))
    });
    lines.collect()
}
