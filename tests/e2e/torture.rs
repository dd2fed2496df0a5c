//! The short form of `make torture`: a few rounds of every trial.

use anyhow::Context;
use tests::torture::{Report, Trial};

/// The same entries and waits in every run; `make torture` takes others.
const SEED: u64 = 1;

#[tokio::test]
async fn whatever_breaks_nothing_that_was_accepted_is_lost() -> anyhow::Result<()> {
    let is_ours = |trial: &Trial| !trial.is_control() && !matches!(trial, Trial::PostgresKilled);
    // Those of a store that not everybody has are in `postgres.rs`.
    for trial in Trial::all().into_iter().filter(is_ours) {
        let report = run(trial).await?;
        assert!(report.accepted > 100, "{trial}: {}", report.figures);
    }
    Ok(())
}

#[tokio::test]
async fn the_checker_notices_a_promise_that_is_broken_on_purpose() -> anyhow::Result<()> {
    for trial in Trial::all().into_iter().filter(|trial| trial.is_control()) {
        run(trial).await?;
    }
    Ok(())
}

async fn run(trial: Trial) -> anyhow::Result<Report> {
    let report = trial.run(trial.short_rounds(), SEED, |_| {}).await;
    let report = report.with_context(|| trial.to_string())?;
    println!("{trial}: {}", report.figures);
    assert!(report.broken.is_empty(), "{trial}: {}", report.broken.join("; "));
    Ok(report)
}
