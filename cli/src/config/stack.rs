//! Where the logger and RabbitMQ are, and how they are called: the settings that are variables of the environment too.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use proto::{
    Direct, Transport,
    rabbitmq::{QUEUE, Queues},
};
use secrecy::{ExposeSecret, SecretString};
use transport::{Endpoints, Tls, rabbitmq::AmqpUrl};

use super::number;
use crate::problem::Problem;

/// Longer than any answer of a logger that is well.
const MAX_DEADLINE_MS: u64 = 60_000;

/// Far above a private key or a URL; a mistaken path must not fill the memory.
const SECRET_BYTES: u64 = 64 * 1024;

/// Where the logger and RabbitMQ are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the stack is")]
pub struct Stack {
    /// Where the logger is.
    #[command(flatten)]
    pub endpoints: Endpoints,

    /// RabbitMQ; amqps:// encrypts
    #[arg(
        long,
        env,
        global = true,
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f",
        hide_env_values = true
    )]
    pub amqp_url: SecretString,

    /// A file with AMQP_URL in it, which wins over AMQP_URL itself; only its owner may read it
    #[arg(long, env, global = true)]
    pub amqp_url_file: Option<PathBuf>,

    /// The queue of the entries in RabbitMQ; its dead letters are in a queue of that name with .dead behind it, and those of
    /// logs.entries in logs.dead
    #[arg(long, env, global = true, default_value = QUEUE)]
    pub rabbitmq_queue: Queues,

    /// No delivery and no reading takes longer, in milliseconds
    #[arg(
        long,
        env,
        global = true,
        default_value_t = 5_000,
        value_parser = number(1..=MAX_DEADLINE_MS)
    )]
    pub fourwire_deadline_ms: u64,

    /// The certificate that the logger and RabbitMQ are shown, in PEM
    #[arg(long, env, global = true)]
    pub fourwire_tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM; only its owner may read it
    #[arg(long, env, global = true)]
    pub fourwire_tls_key: Option<PathBuf>,

    /// The authority of the logger's and RabbitMQ's certificates, in PEM
    #[arg(long, env, global = true)]
    pub fourwire_tls_ca: Option<PathBuf>,
}

impl Stack {
    /// Holds the settings against each other, and reads the files that they name. RabbitMQ is left out unless entries go
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
        self.check(true)
            .map_err(Problem::Usage)?
            .amqp_url
            .ok_or_else(|| Problem::Usage(anyhow::anyhow!("AMQP_URL")))
    }

    fn check(&self, with_rabbitmq: bool) -> anyhow::Result<transport::Settings> {
        let tls = self.tls()?;
        let amqp_url = with_rabbitmq.then(|| self.amqp_url()).transpose()?;
        let mut addresses = Direct::ALL.map(|direct| self.endpoints.encryption(direct)).to_vec();
        addresses.extend(amqp_url.iter().map(|url| ("AMQP_URL", url.is_encrypted())));
        transport::check_encryption(tls.as_ref(), &addresses)?;
        Ok(transport::Settings {
            endpoints: self.endpoints.clone(),
            amqp_url: amqp_url.map(|url| url.with_tls(tls.as_ref()).with_queues(self.rabbitmq_queue.clone())),
            tls,
            deadline: self.deadline(),
            came_by: None,
        })
    }

    fn amqp_url(&self) -> anyhow::Result<AmqpUrl> {
        let text = match &self.amqp_url_file {
            Some(file) => SecretString::from(read_secret(file).context("AMQP_URL_FILE")?),
            None => self.amqp_url.clone(),
        };
        // It is no type of its own for the command line, which would repeat a password.
        text.expose_secret().parse().context("AMQP_URL")
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let (cert, key, ca) = match (&self.fourwire_tls_cert, &self.fourwire_tls_key, &self.fourwire_tls_ca) {
            (Some(cert), Some(key), Some(ca)) => (cert, key, ca),
            (None, None, None) => return Ok(None),
            _ => bail!("give FOURWIRE_TLS_CERT, FOURWIRE_TLS_KEY and FOURWIRE_TLS_CA, or none of the three"),
        };
        let read = |setting: &str, path: &Path| {
            let error = || format!("{setting}: cannot read {}", path.display());
            std::fs::read_to_string(path).with_context(error)
        };
        let (chain, authority) = (read("FOURWIRE_TLS_CERT", cert)?, read("FOURWIRE_TLS_CA", ca)?);
        let key = read_secret(key).context("FOURWIRE_TLS_KEY")?;
        Tls::from_pem(&chain, &key, &authority).context("FOURWIRE_TLS").map(Some)
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

/// Reads a secret from a file that nobody but its owner may read; a line feed at its end is not part of it.
fn read_secret(path: &Path) -> anyhow::Result<String> {
    use std::os::unix::fs::MetadataExt;
    let shown = path.display();
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    ensure!(
        metadata.is_file() && metadata.len() <= SECRET_BYTES,
        "{shown} is no file of at most {SECRET_BYTES} bytes"
    );
    ensure!(metadata.mode() & 0o077 == 0, "others may read {shown}: run `chmod 600 {shown}`");
    // The cause could repeat a part of the file.
    let text = std::fs::read_to_string(path).map_err(|_| anyhow::anyhow!("cannot read {shown} as text"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
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
