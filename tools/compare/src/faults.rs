//! `compare faults`: the four transports at once under the same failure, at a rate that the system carries with ease.
//!
//! What differs is not how fast they are, but who notices: who is refused, who waits, who is left without an answer,
//! and what is in the store when all is over.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    config,
    outage::{self, Break, Broken},
    record::Circumstances,
    run,
    stack::Stack,
};

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub struct FaultsRecord {
    /// The circumstances.
    pub circumstances: Circumstances,
    /// Requests per second over each transport.
    pub rate: f64,
    /// What was broken, one after the other.
    pub faults: Vec<Broken>,
}

impl FaultsRecord {
    /// Whether every promise was kept.
    pub fn is_sound(&self) -> bool {
        let suffered = self.faults.iter().flat_map(|broken| broken.by_transport.values());
        suffered.into_iter().all(|suffered| suffered.kept.is_sound())
    }
}

/// Breaks one thing after the other; says what came of it, and where the report is to go.
///
/// # Errors
/// If the system does not start, or does not come back.
pub async fn run(arguments: &config::Faults) -> anyhow::Result<(FaultsRecord, PathBuf)> {
    ensure!(arguments.rate > 0.0 && arguments.rate <= 2_000.0, "--rate is above 0 and at most 2000");
    let directory = run::out(arguments.common.out.as_deref(), "faults")?;
    let binaries = run::binaries(arguments.common.binaries.as_deref())?;
    let circumstances = Circumstances::now(arguments.common.seed, Some(&binaries));
    say!("Starting RabbitMQ and the services…");
    let mut stack = Stack::start(&binaries, &[]).await?;
    let mut record = FaultsRecord { circumstances, rate: arguments.rate, faults: Vec::new() };
    for what in Break::ALL {
        say!("{}…", what.as_str());
        record.faults.push(outage::suffer(&mut stack, what, arguments.rate, arguments.common.seed).await?);
    }
    write(&record, &directory)?;
    Ok((record, directory))
}

fn write(record: &FaultsRecord, directory: &Path) -> anyhow::Result<()> {
    let file = directory.join("faults.json");
    std::fs::write(&file, serde_json::to_vec(record)?)
        .with_context(|| format!("cannot write {}", file.display()))
}
