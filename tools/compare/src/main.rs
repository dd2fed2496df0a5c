//! The command `compare`.

use std::{
    fmt::Display,
    io::{Write, stderr, stdout},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use compare::{
    builds, claims,
    config::{Arguments, Command},
    diff, faults, peer,
    record::Record,
    report, run, streams,
};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = tokio::select! {
        result = act(arguments) => result,
        // What was started is stopped as it is dropped.
        stopped = stopped() => stopped.and_then(|()| anyhow::bail!("stopped by a signal; nothing was written")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for SIGINT or SIGTERM.
async fn stopped() -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}

/// Shows what was asked for.
fn put(text: impl Display) -> anyhow::Result<()> {
    writeln!(stdout(), "{text}").context("it cannot be written to standard output")
}

async fn act(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        None => {
            let (record, directory) = run::run(&arguments.measure).await?;
            report::write(&record, &directory)?;
            put(report::summary(&record))?;
            put(format_args!("The report is {}", directory.join("report.html").display()))?;
            anyhow::ensure!(record.is_sound(), "a promise was broken: see the warnings");
        }
        Some(Command::Draw { report }) => {
            let record = Record::read(&report)?;
            let directory = if report.is_dir() { Some(report.as_path()) } else { report.parent() };
            report::write(&record, directory.unwrap_or(Path::new(".")))?;
            put(report::summary(&record))?;
        }
        Some(Command::Builds(arguments)) => put(builds::run(&arguments).await?)?,
        Some(Command::Streams(arguments)) => put(streams::run(&arguments).await?)?,
        Some(Command::Peer(arguments)) => {
            let (record, directory) = peer::run(&arguments).await?;
            put(peer::tables(&record))?;
            put(format_args!("The tables are in {}", directory.join("peer.md").display()))?;
            anyhow::ensure!(record.lost_at_least() == 0, "entries were lost: see the tables");
        }
        Some(Command::Claims(arguments)) => {
            let (record, directory) = claims::run(&arguments).await?;
            put(claims::summary(&record))?;
            put(format_args!("The pages are in {}", directory.display()))?;
        }
        Some(Command::Diff { before, after }) => {
            put(diff::diff(&Record::read(&before)?, &Record::read(&after)?))?;
        }
        Some(Command::Faults(arguments)) => {
            let (record, directory) = faults::run(&arguments).await?;
            report::write_faults(&record, &directory)?;
            put(report::faults_summary(&record))?;
            put(format_args!("The report is {}", directory.join("report.html").display()))?;
            anyhow::ensure!(record.is_sound(), "a promise was broken: see the table");
        }
    }
    Ok(())
}
