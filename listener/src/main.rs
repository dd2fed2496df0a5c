//! Runs the listener until SIGTERM or SIGINT.

use std::process::ExitCode;

use clap::Parser;
use listener::Config;
use service::{Shutdown, Telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    service::exit_code(run(Config::parse()).await)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let telemetry = Telemetry::init(&config.rust_log)?;
    let shutdown = Shutdown::on_signal(false)?;
    listener::bind(config, telemetry)?.run(shutdown).await
}
