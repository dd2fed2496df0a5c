//! Runs the logger until SIGTERM or SIGINT.

use clap::Parser;
use logger::Config;
use service::{Shutdown, Telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let telemetry = Telemetry::init(&config.rust_log)?;
    let shutdown = Shutdown::on_signal()?;
    logger::bind(config, telemetry).await?.run(shutdown).await
}
