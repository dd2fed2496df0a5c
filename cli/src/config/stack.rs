//! Where the logger and RabbitMQ are, and how they are called: the settings that are variables of the environment too.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;
use proto::{
    Direct, Transport,
    rabbitmq::{QUEUE, Queues},
};
use secrecy::{ExposeSecret, SecretString};
use settings::{
    secret,
    tls::{Files, Pem},
};
use transport::{Endpoints, Tls, rabbitmq::AmqpUrl};

use super::number;
use crate::problem::Problem;

/// Longer than any answer of a logger that is well.
const MAX_DEADLINE_MS: u64 = 60_000;

/// What its options stand under in `--help`.
pub(super) const HEADING: &str = "Connection options";

/// Where the logger and RabbitMQ are.
#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub struct Stack {
    /// Where the loggers are.
    #[command(flatten)]
    pub endpoints: Endpoints,

    /// RabbitMQ URL; use amqps:// for TLS; of several nodes of one cluster a comma-separated list, which is tried in turn
    #[arg(
        long,
        env,
        global = true,
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f",
        hide_env_values = true
    )]
    pub amqp_url: SecretString,

    /// File that contains AMQP_URL, which it overrides; only its owner may be able to read it
    #[arg(long, env, global = true)]
    pub amqp_url_file: Option<PathBuf>,

    /// RabbitMQ queue of entries; its dead letters are in the queue of that name with .dead appended, those of logs.entries
    /// in logs.dead
    #[arg(long, env, global = true, default_value = QUEUE)]
    pub rabbitmq_queue: Queues,

    /// Deadline of each delivery and each read, in milliseconds
    #[arg(
        long,
        env,
        global = true,
        default_value_t = 5_000,
        value_parser = number(1..=MAX_DEADLINE_MS)
    )]
    pub fourwire_deadline_ms: u64,

    /// Client certificate for the logger and RabbitMQ (PEM)
    #[arg(long, env, global = true)]
    pub fourwire_tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM); only its owner may be able to read it
    #[arg(long, env, global = true)]
    pub fourwire_tls_key: Option<PathBuf>,

    /// CA certificate that signed those of the logger and RabbitMQ (PEM)
    #[arg(long, env, global = true)]
    pub fourwire_tls_ca: Option<PathBuf>,
}

impl Stack {
    /// Checks the settings against each other, and reads the files that they name. RabbitMQ is left out unless entries go
    /// there.
    pub(crate) fn settings(&self, transport: Option<Transport>) -> Result<transport::Settings, Problem> {
        self.check(transport == Some(Transport::Rabbitmq)).map_err(Problem::Usage)
    }

    /// No delivery and no reading takes longer.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.fourwire_deadline_ms)
    }

    /// Where RabbitMQ is, for what needs nothing else.
    pub(crate) fn rabbitmq(&self) -> Result<AmqpUrl, Problem> {
        self.check(true).map_err(Problem::Usage)?.amqp_url.ok_or_else(|| Problem::usage("AMQP_URL"))
    }

    fn check(&self, with_rabbitmq: bool) -> anyhow::Result<transport::Settings> {
        let tls = self.tls()?;
        let amqp_url = with_rabbitmq.then(|| self.amqp_url()).transpose()?;
        let mut addresses = Direct::ALL.map(|direct| self.endpoints.encryption(direct)).concat();
        addresses.extend(amqp_url.iter().flat_map(AmqpUrl::encryption));
        transport::check_encryption(tls.as_ref(), &addresses)?;
        self.endpoints.check()?;
        Ok(transport::Settings {
            endpoints: self.endpoints.clone(),
            amqp_url: amqp_url.map(|url| url.with_tls(tls.as_ref()).with_queues(self.rabbitmq_queue.clone())),
            tls,
            coalesce: true,
            deadline: self.deadline(),
            came_by: None,
        })
    }

    fn amqp_url(&self) -> anyhow::Result<AmqpUrl> {
        let text = secret::value_or_file(&self.amqp_url, self.amqp_url_file.as_deref());
        let text = text.context("AMQP_URL_FILE")?;
        // It is no type of its own for the command line, which would repeat a password.
        text.expose_secret().parse().context("AMQP_URL")
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let (cert, key) = (self.fourwire_tls_cert.as_deref(), self.fourwire_tls_key.as_deref());
        let files = Files::new("FOURWIRE_TLS", cert, key, self.fourwire_tls_ca.as_deref())?;
        let Some(files) = files else { return Ok(None) };
        let Pem { chain, key, ca } = files.read()?;
        Tls::from_pem(&chain, &key, &ca).context("FOURWIRE_TLS").map(Some)
    }
}

/// The setting that says where the other end of a transport is.
pub(crate) fn place(transport: Transport) -> &'static str {
    match transport {
        Transport::Http => Endpoints::setting(Direct::Http),
        Transport::Rpc => Endpoints::setting(Direct::Rpc),
        Transport::Rabbitmq => "AMQP_URL",
        Transport::Grpc => Endpoints::setting(Direct::Grpc),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Config;

    fn stack(line: &str) -> Stack {
        Config::try_parse_from(line.split(' ')).expect("each setting by itself is well").stack
    }

    #[test]
    fn some_of_the_files_for_tls_are_not_enough() {
        let stack = stack("fourwire get --fourwire-tls-cert /nowhere");
        let error = stack.check(false).expect_err("a key is missing");
        assert!(error.to_string().contains("FOURWIRE_TLS_KEY"), "{error}");
    }

    #[test]
    fn rabbitmq_is_looked_at_only_where_it_is_needed() {
        let stack = stack("fourwire get --amqp-url nonsense");
        assert!(stack.check(false).is_ok(), "it is read later");
        let error = format!("{:#}", stack.check(true).expect_err("no URL"));
        assert!(error.contains("AMQP_URL") && !error.contains("nonsense"), "{error}");
    }
}
