//! The command `compare`.

use std::{path::Path, process::ExitCode};

use clap::Parser;
use compare::{
    builds,
    config::{Arguments, Command},
    diff, faults,
    record::Record,
    report, run,
};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match act(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn act(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        None => {
            let (record, directory) = run::run(&arguments.measure).await?;
            report::write(&record, &directory)?;
            println!("{}", report::summary(&record));
            println!("The report is {}", directory.join("report.html").display());
        }
        Some(Command::Draw { report }) => {
            let record = Record::read(&report)?;
            let directory = if report.is_dir() { Some(report.as_path()) } else { report.parent() };
            report::write(&record, directory.unwrap_or(Path::new(".")))?;
            println!("{}", report::summary(&record));
        }
        Some(Command::Builds(arguments)) => println!("{}", builds::run(&arguments).await?),
        Some(Command::Diff { before, after }) => {
            println!("{}", diff::diff(&Record::read(&before)?, &Record::read(&after)?));
        }
        Some(Command::Faults(arguments)) => {
            let (record, directory) = faults::run(&arguments).await?;
            report::write_faults(&record, &directory)?;
            println!("{}", report::faults_summary(&record));
            println!("The report is {}", directory.join("report.html").display());
            anyhow::ensure!(record.is_sound(), "a promise was broken: see the table");
        }
    }
    Ok(())
}
