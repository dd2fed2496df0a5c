//! Runs one service of the shop until SIGTERM or SIGINT.

use std::process::ExitCode;

use service::{Shutdown, Telemetry};
use shop::Config;

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = service::settings();
    let format = config.telemetry.log_format;
    service::exit_code(run(config).await, format)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let telemetry =
        Telemetry::init(&config.telemetry, config.service.as_str(), config.allow_insecure_network)?;
    let shutdown = Shutdown::on_signal()?;
    let result = shop::run(config, telemetry.clone(), shutdown).await;
    telemetry.flush().await;
    result
}
