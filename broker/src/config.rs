//! The broker's settings. Its environment is read here and nowhere else.

use std::{iter, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use http::Uri;
use proto::{
    Direct, Transport,
    rabbitmq::{QUEUE, Queues},
};
use secrecy::{ExposeSecret, SecretString};
use service::{
    Probe, network, secret, telemetry,
    tls::{Certificates, Identity},
};
use transport::{Endpoints, Tls, http::HttpUrl, rabbitmq::AmqpUrl};

use crate::{bursts::Bursters, otlp};

/// Shorter than the grace period of a shutdown, so that every request in flight is answered.
const MAX_DEADLINE_MS: u64 = 7_000;

/// More than this machine answers, and still whole nanoseconds apart.
const MAX_KEY_RATE: i64 = 1_000_000;

/// HTTP API: takes log entries as JSON and delivers each to the logger over the transport that the request names.
///
/// Each setting is a flag and an environment variable of the same name; the flag takes precedence.
#[derive(Debug, Clone, Parser)]
#[command(name = "broker", version = proto::release::VERSION)]
pub struct Config {
    /// Address to serve HTTP on
    #[arg(long, env, default_value = "127.0.0.1:8080", value_parser = service::listen_address)]
    pub broker_http_listen: SocketAddr,

    /// Where the loggers are.
    #[command(flatten)]
    pub endpoints: Endpoints,

    /// The listener's HTTP URL, for its status
    #[arg(long, env, default_value = "http://127.0.0.1:8083")]
    pub listener_http_url: HttpUrl,

    /// RabbitMQ URL; use amqps:// for TLS; of several nodes of one cluster a comma-separated list, which is tried in turn
    #[arg(long, env, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f", hide_env_values = true)]
    pub amqp_url: SecretString,

    /// File that contains AMQP_URL, which it overrides; only its owner may be able to read it
    #[arg(long, env)]
    pub amqp_url_file: Option<PathBuf>,

    /// RabbitMQ queue of entries; a second stack on the same virtual host needs another name, here and for its listener
    #[arg(long, env, default_value = QUEUE)]
    pub rabbitmq_queue: Queues,

    /// Number of listeners that consume the queue; if there are more for a while, the log and /status warn
    #[arg(long, env, default_value_t = 1)]
    pub broker_listeners: u32,

    /// Default transport of requests that name none: http, rpc, rabbitmq or grpc
    #[arg(long, env, default_value_t = Transport::Http)]
    pub broker_default_transport: Transport,

    /// Whether concurrent entries share calls to the logger: on, or off for one call per entry
    #[arg(long, env, default_value = "on", value_parser = parse_switch, action = clap::ArgAction::Set)]
    pub broker_coalesce: bool,

    /// Request deadline in milliseconds, at most 7000; afterwards the broker responds 504. Over the concurrency limit a request
    /// queues for up to half of it, then gets 503
    #[arg(long, env, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=MAX_DEADLINE_MS))]
    pub broker_deadline_ms: u64,

    /// Clients whose bursts run without API keys: local, those on the broker's own machine, or all
    #[arg(long, env, value_enum, default_value = "local")]
    pub broker_bursts: Bursters,

    /// OTLP logs in.
    #[command(flatten)]
    pub otlp: otlp::Settings,

    /// Origins of web pages that may call the broker, besides those on this machine; comma-separated
    #[arg(long, env, value_delimiter = ',', value_parser = parse_origin)]
    pub broker_cors_origins: Vec<String>,

    /// Host names besides localhost that HTTP may be called by without keys and TLS, comma-separated, such as broker. On loopback
    /// others are always refused, on a wider address if this is set
    #[arg(long, env, value_delimiter = ',', value_parser = service::host_name)]
    pub broker_http_hosts: Vec<String>,

    /// File of API keys, as `make key` writes it; reloaded on SIGHUP. Without it no key is required
    #[arg(long, env)]
    pub broker_keys_file: Option<PathBuf>,

    /// Requests per second, and burst, of each name in the key file; 0: unlimited
    #[arg(long, env, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=MAX_KEY_RATE))]
    pub broker_key_rate: u32,

    /// Certificate of the broker (PEM), for HTTPS and as a client of the logger, the listener and RabbitMQ; reloaded on SIGHUP,
    /// with the key and the CA
    #[arg(long, env)]
    pub broker_tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM); only its owner may be able to read it
    #[arg(long, env)]
    pub broker_tls_key: Option<PathBuf>,

    /// CA certificate that signed those of the logger, the listener and RabbitMQ (PEM)
    #[arg(long, env)]
    pub broker_tls_ca: Option<PathBuf>,

    /// Serve other machines without TLS or keys: anyone who can reach the port may write and read all entries
    #[arg(long, env)]
    pub allow_insecure_network: bool,

    /// Ask the broker that runs with these settings whether it is live or ready; exit with 0 if so, else with 1 and the reason
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "ready")]
    pub health: Option<Probe>,

    /// Promise that this build breaks on purpose
    #[cfg(feature = "faults")]
    #[arg(long, env)]
    pub broker_fault: Option<crate::faults::Fault>,

    /// How HTTP is served.
    #[command(flatten)]
    pub http: service::http::Settings,

    /// Telemetry.
    #[command(flatten)]
    pub telemetry: telemetry::Settings,
}

/// What the settings come to.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) transports: transport::Settings,
    pub(crate) certificates: Option<Certificates>,
}

impl Config {
    /// Checks the settings against each other, and reads the files that they name.
    ///
    /// # Errors
    /// If they cannot be used; the message names the setting.
    pub(crate) fn check(&self) -> anyhow::Result<Checked> {
        let certificates = Certificates::load(
            "BROKER_TLS",
            self.broker_tls_cert.as_deref(),
            self.broker_tls_key.as_deref(),
            self.broker_tls_ca.as_deref(),
        )?;
        let protection = [
            ("BROKER_TLS_CERT", certificates.is_some()),
            ("BROKER_KEYS_FILE", self.broker_keys_file.is_some()),
        ];
        let missing = protection.iter().filter(|(_, given)| !given).map(|(setting, _)| *setting);
        let missing: Vec<&str> = missing.collect();
        let own = iter::once(("BROKER_HTTP_LISTEN", self.broker_http_listen));
        for (setting, listen) in own.chain(self.otlp.listens()) {
            network::check_exposure(setting, listen, &missing, self.allow_insecure_network)?;
        }
        let identity = certificates.as_ref().map(Certificates::identity);
        Ok(Checked { transports: self.transports(identity)?, certificates })
    }

    fn transports(&self, identity: Option<&Identity>) -> anyhow::Result<transport::Settings> {
        let own_tls = |own: &Identity| Tls::from_pem(own.chain_pem(), own.key_pem(), own.ca_pem());
        let tls = identity.map(own_tls).transpose().context("BROKER_TLS")?;
        // It is no type of its own for the command line, which would repeat a password.
        let secret =
            secret::value_or_file(&self.amqp_url, self.amqp_url_file.as_deref()).context("AMQP_URL_FILE")?;
        let amqp_url: AmqpUrl = secret.expose_secret().parse().context("AMQP_URL")?;
        let mut addresses = Direct::ALL.map(|direct| self.endpoints.encryption(direct)).concat();
        addresses.push(("LISTENER_HTTP_URL", self.listener_http_url.is_encrypted()));
        addresses.extend(amqp_url.encryption());
        transport::check_encryption(tls.as_ref(), &addresses)?;
        self.endpoints.check()?;
        Ok(transport::Settings {
            endpoints: self.endpoints.clone(),
            amqp_url: Some(amqp_url.with_tls(tls.as_ref()).with_queues(self.rabbitmq_queue.clone())),
            tls,
            coalesce: self.broker_coalesce,
            deadline: Duration::from_millis(self.broker_deadline_ms),
            came_by: None,
        })
    }
}

fn parse_switch(word: &str) -> Result<bool, &'static str> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off"),
    }
}

fn parse_origin(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|_| expected_origin())?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(expected_origin());
    };
    // What a browser never sends would allow nobody.
    let sound = format!("{scheme}://{authority}") == text && !text.contains('@');
    if sound { Ok(text.to_owned()) } else { Err(expected_origin()) }
}

fn expected_origin() -> String {
    "expected scheme, host and port such as https://example.org:8443".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for origin in ["http://example.org", "https://example.org:8443"] {
            assert_eq!(parse_origin(origin).as_deref(), Ok(origin));
        }
        for text in [
            "*",
            "example.org",
            "http://example.org/",
            "http://example.org/page",
            "http://example.org?page",
            "http://example.org#place",
            "http://user@example.org",
            "HTTP://example.org",
            "ftp://example.org",
            "",
        ] {
            assert!(parse_origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_settings_are_sound() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }
}
