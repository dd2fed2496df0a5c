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
    let telemetry = Telemetry::init(&config.telemetry, "broker", config.allow_insecure_network)?;
    let shutdown = Shutdown::on_signal(config.broker_keys_file.is_some())?;
    let result = broker::bind(config, telemetry.clone())?.run(shutdown).await;
    telemetry.flush().await;
    result
}
