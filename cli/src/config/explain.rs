//! The words of `fourwire explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use proto::{Transport, flag, limits::BATCH_ENTRIES};

use super::number;
use crate::problem::Problem;

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  fourwire explain --transport http                   two entries in a row
  fourwire explain --transport grpc --call sync-logs  a stream both ways
  fourwire explain --transport rabbitmq --bytes       with the bytes in hex
  fourwire explain --transport rpc --save rpc.ndjson  keep the recording
  fourwire explain --read rpc.ndjson --all            again, with all repeats

It sends entries with the client that the broker uses, through a relay that records what passes, and says what each \
byte means: → to the server, ← to the client, offset and length of each part, and how many bytes have which purpose. \
The entries are stored. Passwords, keys and cookies are neither shown nor saved: other bytes of the same length take \
their place. If a byte is not accounted for, it says so and exits with 1. docs/wires.md says what to look for.";

/// Most entries: as many as a batch has.
const ENTRIES: u64 = BATCH_ENTRIES as u64;

/// See the command.
#[derive(Debug, Args)]
pub struct Explain {
    /// Transport to look at
    #[arg(long, default_value = "http", value_parser = flag::one_of(Transport::ALL, Transport::as_str))]
    pub transport: Transport,

    /// Call to make: write-log, write-batch, or over grpc write-logs, sync-logs, tail-logs
    #[arg(long, value_enum, default_value_t = Call::WriteLog, hide_possible_values = true)]
    pub call: Call,

    /// Number of entries
    #[arg(long, default_value_t = 2, value_parser = number(1..=ENTRIES))]
    pub entries: u64,

    /// Name of each entry, 1 to 256 bytes
    #[arg(long, default_value = "event")]
    pub name: String,

    /// Text of each entry, up to 256 KiB
    #[arg(long, default_value = "hello")]
    pub data: String,

    /// Show repeats too
    #[arg(long)]
    pub all: bool,

    /// Show the bytes in hexadecimal
    #[arg(long)]
    pub bytes: bool,

    /// Print a line of JSON for each request, response or frame, repeats included
    #[arg(long)]
    pub json: bool,

    /// Keep the recording in a file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,

    /// Send nothing: explain a recording from a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["transport", "call", "entries", "name", "data", "save"])]
    pub read: Option<PathBuf>,
}

/// A call of the logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Call {
    /// One entry each.
    WriteLog,
    /// All at once.
    WriteBatch,
    /// A client stream and a summary.
    WriteLogs,
    /// Streams in both directions.
    SyncLogs,
    /// A server stream: what is stored.
    TailLogs,
}

impl Call {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Call::WriteLog => "write-log",
            Call::WriteBatch => "write-batch",
            Call::WriteLogs => "write-logs",
            Call::SyncLogs => "sync-logs",
            Call::TailLogs => "tail-logs",
        }
    }

    fn is_stream(self) -> bool {
        match self {
            Call::WriteLog | Call::WriteBatch => false,
            Call::WriteLogs | Call::SyncLogs | Call::TailLogs => true,
        }
    }
}

impl Explain {
    /// Refuses a call that its transport does not have.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let (call, transport) = (self.call.as_str(), self.transport);
        if self.call.is_stream() && transport != Transport::Grpc {
            let why =
                format!("--call {call} is a stream, which {transport} does not have: use --transport grpc");
            return Err(Problem::usage(why));
        }
        Ok(())
    }
}
