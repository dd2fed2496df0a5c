//! The words of `fourwire send`.

use clap::Args;
use proto::{Level, Transport, flag};

pub(super) const SEND_EXAMPLES: &str = "\
Examples:
  fourwire send --name event hello
  fourwire send --transport grpc --name build --level error 'it failed'
  date | fourwire send --name time -";

/// See the command.
#[derive(Debug, Args)]
pub struct Send {
    /// What happened, in 1 to 256 bytes
    #[arg(long)]
    pub name: String,

    /// Its text, up to 256 KiB; - is standard input, without a line feed at its end
    pub data: String,

    /// Transport; over rabbitmq the entry is queued first, and the listener stores it
    #[arg(long, default_value = "http", value_parser = flag::one_of(Transport::ALL, Transport::as_str))]
    pub transport: Transport,

    /// Severity
    #[arg(long, default_value = "info", value_parser = flag::one_of(Level::ALL, Level::as_str))]
    pub level: Level,

    /// A UUID that identifies it: sent twice, it is stored once. Left out: one is made
    #[arg(long)]
    pub id: Option<String>,

    /// When it happened, as RFC 3339. Left out: now
    #[arg(long)]
    pub created_at: Option<String>,

    /// Print the outcome as JSON, as the broker answers it in `data`; of a failure with its message
    #[arg(long)]
    pub json: bool,
}
