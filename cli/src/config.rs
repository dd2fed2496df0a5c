//! The command's words and settings. Its environment is read here and nowhere else.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use proto::{Level, TailDraft, TailQuery, Transport};
use secrecy::{ExposeSecret, SecretString};
use transport::{Tls, grpc::GrpcUrl, http::HttpUrl, rabbitmq::AmqpUrl, rpc::RpcAddr};

use crate::problem::Problem;

/// Longer than any answer of a logger that is well.
const MAX_DEADLINE_MS: u64 = 60_000;

/// Far above a private key or a URL; a mistaken path must not fill the memory.
const SECRET_BYTES: u64 = 64 * 1024;

const EXAMPLES: &str = "\
Examples:
  fourwire send --name event hello                      store an entry over http
  fourwire send --transport rabbitmq --name event hello queue it in RabbitMQ
  fourwire get --level error --limit 5                  the newest five errors
  fourwire tail --contains timeout                      what comes from now on
  fourwire load entries.ndjson                          store a whole file

Exit codes:
  0  done: stored, queued, or stored before
  1  refused: it will be refused again as it is; or there is no such entry
  2  the command makes no sense, or a file or setting cannot be used
  3  not all is done, and what is not is certainly not stored
  4  it may or may not be stored; sending it again with the same id is safe

`make run` starts the stack that all this talks to.";

/// Sends log entries to Fourwire, reads them back, follows them, and loads files of them.
///
/// It talks to the logger itself, and to RabbitMQ, and needs no broker. Each setting is a flag and an environment
/// variable of the same name; the flag wins.
#[derive(Debug, Parser)]
#[command(name = "fourwire", version, after_help = EXAMPLES)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Where to do it.
    #[command(flatten)]
    pub stack: Stack,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store one entry, over the transport of your choice
    #[command(after_help = SEND_EXAMPLES)]
    Send(Send),
    /// Read stored entries back: one by its id, or the newest that meet all conditions
    #[command(after_help = GET_EXAMPLES)]
    Get(Get),
    /// Follow what is stored, over restarts of the logger too, until Ctrl-C
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(Tail),
    /// Store a file of entries, one JSON object per line
    #[command(long_about = LOAD_ABOUT, after_help = LOAD_EXAMPLES)]
    Load(Load),
}

const SEND_EXAMPLES: &str = "\
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

    /// By which way it goes; over rabbitmq it is queued first, and stored by the listener
    #[arg(long, default_value = "http", value_parser = words(Transport::ALL, Transport::as_str))]
    pub transport: Transport,

    /// How serious it is
    #[arg(long, default_value = "info", value_parser = words(Level::ALL, Level::as_str))]
    pub level: Level,

    /// A UUID that identifies it: sent twice, it is stored once. Left out: one is made
    #[arg(long)]
    pub id: Option<String>,

    /// When it happened, as RFC 3339. Left out: now
    #[arg(long)]
    pub created_at: Option<String>,

    /// Print the outcome as JSON, as the broker answers it in `data`
    #[arg(long)]
    pub json: bool,
}

const GET_EXAMPLES: &str = "\
Examples:
  fourwire get 01a1fc81-0c09-763f-8df2-a41011d222e4
  fourwire get --name build --level error --since 2026-01-31T12:00:00Z
  fourwire get --all --json > everything.ndjson

A file that `get --all --json` has written can be loaded again once it has the fields of an entry alone:
  fourwire get --all --json | jq -c '{id,name,data,level,created_at}' | fourwire load -";

/// See the command.
#[derive(Debug, Args)]
pub struct Get {
    /// The id of one entry
    #[arg(conflicts_with_all = ["name", "level", "transport", "since", "until", "contains", "limit", "all", "cursor"])]
    pub id: Option<String>,

    /// Which entries.
    #[command(flatten)]
    pub filter: Filter,

    /// At most so many, the newest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,

    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,

    /// Go on where a reading was broken off: it says the cursor then
    #[arg(long)]
    pub cursor: Option<String>,

    /// Print each entry as a line of JSON, exactly as it is stored
    #[arg(long)]
    pub json: bool,
}

const TAIL_EXAMPLES: &str = "\
Examples:
  fourwire tail                          what comes from now on
  fourwire tail --name build --json      one name, as JSON with the cursor of each entry
  fourwire tail --from-start             all that is stored, and then what comes
  fourwire tail --after 4711             goes on after the entry with that cursor

Ctrl-C ends it, and says with which cursor to go on. Nothing is missed and nothing is told twice, also when the logger
is restarted meanwhile. What retention has deleted, or --max-lag skipped, is counted on standard error.";

/// See the command.
#[derive(Debug, Args)]
pub struct Tail {
    /// Which entries.
    #[command(flatten)]
    pub filter: Filter,

    /// Begin after the entry with this cursor
    #[arg(long, value_name = "CURSOR", conflicts_with_all = ["from_start", "since"])]
    pub after: Option<String>,

    /// Begin with the oldest entry
    #[arg(long, conflicts_with = "since")]
    pub from_start: bool,

    /// When more than N entries behind, skip to the newest N. Left out: it skips nothing
    #[arg(long, value_name = "N")]
    pub max_lag: Option<String>,

    /// Print each entry as a line of JSON, with its `cursor`
    #[arg(long)]
    pub json: bool,
}

impl Tail {
    /// The question that it comes to.
    ///
    /// # Errors
    /// With the condition that is out of its limits, and what it takes.
    pub(crate) fn query(&self) -> Result<TailQuery, Problem> {
        let after = if self.from_start { Some("0".to_owned()) } else { self.after.clone() };
        checked(TailDraft { after, max_lag: self.max_lag.clone(), ..self.filter.draft() })
    }
}

const LOAD_ABOUT: &str = "\
Store a file of entries, one JSON object per line

A line is an entry as in `log` of POST /handle: {\"name\":…,\"data\":…}, and where wanted \"level\", \"id\" and
\"created_at\". Data that is no string is kept as its JSON text. Blank lines are skipped. A line that is no entry is
named on standard error with its number, and does not stop the load.

A line without an id gets one that is made of the file's name, its number and its text (UUID version 5). So loading the
same file again, or from a line in the middle, stores nothing twice, as long as the lines before are still as many. For
a file whose name others have had, or standard input, say with --source which it is: lines that are the same in the same
place would be taken for those of before.

When the logger is lost, restarts, or has no room, the load waits and goes on from the first line that is not settled.
When its patience ends, or at Ctrl-C, it says with which command to go on. However large the file is, it takes little
memory.";

const LOAD_EXAMPLES: &str = "\
Examples:
  fourwire load entries.ndjson
  fourwire load entries.ndjson --rejects refused.ndjson
  zcat entries.ndjson.gz | fourwire load -
  fourwire load entries.ndjson --over rabbitmq

The ways:
  write-logs  one gRPC call for many entries, answered once at its end: the fastest, and the default
  sync-logs   one gRPC call in which the logger acknowledges each entry
  http, rpc, rabbitmq, grpc
              batches of up to 1,000 entries over that transport, a few at a time

write-logs names only the first 100 refusals of a call; therefore, with --rejects, sync-logs takes its place.";

/// See the command.
#[derive(Debug, Args)]
pub struct Load {
    /// The file; - is standard input
    pub file: PathBuf,

    /// By which way the entries go
    #[arg(long, value_enum, default_value_t = Over::WriteLogs)]
    pub over: Over,

    /// Most entries of one call of write-logs; 0: the whole file in one call. From what is no file a call has at most 16
    /// MiB, which are kept until it is answered
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub entries_per_call: u64,

    /// Write each line that is refused to this file as it was; only those beyond 2 MiB are left out. The file must not be
    /// there, unless --from-line goes on
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,

    /// Go on at this line, counted from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub from_line: Option<u64>,

    /// What the lines belong to, for the ids of those that bring none; by default the file's name. Two sources with the
    /// same line in the same place are two entries
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,

    /// How many seconds to wait without any progress before giving up
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub patience: u64,

    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// By which way a load goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "LOAD_EXAMPLES tells them apart")]
pub enum Over {
    WriteLogs,
    SyncLogs,
    Http,
    Rpc,
    Rabbitmq,
    Grpc,
}

/// The conditions that entries must meet, all of them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Conditions")]
pub struct Filter {
    /// Entries of exactly this name
    #[arg(long)]
    pub name: Option<String>,

    /// Entries of this level
    #[arg(long, value_parser = words(Level::ALL, Level::as_str))]
    pub level: Option<Level>,

    /// Entries that came by this transport
    #[arg(long, value_parser = words(Transport::ALL, Transport::as_str))]
    pub transport: Option<Transport>,

    /// Stored at this time or later, as RFC 3339: 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Stored before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// Whose data holds this text, letter case and all
    #[arg(long, value_name = "TEXT")]
    pub contains: Option<String>,
}

impl Filter {
    /// Refuses conditions that are out of their limits.
    ///
    /// # Errors
    /// With the condition, and what it takes.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        checked(self.draft()).map(drop)
    }

    fn draft(&self) -> TailDraft {
        let Filter { name, level, transport, since, until, contains } = self.clone();
        let level = level.map(|level| level.to_string());
        let transport = transport.map(|transport| transport.to_string());
        TailDraft { name, level, transport, since, until, contains, after: None, max_lag: None }
    }
}

fn checked(draft: TailDraft) -> Result<TailQuery, Problem> {
    draft.check().map_err(|failure| Problem::Usage(anyhow::anyhow!(failure.message)))
}

/// Where the logger and RabbitMQ are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the stack is")]
pub struct Stack {
    /// The logger's HTTP address, to write over http and to read back
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:8082")]
    pub logger_http_url: HttpUrl,

    /// The logger's rpc address; tls:// before it encrypts
    #[arg(long, env, global = true, default_value = "127.0.0.1:5002")]
    pub logger_rpc_addr: RpcAddr,

    /// The logger's gRPC address, for grpc, write-logs, sync-logs and tail
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:50001")]
    pub logger_grpc_url: GrpcUrl,

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

    /// No delivery and no reading takes longer, in milliseconds
    #[arg(
        long,
        env,
        global = true,
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(1..=MAX_DEADLINE_MS)
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

    fn check(&self, with_rabbitmq: bool) -> anyhow::Result<transport::Settings> {
        let tls = self.tls()?;
        let amqp_url = with_rabbitmq.then(|| self.amqp_url()).transpose()?;
        let mut addresses = vec![
            ("LOGGER_HTTP_URL", self.logger_http_url.is_encrypted()),
            ("LOGGER_RPC_ADDR", self.logger_rpc_addr.is_encrypted()),
            ("LOGGER_GRPC_URL", self.logger_grpc_url.is_encrypted()),
        ];
        addresses.extend(amqp_url.iter().map(|url| ("AMQP_URL", url.is_encrypted())));
        transport::check_encryption(tls.as_ref(), &addresses)?;
        Ok(transport::Settings {
            logger_http_url: self.logger_http_url.clone(),
            logger_rpc_addr: self.logger_rpc_addr.clone(),
            logger_grpc_url: self.logger_grpc_url.clone(),
            amqp_url: amqp_url.map(|url| url.with_tls(tls.as_ref())),
            tls,
            deadline: Duration::from_millis(self.fourwire_deadline_ms),
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
        Transport::Http => "LOGGER_HTTP_URL",
        Transport::Rpc => "LOGGER_RPC_ADDR",
        Transport::Rabbitmq => "AMQP_URL",
        Transport::Grpc => "LOGGER_GRPC_URL",
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

/// Takes the word for one of these, and shows them all in `--help`.
fn words<T, const N: usize>(all: [T; N], word: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + std::marker::Send + Sync + 'static>
        + Copy
        + std::marker::Send
        + Sync
        + 'static,
{
    PossibleValuesParser::new(all.map(word)).try_map(|word| word.parse::<T>())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Config, clap::Error> {
        Config::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_words_are_sound() {
        Config::command().debug_assert();
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "fourwire get 01a1fc81-0c09-763f-8df2-a41011d222e4 --level error",
            "fourwire get --all --limit 5",
            "fourwire tail --after 5 --from-start",
            "fourwire tail --after 5 --since 2026-01-31T12:00:00Z",
            "fourwire tail --from-start --since 2026-01-31T12:00:00Z",
            "fourwire send --name event",
            "fourwire send hello",
            "fourwire send --transport amqp --name event hello",
            "fourwire send --level INFO --name event hello",
            "fourwire load --from-line 0 file",
            "fourwire load file --over tcp",
            "fourwire --fourwire-deadline-ms 0 load file",
            "fourwire get --limit 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_setting_may_stand_before_the_command_or_behind_it() {
        for line in [
            "fourwire --logger-http-url http://logger:1 get",
            "fourwire get --logger-http-url http://logger:1",
        ] {
            let stack = parse(line).expect(line).stack;
            assert!(format!("{:?}", stack.logger_http_url).contains("logger:1"), "{line}");
        }
    }

    #[test]
    fn some_of_the_files_for_tls_are_not_enough() {
        let config = parse("fourwire get --fourwire-tls-cert /nowhere").expect("each by itself is well");
        let error = config.stack.check(false).expect_err("a key is missing");
        assert!(error.to_string().contains("FOURWIRE_TLS_KEY"), "{error}");
    }

    #[test]
    fn rabbitmq_is_looked_at_only_where_it_is_needed() {
        let config = parse("fourwire get --amqp-url nonsense").expect("it is read later");
        assert!(config.stack.check(false).is_ok());
        let error = format!("{:#}", config.stack.check(true).expect_err("no URL"));
        assert!(error.contains("AMQP_URL") && !error.contains("nonsense"), "{error}");
    }
}
