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
    network, secret, telemetry,
    tls::{Certificates, Identity, Name},
};
use transport::{Endpoints, Tls, rabbitmq::AmqpUrl};

/// How long one attempt to hand over a batch may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Takes log entries off RabbitMQ, hands them to the logger in batches, and acknowledges only what is stored.
///
/// Each setting is a flag and an environment variable of the same name; the flag wins.
#[derive(Debug, Clone, Parser)]
#[command(name = "listener", version = proto::release::VERSION)]
pub struct Config {
    /// Where health and metrics are served over HTTP
    #[arg(long, env, default_value = "127.0.0.1:8083", value_parser = service::listen_address)]
    pub listener_http_listen: SocketAddr,

    /// RabbitMQ; amqps:// encrypts
    #[arg(long, env, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f", hide_env_values = true)]
    pub amqp_url: SecretString,

    /// A file with AMQP_URL in it, which wins over AMQP_URL itself; only its owner may read it
    #[arg(long, env)]
    pub amqp_url_file: Option<PathBuf>,

    /// The queue that is taken from; its dead letters go to a queue of that name with .dead behind it, and those of
    /// logs.entries to logs.dead
    #[arg(long, env, default_value = QUEUE)]
    pub rabbitmq_queue: Queues,

    /// How entries are handed to the logger: http, rpc or grpc
    #[arg(long, env, default_value_t = Direct::Rpc, value_parser = parse_direct)]
    pub listener_transport: Direct,

    /// Most deliveries that are under way at a time without an acknowledgement; a batch has up to half of that. It begins
    /// with one, and is less where they are large
    #[arg(long, env, default_value_t = 512, value_parser = clap::value_parser!(u16).range(2..=2_000))]
    pub listener_prefetch: u16,

    /// Where the logger is.
    #[command(flatten)]
    pub endpoints: Endpoints,

    /// The listener's certificate, in PEM: it serves with it, and shows it to the logger and RabbitMQ; read again at
    /// SIGHUP, with the key and the CA
    #[arg(long, env)]
    pub listener_tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM; only its owner may read it
    #[arg(long, env)]
    pub listener_tls_key: Option<PathBuf>,

    /// The CA of the logger's, RabbitMQ's and its clients' certificates, in PEM
    #[arg(long, env)]
    pub listener_tls_ca: Option<PathBuf>,

    /// The names that clients' certificates may have (subjectAltName); with TLS a client without one of them is refused
    #[arg(long, env, value_delimiter = ',', default_value = "broker")]
    pub listener_tls_clients: Vec<Name>,

    /// Serve other machines without TLS
    #[arg(long, env)]
    pub allow_insecure_network: bool,

    /// The promise that this build breaks on purpose
    #[cfg(feature = "faults")]
    #[arg(long, env)]
    pub listener_fault: Option<crate::faults::Fault>,

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
    pub(crate) rabbitmq: AmqpUrl,
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
            "LISTENER_TLS",
            self.listener_tls_cert.as_deref(),
            self.listener_tls_key.as_deref(),
            self.listener_tls_ca.as_deref(),
        )?;
        let missing: &[&str] = if certificates.is_some() { &[] } else { &["LISTENER_TLS_CERT"] };
        let (listen, allowed) = (self.listener_http_listen, self.allow_insecure_network);
        network::check_exposure("LISTENER_HTTP_LISTEN", listen, missing, allowed)?;
        let own_tls = |own: &Identity| Tls::from_pem(own.chain_pem(), own.key_pem(), own.authority_pem());
        let identity = certificates.as_ref().map(Certificates::identity);
        let tls = identity.map(own_tls).transpose().context("LISTENER_TLS")?;
        // It is no type of its own for the command line, which would repeat a password.
        let secret =
            secret::value_or_file(&self.amqp_url, self.amqp_url_file.as_deref()).context("AMQP_URL_FILE")?;
        let rabbitmq: AmqpUrl = secret.expose_secret().parse().context("AMQP_URL")?;
        // Of the logger's addresses one is used.
        let logger = self.endpoints.encryption(self.listener_transport);
        let addresses = [logger, ("AMQP_URL", rabbitmq.is_encrypted())];
        transport::check_encryption(tls.as_ref(), &addresses)?;
        let rabbitmq = rabbitmq.with_tls(tls.as_ref()).with_queues(self.rabbitmq_queue.clone());
        let transports = transport::Settings {
            endpoints: self.endpoints.clone(),
            amqp_url: None,
            tls,
            deadline: DEADLINE,
            came_by: Some(Transport::Rabbitmq),
        };
        Ok(Checked { rabbitmq, transports, certificates })
    }
}

fn parse_direct(word: &str) -> Result<Direct, String> {
    let transport: Transport = word.parse().map_err(Failure::into_message)?;
    let indirect =
        |Indirect(transport)| format!("entries came by {transport}: hand them on by http, rpc or grpc");
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
