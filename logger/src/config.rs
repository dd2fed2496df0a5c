//! The logger's settings. Its environment is read here and nowhere else.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Parser;
use rustls::ClientConfig;
use service::{
    Probe, secret, telemetry,
    tls::{Certificates, Identity, Name},
};

use crate::store::{self, Retention, Store, StoreUrl, StoreUrlParser};

/// Stores log entries durably: accepts them over HTTP, rpc and gRPC, and responds after the commit is synced.
///
/// Each setting is a flag and an environment variable of the same name; the flag takes precedence.
#[derive(Debug, Clone, Parser)]
#[command(name = "logger", version = proto::release::VERSION)]
pub struct Config {
    /// Address to serve HTTP on: POST /log, POST /logs, GET /logs, /healthz, /readyz, /metrics
    #[arg(long, env, default_value = "127.0.0.1:8082", value_parser = service::listen_address)]
    pub logger_http_listen: SocketAddr,

    /// Host names besides localhost that HTTP may be called by without TLS, comma-separated, such as logger-service. On loopback
    /// others are always refused, on a wider address if this is set
    #[arg(long, env, value_delimiter = ',', value_parser = service::host_name)]
    pub logger_http_hosts: Vec<String>,

    /// Address to serve rpc (tarpc) on
    #[arg(long, env, default_value = "127.0.0.1:5002", value_parser = service::listen_address)]
    pub logger_rpc_listen: SocketAddr,

    /// Address to serve gRPC on, with health and reflection
    #[arg(long, env, default_value = "127.0.0.1:50001", value_parser = service::listen_address)]
    pub logger_grpc_listen: SocketAddr,

    /// Address to serve Go's net/rpc (gob) on, for services of the course
    #[arg(long, env, default_value = "127.0.0.1:5001", value_parser = service::listen_address)]
    pub logger_netrpc_listen: SocketAddr,

    /// Store: sqlite:PATH, for one logger at a time (lock file PATH.lock); postgres://user:password@host:5432/database,
    /// for several loggers, with more hosts after commas and sslmode=require for TLS; or `nothing`, which discards
    /// entries, for benchmarks
    #[arg(long, env, default_value = "sqlite:data/logs.db", value_parser = StoreUrlParser, hide_env_values = true)]
    pub logger_store: StoreUrl,

    /// File that contains LOGGER_STORE, which it overrides; only its owner may be able to read it
    #[arg(long, env)]
    pub logger_store_file: Option<PathBuf>,

    /// CA certificate that signed PostgreSQL's (PEM); by default that of LOGGER_TLS_CA
    #[arg(long, env)]
    pub logger_store_ca: Option<PathBuf>,

    /// Delete entries older than this many hours (0: keep forever)
    #[arg(long, env, default_value_t = 0)]
    pub logger_retention_hours: u32,

    /// Delete the oldest entries once the store exceeds this many bytes, at least 1048576 (0: unlimited). The files are a few MiB larger: the write-ahead log and free pages
    #[arg(long, env, default_value_t = 0, value_parser = parse_retention_bytes)]
    pub logger_retention_bytes: u64,

    /// Set stored_at of all entries that lie in the future to now, keeping their order, print how many, and exit. For use after the clock was wrong: stop the logger and correct the clock first
    #[arg(long, conflicts_with_all = ["backup", "health"])]
    pub reset_times: bool,

    /// Copy the SQLite store to a new file while the logger runs, verify the copy, print its number of entries, and exit. For
    /// PostgreSQL use its own tools: pg_basebackup, pg_dump
    #[arg(long, value_name = "FILE", conflicts_with = "health")]
    pub backup: Option<PathBuf>,

    /// Certificate of the logger (PEM), for TLS on all four ports; reloaded on SIGHUP, with the key and the CA
    #[arg(long, env)]
    pub logger_tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM); only its owner may be able to read it
    #[arg(long, env)]
    pub logger_tls_key: Option<PathBuf>,

    /// CA certificate for client certificates (PEM; mTLS); clients without one are rejected
    #[arg(long, env)]
    pub logger_tls_ca: Option<PathBuf>,

    /// Allowed client certificate names (subjectAltName), comma-separated; with TLS others are rejected
    #[arg(long, env, value_delimiter = ',', default_value = "broker,listener,fourwire")]
    pub logger_tls_clients: Vec<Name>,

    /// Serve other machines without TLS: anyone who can reach a port may write and read all entries
    #[arg(long, env)]
    pub allow_insecure_network: bool,

    /// Ask the logger that runs with these settings whether it is live or ready; exit with 0 if so, else with 1 and the reason
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "ready")]
    pub health: Option<Probe>,

    /// Promise that this build breaks on purpose
    #[cfg(feature = "faults")]
    #[arg(long, env)]
    pub logger_fault: Option<crate::faults::Fault>,

    /// HTTP.
    #[command(flatten)]
    pub http: service::http::Settings,

    /// Telemetry.
    #[command(flatten)]
    pub telemetry: telemetry::Settings,
}

impl Config {
    /// Reads the files of the certificate.
    ///
    /// # Errors
    /// If they cannot be used; the message names the setting.
    pub(crate) fn certificates(&self) -> anyhow::Result<Option<Certificates>> {
        Certificates::load(
            "LOGGER_TLS",
            self.logger_tls_cert.as_deref(),
            self.logger_tls_key.as_deref(),
            self.logger_tls_ca.as_deref(),
        )
    }

    /// Where entries are kept, and how an encrypted connection there is opened. `own` is the logger's certificate.
    ///
    /// # Errors
    /// If it cannot be used; the message names the setting.
    pub(crate) fn store(&self, own: Option<&Identity>) -> anyhow::Result<Place> {
        let url = self.store_url()?;
        let StoreUrl::Postgres(database) = &url else { return Ok(Place { url, tls: None }) };
        if let Some(host) = database.far_hosts().first()
            && !database.is_encrypted()
            && !self.allow_insecure_network
        {
            bail!(
                "LOGGER_STORE leads to {host} without TLS: add sslmode=require and set LOGGER_STORE_CA, or \
                 ALLOW_INSECURE_NETWORK=true if anyone in that network may read all entries"
            );
        }
        if own.is_some() && database.is_over_tcp() && !database.is_encrypted() {
            bail!(
                "LOGGER_STORE: add sslmode=require, since LOGGER_TLS_CERT is set: TLS is on for every hop or for none"
            );
        }
        let tls = database.is_encrypted().then(|| self.store_tls(own)).transpose()?;
        Ok(Place { url, tls })
    }

    /// Where entries are kept.
    ///
    /// # Errors
    /// If the file that says so cannot be used.
    pub(crate) fn store_url(&self) -> anyhow::Result<StoreUrl> {
        match &self.logger_store_file {
            Some(file) => read_store(file).context("LOGGER_STORE_FILE"),
            None => Ok(self.logger_store.clone()),
        }
    }

    fn store_tls(&self, own: Option<&Identity>) -> anyhow::Result<Arc<ClientConfig>> {
        let ca = match (&self.logger_store_ca, own) {
            (Some(file), _) => secret::read_public_file(file).context("LOGGER_STORE_CA")?,
            (None, Some(own)) => own.ca_pem().to_owned(),
            (None, None) => bail!("LOGGER_STORE asks for TLS: set LOGGER_STORE_CA"),
        };
        service::tls::client(&ca, own).context("LOGGER_STORE_CA")
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

/// Where entries are kept.
pub(crate) struct Place {
    pub(crate) url: StoreUrl,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl Place {
    /// Opens it.
    ///
    /// # Errors
    /// As [`store::open`].
    pub(crate) fn open(&self) -> anyhow::Result<Box<dyn Store>> {
        store::open(&self.url, self.tls.clone()).context("LOGGER_STORE")
    }
}

fn read_store(file: &Path) -> anyhow::Result<StoreUrl> {
    Ok(secret::read_file(file)?.parse()?)
}

fn parse_retention_bytes(text: &str) -> Result<u64, String> {
    /// An empty store has some pages already: less would delete every entry at once.
    const LEAST: u64 = 1024 * 1024;
    let bytes = text.parse().ok().filter(|bytes| *bytes == 0 || *bytes >= LEAST);
    bytes.ok_or_else(|| format!("expected at least {LEAST} bytes, or 0 for unlimited"))
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
