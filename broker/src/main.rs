//! Runs the broker until SIGTERM or SIGINT.

use std::process::ExitCode;

use broker::Config;
use clap::Parser;
use service::{Shutdown, Telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    service::exit_code(run(Config::parse()).await)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let telemetry = Telemetry::init(&config.rust_log)?;
    let shutdown = Shutdown::on_signal(config.broker_keys_file.is_some())?;
    broker::bind(config, telemetry)?.run(shutdown).await
}
