//! Runs the logger until SIGTERM or SIGINT.

use std::process::ExitCode;

use clap::Parser;
use logger::Config;
use service::{Shutdown, Telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    logger::exit_code(run(Config::parse()).await)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let telemetry = Telemetry::init(&config.rust_log)?;
    let shutdown = Shutdown::on_signal(false)?;
    logger::bind(config, telemetry)?.run(shutdown).await
}
