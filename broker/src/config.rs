//! The broker's settings. Its environment is read here and nowhere else.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use http::Uri;
use proto::{
    Transport,
    rabbitmq::{QUEUE, Queues},
};
use secrecy::{ExposeSecret, SecretString};
use service::{
    network, secret, telemetry,
    tls::{Certificates, Identity},
};
use transport::{Tls, grpc::GrpcUrl, http::HttpUrl, rabbitmq::AmqpUrl, rpc::RpcAddr};

/// Shorter than the grace period of a shutdown, so that every request in flight is answered.
const MAX_DEADLINE_MS: u64 = 7_000;

/// More than this machine answers, and still whole nanoseconds apart.
const MAX_KEY_RATE: i64 = 1_000_000;

/// The HTTP front: takes log entries as JSON, and hands each to the logger over the transport that the request
/// names.
///
/// Each setting is a flag and an environment variable of the same name; the flag wins.
#[derive(Debug, Clone, Parser)]
#[command(name = "broker", version = proto::release::VERSION)]
pub struct Config {
    /// Where HTTP is served
    #[arg(long, env, default_value = "127.0.0.1:8080", value_parser = service::listen_address)]
    pub broker_http_listen: SocketAddr,

    /// The logger's HTTP address, to write over http and to read back
    #[arg(long, env, default_value = "http://127.0.0.1:8082")]
    pub logger_http_url: HttpUrl,

    /// The listener's HTTP address, to ask how it is
    #[arg(long, env, default_value = "http://127.0.0.1:8083")]
    pub listener_http_url: HttpUrl,

    /// The logger's rpc address; tls:// before it encrypts
    #[arg(long, env, default_value = "127.0.0.1:5002")]
    pub logger_rpc_addr: RpcAddr,

    /// The logger's gRPC address
    #[arg(long, env, default_value = "http://127.0.0.1:50001")]
    pub logger_grpc_url: GrpcUrl,

    /// RabbitMQ; amqps:// encrypts
    #[arg(long, env, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f", hide_env_values = true)]
    pub amqp_url: SecretString,

    /// A file with AMQP_URL in it, which wins over AMQP_URL itself; only its owner may read it
    #[arg(long, env)]
    pub amqp_url_file: Option<PathBuf>,

    /// The queue in RabbitMQ that entries wait in; a stack of its own on the same virtual host needs another name, here and
    /// for its listener
    #[arg(long, env, default_value = QUEUE)]
    pub rabbitmq_queue: Queues,

    /// How many listeners take from the queue: if there are more for a while, the log and /status say so
    #[arg(long, env, default_value_t = 1)]
    pub broker_listeners: u32,

    /// The transport of requests that name none: http, rpc, rabbitmq or grpc
    #[arg(long, env, default_value_t = Transport::Http)]
    pub broker_default_transport: Transport,

    /// No delivery takes longer, in milliseconds, up to 7000: past it the answer is 504. For up to half of it a delivery
    /// waits for its turn, and is answered 503 then
    #[arg(long, env, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=MAX_DEADLINE_MS))]
    pub broker_deadline_ms: u64,

    /// Origins of pages that may call the broker, besides those of this machine; separated by commas
    #[arg(long, env, value_delimiter = ',', value_parser = parse_origin)]
    pub broker_cors_origins: Vec<String>,

    /// The keys of callers, as `make key` writes them; read again at SIGHUP. Without it nobody is asked for a key
    #[arg(long, env)]
    pub broker_keys_file: Option<PathBuf>,

    /// How many requests per second, and at once, each name in the file of keys may make; 0 is no limit
    #[arg(long, env, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=MAX_KEY_RATE))]
    pub broker_key_rate: u32,

    /// The broker's certificate, in PEM: the broker serves HTTPS with it, and shows it to the logger, the listener and
    /// RabbitMQ; read again at SIGHUP, with the key and the CA
    #[arg(long, env)]
    pub broker_tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM; only its owner may read it
    #[arg(long, env)]
    pub broker_tls_key: Option<PathBuf>,

    /// The CA of the logger's, the listener's and RabbitMQ's certificates, in PEM
    #[arg(long, env)]
    pub broker_tls_ca: Option<PathBuf>,

    /// Serve other machines without TLS or keys: whoever reaches the port may write and read all entries
    #[arg(long, env)]
    pub allow_insecure_network: bool,

    /// The promise that this build breaks on purpose
    #[cfg(feature = "faults")]
    #[arg(long, env)]
    pub broker_fault: Option<crate::faults::Fault>,

    /// How HTTP is served.
    #[command(flatten)]
    pub http: service::http::Settings,

    /// What the process tells of itself.
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
    /// Holds the settings against each other, and reads the files that they name.
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
        let (listen, allowed) = (self.broker_http_listen, self.allow_insecure_network);
        let missing: Vec<&str> = missing.collect();
        network::check_exposure("BROKER_HTTP_LISTEN", listen, &missing, allowed)?;
        let identity = certificates.as_ref().map(Certificates::identity);
        Ok(Checked { transports: self.transports(identity)?, certificates })
    }

    fn transports(&self, identity: Option<&Identity>) -> anyhow::Result<transport::Settings> {
        let tls = identity.map(|own| Tls::from_pem(own.chain_pem(), own.key_pem(), own.ca_pem()));
        let tls = tls.transpose().context("BROKER_TLS")?;
        // It is no type of its own for the command line, which would repeat a password.
        let amqp_url = secret::value_or_file(&self.amqp_url, self.amqp_url_file.as_deref());
        let amqp_url = amqp_url.context("AMQP_URL_FILE")?;
        let amqp_url: AmqpUrl = amqp_url.expose_secret().parse().context("AMQP_URL")?;
        let addresses = [
            ("LOGGER_HTTP_URL", self.logger_http_url.is_encrypted()),
            ("LISTENER_HTTP_URL", self.listener_http_url.is_encrypted()),
            ("LOGGER_RPC_ADDR", self.logger_rpc_addr.is_encrypted()),
            ("LOGGER_GRPC_URL", self.logger_grpc_url.is_encrypted()),
            ("AMQP_URL", amqp_url.is_encrypted()),
        ];
        transport::check_encryption(tls.as_ref(), &addresses)?;
        Ok(transport::Settings {
            logger_http_url: self.logger_http_url.clone(),
            logger_rpc_addr: self.logger_rpc_addr.clone(),
            logger_grpc_url: self.logger_grpc_url.clone(),
            amqp_url: Some(amqp_url.with_tls(tls.as_ref()).with_queues(self.rabbitmq_queue.clone())),
            tls,
            deadline: Duration::from_millis(self.broker_deadline_ms),
            came_by: None,
        })
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
    "give scheme, host and port such as https://example.org:8443".to_owned()
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
