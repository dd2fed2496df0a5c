//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use proto::Transport;

use crate::{
    outage::RATE,
    workload::{BASE_CALLERS, BASE_PAYLOAD, Subject},
};

/// Measures the four transports side by side, on this machine, in one run: speed, cost, and what each keeps.
///
/// It starts the system itself, on free ports and with a RabbitMQ node of its own, and stops it. A table comes on the
/// terminal; report.html, report.json and cells.csv go to a directory. docs/comparing.md says how it measures.
#[derive(Debug, Parser)]
#[command(name = "compare", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do; without it, measure
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How to measure
    #[command(flatten)]
    pub measure: Measure,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The same load under the same failures: who notices, who waits, who loses
    Faults(Faults),
    /// Two builds of the services, or two settings, in turn: what a change is worth
    Builds(Builds),
    /// The gRPC calls side by side, and what a tail costs the writers
    Streams(Streams),
    /// The same system in Go beside ours, in turn: ratios
    Peer(Peer),
    /// What the lectures of the course claim, and what a run shows of it; about five minutes
    Claims(Claims),
    /// Compares two reports
    Diff {
        /// A directory with a report.json, or the file
        before: PathBuf,
        /// Another
        after: PathBuf,
    },
    /// Renders the pages again from a report.json
    Draw {
        /// A directory with a report.json, or the file; the pages go beside it
        report: PathBuf,
    },
}

/// How to measure.
#[derive(Debug, Clone, Args)]
pub struct Measure {
    /// Two minutes instead of fifteen: a smoke test, no evidence and no verdicts
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,

    /// The same cells with more and longer repetitions: an hour and a half
    #[arg(long)]
    pub full: bool,

    /// Common options
    #[command(flatten)]
    pub common: Common,

    /// A setting of the services that differs from its default, as NAME=VALUE; repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,

    /// Measure a system that runs on this machine already, at its broker's address such as 127.0.0.1:8080, instead of
    /// starting one; CPU and memory, and what needs other settings, are left out
    #[arg(long, value_name = "ADDRESS", requires = "logger", value_parser = parse_own_address, conflicts_with = "settings")]
    pub target: Option<SocketAddr>,

    /// The HTTP address of that system's logger, such as 127.0.0.1:8082: every entry is verified there
    #[arg(long, value_name = "ADDRESS", requires = "target", value_parser = parse_own_address)]
    pub logger: Option<SocketAddr>,

    /// Measure even with a debug build, a build of `make run`, a busy machine (which --quick accepts) or a store in memory; the
    /// report says so
    #[arg(long)]
    pub force: bool,
}

/// What every run is told.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Random seed (order, payloads, arrivals)
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Where the report goes; by default compare-DATE, faults-DATE or claims-DATE in the current directory
    #[arg(long)]
    pub out: Option<PathBuf>,

    /// Where the binaries broker, logger and listener are; by default where this one is
    #[arg(long)]
    pub binaries: Option<PathBuf>,
}

/// What to break.
#[derive(Debug, Clone, Args)]
pub struct Faults {
    /// Common options
    #[command(flatten)]
    pub common: Common,

    /// Requests per second over each transport
    #[arg(long, default_value_t = RATE)]
    pub rate: f64,
}

/// What to hold against what.
#[derive(Debug, Clone, Args)]
pub struct Builds {
    /// A directory with the binaries broker, logger and listener
    pub before: PathBuf,

    /// Another, or the same with other settings
    pub after: PathBuf,

    /// A setting of the services of BEFORE, as NAME=VALUE; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub set_before: Vec<(String, String)>,

    /// A setting of the services of AFTER
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub set_after: Vec<(String, String)>,

    /// The kind of store of AFTER: sqlite, as BEFORE has it, or postgres, a server of its own from Debian's package,
    /// whose CPU time is not counted
    #[arg(long, value_name = "KIND", default_value = "sqlite")]
    pub store_after: StoreKind,

    /// Entries in the store of AFTER at start: what a large store costs
    #[arg(long, value_name = "ENTRIES", default_value_t = 0)]
    pub fill_after: u64,

    /// Rounds; all services are restarted after every second
    #[arg(long, default_value_t = 12)]
    pub rounds: usize,

    /// Duration of each measurement, in milliseconds
    #[arg(long, default_value_t = 500)]
    pub milliseconds: u64,

    /// Concurrency: clients, each with a connection
    #[arg(long, alias = "callers", default_value_t = BASE_CALLERS)]
    pub clients: usize,

    /// Bytes of each entry
    #[arg(long, default_value_t = BASE_PAYLOAD)]
    pub payload: usize,

    /// Transport to measure; repeatable. By default all four, and the baseline
    #[arg(long = "transport", value_name = "TRANSPORT")]
    pub transports: Vec<Transport>,

    /// Random seed (payloads)
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Measure even on a busy machine
    #[arg(long)]
    pub force: bool,
}

/// Where a side keeps its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreKind {
    /// A file.
    Sqlite,
    /// A database.
    Postgres,
}

/// The calls of gRPC beside each other.
#[derive(Debug, Clone, Args)]
pub struct Streams {
    /// Rounds
    #[arg(long, default_value_t = 8)]
    pub rounds: usize,

    /// Duration of each measurement, in milliseconds
    #[arg(long, default_value_t = 700)]
    pub milliseconds: u64,

    /// Bytes of each entry
    #[arg(long, default_value_t = BASE_PAYLOAD)]
    pub payload: usize,

    /// Measure even with a debug build, a build of `make run`, or a busy machine
    #[arg(long)]
    pub force: bool,
}

/// The peer beside ours.
#[derive(Debug, Clone, Args)]
pub struct Peer {
    /// Concurrency: connections, one number after the other
    #[arg(default_values_t = [64, 16, 1])]
    pub connections: Vec<usize>,

    /// Common options
    #[command(flatten)]
    pub common: Common,

    /// The program that tools/compare/peer/build.sh builds; by default gopeer, where our binaries are
    #[arg(long, value_name = "FILE")]
    pub gopeer: Option<PathBuf>,

    /// How often each cell is measured
    #[arg(long, default_value_t = 3)]
    pub repetitions: usize,

    /// Duration of each measurement, in whole seconds
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,

    /// Bytes of each entry
    #[arg(long, default_value_t = BASE_PAYLOAD)]
    pub payload: usize,

    /// Transport to measure, or echo; repeatable. By default all
    #[arg(long = "transport", value_name = "TRANSPORT", value_parser = parse_subject)]
    pub subjects: Vec<Subject>,

    /// Measure even with a debug build, a build of `make run`, or a busy machine
    #[arg(long)]
    pub force: bool,
}

/// Which claims to measure.
#[derive(Debug, Clone, Args)]
pub struct Claims {
    /// Common options
    #[command(flatten)]
    pub common: Common,

    /// Only this claim, by its number in docs/claims.md; repeatable
    #[arg(long, value_name = "NUMBER")]
    pub only: Vec<u8>,

    /// Two minutes, with shorter measurements: a smoke test, no evidence
    #[arg(long)]
    pub quick: bool,

    /// Measure nothing: judge the claims.json of a directory again, and write its pages
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["only", "quick"])]
    pub draw: Option<PathBuf>,

    /// Measure even with a debug build, a build of `make run`, or a busy machine (which --quick accepts); the pages say so
    #[arg(long)]
    pub force: bool,
}

impl Claims {
    /// Whether a claim is to be measured.
    pub fn chooses(&self, id: u8) -> bool {
        self.only.is_empty() || self.only.contains(&id)
    }
}

fn parse_subject(text: &str) -> Result<Subject, String> {
    let all = Subject::ALL.iter();
    let found = all.copied().find(|subject| subject.as_str() == text);
    found.ok_or_else(|| format!("expected one of {}", Subject::ALL.map(Subject::as_str).join(", ")))
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as BROKER_DEADLINE_MS=1000")?;
    if name.ends_with("_URL")
        || name.ends_with("_LISTEN")
        || name.ends_with("_ADDR")
        || name == "LOGGER_STORE"
    {
        return Err(format!("{name} is chosen by compare itself"));
    }
    let known = [
        "BROKER_",
        "LISTENER_",
        "LOGGER_",
        "LOG_FORMAT",
        "METRICS",
        "OTEL_",
        "RUST_LOG",
        "TOKIO_WORKER_THREADS",
    ];
    if !known.iter().any(|known| name.starts_with(known)) {
        return Err(format!(
            "{name} is not a setting of the services: see broker --help, listener --help, logger --help"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// A load is for one's own machine.
fn parse_own_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:8080")?;
    if !address.ip().is_loopback() {
        return Err("load is sent to this machine only: expected an address such as 127.0.0.1:8080".into());
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_name_and_a_value() {
        assert_eq!(parse_setting("RUST_LOG=b=c"), Ok(("RUST_LOG".to_owned(), "b=c".to_owned())));
        assert!(parse_setting("LISTENER_PREFETCH=2").is_ok());
        for text in ["A", "A=b", "AMQP_URL=x", "LOGGER_STORE=nothing", "BROKER_HTTP_LISTEN=1"] {
            assert!(parse_setting(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_load_is_sent_to_this_machine_alone() {
        assert!(parse_own_address("127.0.0.1:8080").is_ok());
        assert!(parse_own_address("[::1]:8080").is_ok());
        for text in ["192.0.2.1:80", "localhost", "127.0.0.1"] {
            assert!(parse_own_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_arguments_are_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
