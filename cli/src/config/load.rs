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

A line is an entry as in `log` of POST /handle: {\"name\":…,\"data\":…}, and where wanted \"level\", \"id\" and
\"created_at\". Data that is no string is kept as its JSON text. Blank lines are skipped. A line that is no entry is
named on standard error with its number, and does not stop the load.

A line without an id gets one that is made of the file's name, its number and its text (UUID version 5). So loading the
same file again, or from a line in the middle, stores nothing twice, as long as the lines before are still as many. For
a file whose name others have had, or standard input, say with --source which it is: lines that are the same in the same
place would be taken for those of before. A job that loads a line each day gives --source a name of that day; where it
gives none and a line counts as stored before, a warning says so.

While it runs it says how far it has come. A line is done once it is stored, queued in RabbitMQ, known to be stored
before, or refused; from when it is read until then it waits for an answer. Over write-logs one answer comes for many
lines, so that for a while none is done.

When the logger is lost, restarts, or has no room, the load waits and goes on from the first line that is not done. When
its patience ends, or at Ctrl-C, it says with which command to go on. However large the file is, it takes little memory.";

pub(super) const LOAD_EXAMPLES: &str = "\
Examples:
  fourwire load entries.ndjson
  fourwire load entries.ndjson --rejects refused.ndjson
  zcat entries.ndjson.gz | fourwire load - --source entries
  backup --report | fourwire load - --source \"backup $(date +%F)\"
  fourwire load entries.ndjson --over rabbitmq

The ways:
  write-logs  one gRPC call for many entries, answered once at its end: the fastest, and the default
  sync-logs   one gRPC call in which the logger acknowledges each entry
  http, rpc, rabbitmq, grpc
              batches of up to 1,000 entries over that transport, a few at a time
The first two store in the order of the file, unless a failure makes them send some again; batches that are on their
way together may overtake each other.

A file that `fourwire get --json` has written has fields in it that no entry is sent with; to load it, strip them:
  jq -c '{id,name,data,level,created_at}' stored.ndjson | fourwire load -

write-logs names only the first 100 refusals of a call; therefore, with --rejects, sync-logs takes its place.";

/// See the command.
#[derive(Debug, Args)]
pub struct Load {
    /// The file; - is standard input
    pub file: PathBuf,

    /// By which way the entries go
    #[arg(long, default_value = Over::WriteLogs.as_str(), value_parser = Over::parser())]
    pub over: Over,

    /// Most entries of one call of write-logs; 0: the whole file in one call. From what is no file a call has at most 16
    /// MiB, which are kept until it is answered
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000,
        allow_negative_numbers = true,
        value_parser = number(0..=u64::MAX)
    )]
    pub entries_per_call: u64,

    /// Write each line that is refused to this file as it was; only those beyond 2 MiB are left out. The file must not be
    /// there, unless --from-line goes on
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,

    /// Go on at this line, counted from 1
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(1..=u64::MAX))]
    pub from_line: Option<u64>,

    /// What the lines belong to, for the ids of those that bring none; by default the file's name. Two sources with the
    /// same line in the same place are two entries
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,

    /// How many seconds to wait without any progress before giving up
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

/// The way by which a load goes.
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
