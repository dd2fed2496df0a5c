//! `make certs`: makes an authority and a certificate for each service and RabbitMQ, and says how they are used.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use certs::{Authority, Validity};
use clap::Parser;

/// Creates a CA for development, and a certificate for each service, for the command fourwire and for RabbitMQ. They are
/// valid on this machine (localhost, 127.0.0.1, ::1) for 90 days. The CA's own key is not kept.
#[derive(Debug, Parser)]
#[command(name = "certs", version)]
struct Arguments {
    /// Directory to write to; existing files are replaced
    #[arg(default_value = ".run/certs")]
    directory: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Arguments { directory } = Arguments::parse();
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let directory = directory.canonicalize()?;
    let authority = Authority::new()?;
    let ca = authority.write(&directory)?;
    let mut settings = String::new();
    for service in ["broker", "logger", "listener", "fourwire"] {
        let files = authority.issue(service, Validity::Current)?.write(&directory, service)?;
        let prefix = service.to_uppercase();
        let pairs = [("CERT", &files.cert), ("KEY", &files.key), ("CA", &ca)];
        for (setting, file) in pairs {
            settings.push_str(&format!("{prefix}_TLS_{setting}='{}'\n", file.display()));
        }
    }
    authority.issue("rabbitmq", Validity::Current)?.write(&directory, "rabbitmq")?;
    // Where the services listen unless told otherwise, and RabbitMQ with SECURITY.md's lines.
    for (setting, address) in [
        ("LOGGER_HTTP_URL", "https://localhost:8082"),
        ("LISTENER_HTTP_URL", "https://localhost:8083"),
        ("LOGGER_RPC_ADDR", "tls://localhost:5002"),
        ("LOGGER_GRPC_URL", "https://localhost:50001"),
        ("AMQP_URL", "amqps://guest:guest@localhost:5671/%2f"),
    ] {
        settings.push_str(&format!("{setting}='{address}'\n"));
    }
    let path = directory.join("env");
    std::fs::write(&path, settings).with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(std::io::stdout(), "{}", directory.display())
        .context("the certificates are made, but cannot be told of")
}
