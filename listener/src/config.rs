//! The listener's settings. Its environment is read here and nowhere else.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use proto::{
    Direct, Failure, Indirect, Transport,
    rabbitmq::{QUEUE, Queues},
};
use secrecy::{ExposeSecret, SecretString};
use service::{
    Probe, network, secret, telemetry,
    tls::{Certificates, Identity, Name},
};
use transport::{Endpoints, Tls, rabbitmq::AmqpUrl};

/// How long one attempt to hand over a batch may take, of one entry too: the largest needs a link of 100 KB/s, over `http`,
/// where each of its characters may be escaped, one of 400 KB/s. The logger itself gives a body no more than 10 s.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Consumes log entries from RabbitMQ, hands them to the logger in batches, and acknowledges what is stored.
///
/// Each setting is a flag and an environment variable of the same name; the flag takes precedence.
#[derive(Debug, Clone, Parser)]
#[command(name = "listener", version = proto::release::VERSION)]
pub struct Config {
    /// Address to serve health and metrics on, over HTTP
    #[arg(long, env, default_value = "127.0.0.1:8083", value_parser = service::listen_address)]
    pub listener_http_listen: SocketAddr,

    /// RabbitMQ URL; use amqps:// for TLS; of several nodes of one cluster a comma-separated list, which is tried in turn
    #[arg(long, env, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f", hide_env_values = true)]
    pub amqp_url: SecretString,

    /// File that contains AMQP_URL, which it overrides; only its owner may be able to read it
    #[arg(long, env)]
    pub amqp_url_file: Option<PathBuf>,

    /// RabbitMQ queue to consume; its dead letters go to the queue of that name with .dead appended, those of logs.entries to logs.dead
    #[arg(long, env, default_value = QUEUE)]
    pub rabbitmq_queue: Queues,

    /// Transport to the logger: http, rpc or grpc
    #[arg(long, env, default_value_t = Direct::Rpc, value_parser = parse_direct)]
    pub listener_transport: Direct,

    /// Prefetch: maximum unacked deliveries; a batch has at most half as many. It starts at 1, and stays lower for large messages
    #[arg(long, env, default_value_t = 512, value_parser = clap::value_parser!(u16).range(2..=2_000))]
    pub listener_prefetch: u16,

    /// Where the loggers are.
    #[command(flatten)]
    pub endpoints: Endpoints,

    /// Certificate of the listener (PEM), for HTTPS and as a client of the logger and RabbitMQ; reloaded on SIGHUP, with the key and the CA
    #[arg(long, env)]
    pub listener_tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM); only its owner may be able to read it
    #[arg(long, env)]
    pub listener_tls_key: Option<PathBuf>,

    /// CA certificate that signed those of the logger, RabbitMQ and the clients (PEM)
    #[arg(long, env)]
    pub listener_tls_ca: Option<PathBuf>,

    /// Allowed client certificate names (subjectAltName), comma-separated; with TLS others are rejected
    #[arg(long, env, value_delimiter = ',', default_value = "broker")]
    pub listener_tls_clients: Vec<Name>,

    /// Serve other machines without TLS: anyone who can reach the port may read status and metrics
    #[arg(long, env)]
    pub allow_insecure_network: bool,

    /// Ask the listener that runs with these settings whether it is live or ready; exit with 0 if so, else with 1 and the reason
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "ready")]
    pub health: Option<Probe>,

    /// Promise that this build breaks on purpose
    #[cfg(feature = "faults")]
    #[arg(long, env)]
    pub listener_fault: Option<crate::faults::Fault>,

    /// HTTP.
    #[command(flatten)]
    pub http: service::http::Settings,

    /// Telemetry.
    #[command(flatten)]
    pub telemetry: telemetry::Settings,
}

/// What the settings come to.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) rabbitmq: AmqpUrl,
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
            "LISTENER_TLS",
            self.listener_tls_cert.as_deref(),
            self.listener_tls_key.as_deref(),
            self.listener_tls_ca.as_deref(),
        )?;
        let missing: &[&str] = if certificates.is_some() { &[] } else { &["LISTENER_TLS_CERT"] };
        let (listen, allowed) = (self.listener_http_listen, self.allow_insecure_network);
        network::check_exposure("LISTENER_HTTP_LISTEN", listen, missing, allowed)?;
        let own_tls = |own: &Identity| Tls::from_pem(own.chain_pem(), own.key_pem(), own.ca_pem());
        let identity = certificates.as_ref().map(Certificates::identity);
        let tls = identity.map(own_tls).transpose().context("LISTENER_TLS")?;
        // It is no type of its own for the command line, which would repeat a password.
        let secret =
            secret::value_or_file(&self.amqp_url, self.amqp_url_file.as_deref()).context("AMQP_URL_FILE")?;
        let rabbitmq: AmqpUrl = secret.expose_secret().parse().context("AMQP_URL")?;
        // Of the loggers' addresses those of one transport are used.
        let loggers = self.endpoints.encryption(self.listener_transport);
        transport::check_encryption(tls.as_ref(), &[loggers, rabbitmq.encryption()].concat())?;
        self.endpoints.check()?;
        let rabbitmq = rabbitmq.with_tls(tls.as_ref()).with_queues(self.rabbitmq_queue.clone());
        let transports = transport::Settings {
            endpoints: self.endpoints.clone(),
            amqp_url: None,
            tls,
            coalesce: true,
            deadline: DEADLINE,
            came_by: Some(Transport::Rabbitmq),
        };
        Ok(Checked { rabbitmq, transports, certificates })
    }
}

fn parse_direct(word: &str) -> Result<Direct, String> {
    let transport: Transport = word.parse().map_err(Failure::into_message)?;
    let indirect = |Indirect::Rabbitmq| "expected http, rpc or grpc: entries come from rabbitmq".to_owned();
    Direct::try_from(transport).map_err(indirect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_not_handed_on_the_way_they_came() {
        assert_eq!(parse_direct("grpc"), Ok(Direct::Grpc));
        assert!(parse_direct("rabbitmq").is_err());
        assert!(parse_direct("amqp").is_err());
    }

    #[test]
    fn the_settings_are_sound() {
        use clap::CommandFactory;
        Config::command().debug_assert();
    }
}
