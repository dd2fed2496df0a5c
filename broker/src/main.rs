//! Runs the broker until SIGTERM or SIGINT.

use std::process::ExitCode;

use broker::Config;
use service::{Shutdown, Telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = service::settings();
    let format = config.telemetry.log_format;
    service::exit_code(run(config).await, format)
}

async fn run(config: Config) -> anyhow::Result<()> {
    if let Some(probe) = config.health {
        return broker::health(&config, probe).await;
    }
    let telemetry = Telemetry::init(&config.telemetry, "broker", config.allow_insecure_network)?;
    let shutdown = Shutdown::on_signal()?;
    let result = broker::bind(config, telemetry.clone())?.run(shutdown).await;
    telemetry.flush().await;
    result
}
