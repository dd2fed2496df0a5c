//! Runs the listener until SIGTERM or SIGINT.

use std::process::ExitCode;

use listener::Config;
use service::{Shutdown, Telemetry};

fn main() -> ExitCode {
    transport::rabbitmq::make_room_for_nesting();
    serve()
}

#[tokio::main]
async fn serve() -> ExitCode {
    let config: Config = service::settings();
    let format = config.telemetry.log_format;
    service::exit_code(run(config).await, format)
}

async fn run(config: Config) -> anyhow::Result<()> {
    if let Some(probe) = config.health {
        return listener::health(&config, probe).await;
    }
    let telemetry = Telemetry::init(&config.telemetry, "listener", config.allow_insecure_network)?;
    let shutdown = Shutdown::on_signal()?;
    let result = listener::bind(config, telemetry.clone())?.run(shutdown).await;
    telemetry.flush().await;
    result
}
