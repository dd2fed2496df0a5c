//! The logger's settings. Its environment is read here and nowhere else.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use service::{
    network, telemetry,
    tls::{Certificates, Name},
};

use crate::{
    server::DOORS,
    store::{Retention, StoreUrl},
};

/// Stores log entries for good. Takes them over HTTP, rpc and gRPC at once, and answers after the commit.
///
/// Each setting is a flag and an environment variable of the same name; the flag wins.
#[derive(Debug, Clone, Parser)]
#[command(name = "logger", version = proto::release::VERSION)]
pub struct Config {
    /// Where HTTP is served: POST /log, POST /logs, GET /logs, /healthz, /readyz, /metrics
    #[arg(long, env, default_value = "127.0.0.1:8082", value_parser = service::listen_address)]
    pub logger_http_listen: SocketAddr,

    /// Where rpc (tarpc) is served
    #[arg(long, env, default_value = "127.0.0.1:5002", value_parser = service::listen_address)]
    pub logger_rpc_listen: SocketAddr,

    /// Where gRPC is served, with health and reflection
    #[arg(long, env, default_value = "127.0.0.1:50001", value_parser = service::listen_address)]
    pub logger_grpc_listen: SocketAddr,

    /// Where entries are kept: sqlite:PATH, which one logger at a time may use (PATH.lock says so); `nothing` forgets
    /// them all, to measure what keeping them costs
    #[arg(long, env, default_value = "sqlite:data/logs.db")]
    pub logger_store: StoreUrl,

    /// Entries older than so many hours are deleted; 0 keeps them for ever
    #[arg(long, env, default_value_t = 0)]
    pub logger_retention_hours: u32,

    /// Past so many bytes of entries the oldest are deleted; at least 1048576, or 0 for no bound. On the disk a few MiB
    /// come to it: the write-ahead log, and room that is free again
    #[arg(long, env, default_value_t = 0, value_parser = parse_retention_bytes)]
    pub logger_retention_bytes: u64,

    /// Start nothing: give the entries whose time of storing lies ahead of the clock the time that it is now, in their order,
    /// say how many they were, and end. For after a clock that was ahead; the logger must be stopped, and the clock right
    #[arg(long)]
    pub reset_times: bool,

    /// The logger's certificate, in PEM: all three ports are encrypted with it; read again at SIGHUP, with the key and the
    /// CA
    #[arg(long, env)]
    pub logger_tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM; only its owner may read it
    #[arg(long, env)]
    pub logger_tls_key: Option<PathBuf>,

    /// The CA of the clients' certificates, in PEM; a client without one is refused
    #[arg(long, env)]
    pub logger_tls_ca: Option<PathBuf>,

    /// The names that clients' certificates may have (subjectAltName); with TLS a client without one of them is refused
    #[arg(long, env, value_delimiter = ',', default_value = "broker,listener,fourwire")]
    pub logger_tls_clients: Vec<Name>,

    /// Serve other machines without TLS: whoever reaches a port may write and read all entries
    #[arg(long, env)]
    pub allow_insecure_network: bool,

    /// The promise that this build breaks on purpose
    #[cfg(feature = "faults")]
    #[arg(long, env)]
    pub logger_fault: Option<crate::faults::Fault>,

    /// How HTTP is served.
    #[command(flatten)]
    pub http: service::http::Settings,

    /// What the process tells of itself.
    #[command(flatten)]
    pub telemetry: telemetry::Settings,
}

impl Config {
    /// Holds the settings against each other, and reads the files that they name.
    ///
    /// # Errors
    /// If they cannot be used; the message names the setting.
    pub(crate) fn certificates(&self) -> anyhow::Result<Option<Certificates>> {
        let certificates = Certificates::load(
            "LOGGER_TLS",
            self.logger_tls_cert.as_deref(),
            self.logger_tls_key.as_deref(),
            self.logger_tls_ca.as_deref(),
        )?;
        let missing: &[&str] = if certificates.is_some() { &[] } else { &["LOGGER_TLS_CERT"] };
        for door in &DOORS {
            network::check_exposure(door.setting, (door.listen)(self), missing, self.allow_insecure_network)?;
        }
        Ok(certificates)
    }

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
