//! Runs the logger until SIGTERM or SIGINT.

use std::process::ExitCode;

use logger::Config;
use service::{Shutdown, Telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = service::settings();
    let format = config.telemetry.log_format;
    logger::exit_code(run(config).await, format)
}

async fn run(config: Config) -> anyhow::Result<()> {
    if let Some(probe) = config.health {
        return logger::health(&config, probe).await;
    }
    let telemetry = Telemetry::init(&config.telemetry, "logger", config.allow_insecure_network)?;
    if config.reset_times {
        return logger::reset_times(&config);
    }
    let shutdown = Shutdown::on_signal()?;
    if let Some(file) = &config.backup {
        return logger::backup(&config, file, shutdown).await;
    }
    let result = logger::bind(config, telemetry.clone())?.run(shutdown).await;
    telemetry.flush().await;
    result
}
