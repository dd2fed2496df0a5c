//! The logger's settings. Its environment is read here and nowhere else.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;

use crate::store::{Retention, StoreUrl};

/// Stores log entries for good. Takes them over HTTP, rpc and gRPC at once, and answers after the commit.
///
/// Each setting is a flag and an environment variable of the same name; the flag wins.
#[derive(Debug, Clone, Parser)]
#[command(name = "logger", version)]
pub struct Config {
    /// Where HTTP is served: POST /log, POST /logs, GET /logs, /healthz, /readyz, /metrics
    #[arg(long, env, default_value = "127.0.0.1:8082")]
    pub logger_http_listen: SocketAddr,

    /// Where rpc (tarpc) is served
    #[arg(long, env, default_value = "127.0.0.1:5002")]
    pub logger_rpc_listen: SocketAddr,

    /// Where gRPC is served, with health and reflection
    #[arg(long, env, default_value = "127.0.0.1:50001")]
    pub logger_grpc_listen: SocketAddr,

    /// Where entries are kept: sqlite:PATH
    #[arg(long, env, default_value = "sqlite:data/logs.db")]
    pub logger_store: StoreUrl,

    /// Entries older than so many hours are deleted; 0 keeps them for ever
    #[arg(long, env, default_value_t = 0)]
    pub logger_retention_hours: u32,

    /// Past so many bytes of store the oldest entries are deleted; at least 1048576, or 0 for no bound
    #[arg(long, env, default_value_t = 0, value_parser = parse_retention_bytes)]
    pub logger_retention_bytes: u64,

    /// The promise that this build breaks on purpose
    #[cfg(feature = "faults")]
    #[arg(long, env)]
    pub logger_fault: Option<crate::faults::Fault>,

    /// What is logged to standard error, as a filter of tracing-subscriber
    #[arg(long, env, default_value = "info,tarpc=warn")]
    pub rust_log: String,
}

impl Config {
    /// What is kept, and for how long.
    pub fn retention(&self) -> Retention {
        let hours = u64::from(self.logger_retention_hours);
        Retention {
            max_age: (hours > 0).then(|| Duration::from_secs(hours * 3_600)),
            max_bytes: (self.logger_retention_bytes > 0).then_some(self.logger_retention_bytes),
        }
    }
}

fn parse_retention_bytes(text: &str) -> Result<u64, String> {
    /// An empty store has some pages already: less would delete every entry at once.
    const LEAST: u64 = 1024 * 1024;
    let bytes = text.parse().ok().filter(|bytes| *bytes == 0 || *bytes >= LEAST);
    bytes.ok_or_else(|| format!("give a number of bytes of at least {LEAST}, or 0 for no bound"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_sound() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }
}
