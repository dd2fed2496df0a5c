//! One program to be checked, and what must come out.

use std::time::Duration;

use tempfile::TempDir;

use super::Lab;
use crate::{
    check::{self, Order, Outcome, Shared},
    run::Wanted,
    verdict::Status,
};

/// How much longer than a learner's a check may take in all.
const LIMIT: f64 = 3.0;

/// What the upper limits of labs that judge by time are multiplied by, for the same reason: right and wrong differ by
/// more.
const PATIENCE: f64 = 2.0;

/// What must come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    /// The first property that fails.
    FailsAt(u32),
    /// All pass; what cannot be tried is left out.
    Passes,
    /// These pass.
    PassesThese(Vec<u32>),
}

/// A program to be checked.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) lab: &'a Lab,
    /// What it is, for the table.
    pub(super) name: String,
    /// The program.
    pub(super) dir: TempDir,
    pub(super) seed: u64,
    pub(super) wanted: Wanted,
    pub(super) expect: Expect,
}

/// What came out of a job.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) name: String,
    pub(super) took: Duration,
    /// What is not as it should be.
    pub(super) wrong: Option<String>,
    /// Nobody knows whether it is.
    pub(super) unknown: bool,
}

impl Job<'_> {
    pub(super) async fn run(&self, shared: &Shared) -> anyhow::Result<Judged> {
        let out = tempfile::tempdir()?;
        let order = Order {
            lab: self.lab,
            dir: self.dir.path(),
            out: out.path().to_owned(),
            seed: self.seed,
            wanted: self.wanted.clone(),
            patience: if self.lab.alone { PATIENCE } else { 1.0 },
            // A build may run beside it, and what is judged is the lab.
            limit: Order::limit_of(self.lab, LIMIT),
        };
        let outcome = check::check(&order, shared, &|_, _| {}).await;
        let unknown = outcome.status == Status::Unknown && outcome.unusable.is_none();
        Ok(Judged {
            name: self.name.clone(),
            took: outcome.took,
            wrong: wrong(&self.expect, &outcome),
            unknown,
        })
    }
}

/// What is not as it should be.
fn wrong(expect: &Expect, outcome: &Outcome) -> Option<String> {
    let saw = || {
        let first =
            outcome.findings.iter().find(|finding| matches!(finding.status, Status::Fail | Status::Unknown));
        let message = outcome.message.iter().map(|message| message.en.clone());
        let said = first.into_iter().map(|finding| {
            let why = finding.why().unwrap_or_default();
            format!("{} at property {}: {why}", finding.status.as_str(), finding.id)
        });
        let said: Vec<String> = said.chain(message).collect();
        if said.is_empty() { outcome.status.as_str().to_owned() } else { said.join("; ") }
    };
    let first_failure =
        outcome.findings.iter().find(|finding| finding.status == Status::Fail).map(|finding| finding.id);
    let passes =
        |id: u32| outcome.findings.iter().any(|finding| finding.id == id && finding.status == Status::Pass);
    match expect {
        Expect::FailsAt(id) if first_failure == Some(*id) && outcome.status == Status::Fail => None,
        Expect::FailsAt(id) => Some(format!("should fail at property {id}, and saw {}", saw())),
        Expect::Passes if outcome.status == Status::Pass => None,
        Expect::Passes => Some(format!("should pass, and saw {}", saw())),
        Expect::PassesThese(ids) if ids.iter().all(|id| passes(*id)) => None,
        Expect::PassesThese(ids) => Some(format!("should pass {ids:?}, and saw {}", saw())),
    }
}
