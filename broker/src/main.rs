//! Runs the broker until SIGTERM or SIGINT.

use broker::Config;
use clap::Parser;
use service::{Shutdown, Telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let telemetry = Telemetry::init(&config.rust_log)?;
    let shutdown = Shutdown::on_signal()?;
    broker::bind(config, telemetry).await?.run(shutdown).await
}
