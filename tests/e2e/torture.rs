//! The short form of `make torture`: a few rounds of every trial.

use tests::torture::Trial;

/// Enough to break each thing once or twice; the full run has fifty.
const ROUNDS: u32 = 3;

/// The same entries and waits in every run; `make torture` takes others.
const SEED: u64 = 1;

#[tokio::test]
async fn whatever_breaks_nothing_that_was_accepted_is_lost() {
    for trial in Trial::ALL {
        let report = trial.run(ROUNDS, SEED, |_| {}).await;
        println!("{trial}: {}", report.verdict);
        assert!(report.verdict.is_sound(), "{trial}: {}", report.verdict);
        assert!(report.verdict.accepted > 100, "{trial}: {}", report.verdict);
    }
}
