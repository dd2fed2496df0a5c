//! `make cluster-test`: breaks the cluster that `tests/containers/cluster.sh` has started, under load. Ends with 1 if a
//! promise was broken.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use tests::cluster::{Cluster, Fault, page};

/// Breaks a cluster under load, and verifies what was answered against what is stored.
#[derive(Debug, Parser)]
#[command(name = "cluster")]
struct Arguments {
    /// Project of compose
    #[arg(long)]
    project: String,

    /// URL of the brokers
    #[arg(long)]
    url: String,

    /// Runs only the faults whose name contains this text
    #[arg(long)]
    only: Option<String>,

    /// Measures what an entry costs each service, and breaks nothing
    #[arg(long)]
    cost: bool,

    /// Rounds of each fault
    #[arg(long, default_value_t = 1)]
    rounds: u32,

    /// Random seed: repeats the entries and the choices of an earlier run
    #[arg(long)]
    seed: Option<u64>,

    /// Writes the page of the results here
    #[arg(long)]
    out: Option<PathBuf>,

    /// What was run, for the page
    #[arg(long, default_value = "")]
    what: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let wanted = |fault: &Fault| arguments.only.as_ref().is_none_or(|only| fault.to_string().contains(only));
    let faults: Vec<Fault> = Fault::all().into_iter().filter(wanted).collect();
    anyhow::ensure!(!faults.is_empty(), "no fault has a name that contains this");
    let mut cluster = Cluster::find(&arguments.project, arguments.url).await?;
    cluster.begin().await?;
    if arguments.cost {
        println!("{}", cluster.costs().await?);
        return Ok(ExitCode::SUCCESS);
    }
    let now = jiff::Timestamp::now().to_string();
    let day = now.split('T').next().unwrap_or_default();
    let what = format!("{} Seed {seed}.", arguments.what);
    let (mut outcomes, mut failed) = (Vec::new(), None);
    for fault in faults {
        let told = |round, hit: &str| eprintln!("{fault}: {round} of {}: {hit}", arguments.rounds);
        match cluster.suffer(fault, arguments.rounds, seed, told).await {
            Ok(outcome) => {
                println!("{fault}: {} {}", outcome.verdict, outcome.broken.join("; "));
                outcomes.push(outcome);
            }
            Err(error) => {
                failed = Some(error.context(fault.to_string()));
                break;
            }
        }
        if let Some(out) = &arguments.out {
            fs::write(out, page(day, &what, &outcomes)).with_context(|| out.display().to_string())?;
        }
    }
    println!("\n{}", page(day, &what, &outcomes));
    if let Some(error) = failed {
        return Err(error);
    }
    let sound = outcomes.iter().all(|outcome| outcome.broken.is_empty());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
