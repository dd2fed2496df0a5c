//! The words of `fourwire load`.

use std::path::PathBuf;

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use proto::Transport;

use super::number;

pub(super) const LOAD_ABOUT: &str = "\
Store a file of entries, one JSON object per line

A line is an entry as in `log` of POST /handle: {\"name\":…,\"data\":…}, optionally with \"level\", \"id\" and \
\"created_at\". Data that is not a string is stored as its JSON text. Blank lines are skipped. A line that is not an entry \
is reported on standard error with its number, and does not stop the load.

A line without an id gets one that is derived from the file name, its line number and its text (UUID version 5). So \
loading the same file again, or resuming in the middle, stores nothing twice, as long as no lines were added or removed \
before. For standard input, or a file name that is reused for other content, name the input with --source: equal lines at \
the same position would otherwise count as duplicates. A job that loads a line each day sets --source to a name with the \
date; without one, a warning says so when a line counts as stored before.

While it runs it reports its progress. A line is done once it is stored, queued in RabbitMQ, found to be a duplicate, or \
refused; until then it waits for a response. Over write-logs one response covers many lines, so for a while none is done.

When the logger is down, restarts or is overloaded, the load waits and resumes from the first line that is not done. When \
--patience runs out, or at Ctrl-C, it prints the command to resume with. Memory use does not grow with the file.";

pub(super) const LOAD_EXAMPLES: &str = "\
Examples:
  fourwire load entries.ndjson
  fourwire load entries.ndjson --rejects refused.ndjson
  zcat entries.ndjson.gz | fourwire load - --source entries
  backup --report | fourwire load - --source \"backup $(date +%F)\"
  fourwire load entries.ndjson --over rabbitmq

Ways (--over):
  write-logs  one gRPC call for many entries: the fastest, and the default
  sync-logs   one gRPC call in which the logger acknowledges each entry
  http, rpc, rabbitmq, grpc
              batches of up to 1,000 entries over that transport, some in flight

write-logs and sync-logs store entries in the order of the file, unless a failure makes them resend some; batches in \
flight may overtake each other.

The output of `fourwire get --json` has fields that an entry is not sent with; strip them to load it:
  jq -c '{id,name,data,level,created_at}' stored.ndjson | fourwire load -

write-logs names only the first 100 refusals of a call; with --rejects, sync-logs is used instead.";

/// See the command.
#[derive(Debug, Args)]
pub struct Load {
    /// File; - is standard input
    pub file: PathBuf,

    /// How entries are sent
    #[arg(long, default_value = Over::WriteLogs.as_str(), value_parser = Over::parser())]
    pub over: Over,

    /// Maximum entries per write-logs call; 0: the whole file in one call. From standard input or a pipe a call takes at most
    /// 16 MiB, which are kept in memory until it is answered
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000,
        allow_negative_numbers = true,
        value_parser = number(0..=u64::MAX)
    )]
    pub entries_per_call: u64,

    /// Write each refused line to this file unchanged, except lines over 2 MiB. The file must not exist, unless --from-line
    /// resumes a load
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,

    /// Resume at this line, counted from 1
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(1..=u64::MAX))]
    pub from_line: Option<u64>,

    /// Name of the input, from which the ids of lines without one are derived; by default the file name. Equal lines at the
    /// same position of two sources are two entries
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,

    /// Seconds to wait without progress before giving up
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        allow_negative_numbers = true,
        value_parser = number(0..=u64::MAX)
    )]
    pub patience: u64,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// How a load sends its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// gRPC's client streaming: one call for many entries.
    WriteLogs,
    /// gRPC's streaming both ways: each entry is acknowledged.
    SyncLogs,
    /// Batches over a transport.
    Batches(Transport),
}

impl Over {
    fn all() -> impl Iterator<Item = Over> {
        [Over::WriteLogs, Over::SyncLogs].into_iter().chain(Transport::ALL.map(Over::Batches))
    }

    const fn as_str(self) -> &'static str {
        match self {
            Over::WriteLogs => "write-logs",
            Over::SyncLogs => "sync-logs",
            Over::Batches(transport) => transport.as_str(),
        }
    }

    /// Takes the word for one of these, and shows them all in `--help`.
    fn parser() -> impl TypedValueParser<Value = Over> {
        PossibleValuesParser::new(Over::all().map(Over::as_str)).map(|word| {
            Over::all().find(|over| over.as_str() == word).expect("clap has looked that it is one of them")
        })
    }
}
