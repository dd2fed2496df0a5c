//! Runs the listener until SIGTERM or SIGINT.

use clap::Parser;
use listener::Config;
use service::{Shutdown, Telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let telemetry = Telemetry::init(&config.rust_log)?;
    let shutdown = Shutdown::on_signal()?;
    listener::bind(config, telemetry).await?.run(shutdown).await
}
