//! The short form of `make torture`: a few rounds of every trial.

use tests::torture::{Report, Trial};

/// The same entries and waits in every run; `make torture` takes others.
const SEED: u64 = 1;

#[tokio::test]
async fn whatever_breaks_nothing_that_was_accepted_is_lost() {
    for trial in Trial::ALL.iter().filter(|trial| !trial.is_control()) {
        let report = run(*trial).await;
        assert!(report.accepted > 100, "{trial}: {}", report.figures);
    }
}

#[tokio::test]
async fn the_checker_notices_a_promise_that_is_broken_on_purpose() {
    for trial in Trial::ALL.iter().filter(|trial| trial.is_control()) {
        run(*trial).await;
    }
}

async fn run(trial: Trial) -> Report {
    let report = trial.run(trial.short_rounds(), SEED, |_| {}).await;
    println!("{trial}: {}", report.figures);
    assert!(report.broken.is_empty(), "{trial}: {}", report.broken.join("; "));
    report
}
