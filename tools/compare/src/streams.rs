//! `compare streams`: the calls of gRPC beside each other, and what those who follow cost those who write.
//!
//! It calls the logger itself, over one connection for each measurement, since the broker has no stream of entries in. So
//! its figures stand beside each other, and not beside those of the other parts.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::{Stream, StreamExt, future::try_join_all, stream};
use jiff::Timestamp;
use proto::{
    Batch, BatchMode, EntryDraft, LogEntry, Outcome, TailEvent, TailQuery, Transport, limits::DATA_BYTES,
};
use tokio::task::JoinSet;
use transport::{
    Transports,
    grpc::{Streams, Tail, Tailed},
};

use crate::{
    cell::Keeping,
    config, fit,
    plan::WARM_UP,
    record, run,
    stack::Site,
    stats::{Estimate, interval, median, paired_ratio},
};

/// Calls of one entry that are under way at a time.
const CALLS: usize = crate::workload::BASE_CALLERS;

/// Entries under way at a time in batches and streams: what `logs.proto` says of a stream.
const BATCHES: usize = 4;
const BATCH_ENTRIES: usize = 256;

/// No call takes so long.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    WriteLog,
    WriteBatch,
    SyncLogs,
    WriteLogs,
    WriteLogsRead,
    WriteLogsStopped,
}

impl Call {
    const ALL: [Call; 6] = [
        Call::WriteLog,
        Call::WriteBatch,
        Call::SyncLogs,
        Call::WriteLogs,
        Call::WriteLogsRead,
        Call::WriteLogsStopped,
    ];

    const fn about(self) -> &'static str {
        match self {
            Call::WriteLog => "WriteLog, 64 calls at a time",
            Call::WriteBatch => "WriteBatch of 256, 4 calls at a time",
            Call::SyncLogs => "SyncLogs, one stream",
            Call::WriteLogs => "WriteLogs, one stream",
            Call::WriteLogsRead => "WriteLogs, and a tail that reads along",
            Call::WriteLogsStopped => "WriteLogs, and a tail that has stopped reading",
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Call::WriteLog => "WriteLog",
            Call::WriteBatch => "WriteBatch",
            Call::SyncLogs => "SyncLogs",
            Call::WriteLogs | Call::WriteLogsRead | Call::WriteLogsStopped => "WriteLogs",
        }
    }

    /// What it is compared with.
    const fn beside(self) -> Call {
        match self {
            Call::WriteLog | Call::WriteBatch | Call::SyncLogs | Call::WriteLogs => Call::WriteLog,
            Call::WriteLogsRead | Call::WriteLogsStopped => Call::WriteLogs,
        }
    }
}

/// Measures all of them in turn, and says what came out.
///
/// # Errors
/// If the machine is not fit for it, the system does not start, or an entry is not stored.
pub async fn run(arguments: &config::Streams) -> anyhow::Result<String> {
    ensure!((1..=1_000).contains(&arguments.rounds), "--rounds is a number from 1 to 1000");
    ensure!(arguments.payload <= DATA_BYTES, "--payload is a number of up to {DATA_BYTES} bytes");
    let binaries = run::binaries(None)?;
    fit::ensure_fit(&binaries, record::busy(), arguments.force)?;
    let duration = Duration::from_millis(arguments.milliseconds);
    let seen = rates(&binaries, &Call::ALL, arguments.rounds, WARM_UP, duration, arguments.payload).await?;
    Ok(table(&seen, arguments))
}

/// Entries stored per second by each of these calls, once for each round.
///
/// # Errors
/// If the system does not start, or an entry is not stored.
pub(crate) async fn rates(
    binaries: &Path,
    calls: &[Call],
    rounds: usize,
    warm_up: Duration,
    duration: Duration,
    payload_bytes: usize,
) -> anyhow::Result<BTreeMap<Call, Vec<f64>>> {
    let mut seen: BTreeMap<Call, Vec<f64>> = BTreeMap::new();
    for round in 0..rounds {
        // A store that has grown is slower: each round begins with a new one.
        let mut site = Site::new(binaries, "", Keeping::Synced, &[])?;
        site.start_logger().await?;
        let logger = Logger::new(&site, payload_bytes)?;
        // Thrown away.
        logger.measure(Call::WriteLogs, warm_up).await?;
        for at in 0..calls.len() {
            // Each comes first, second and so on in turn.
            let call = calls[(at + round) % calls.len()];
            let rate = logger.measure(call, duration).await.with_context(|| call.about())?;
            seen.entry(call).or_default().push(rate);
        }
        say!("{} of {rounds} rounds", round + 1);
    }
    Ok(seen)
}

/// How the logger is called.
struct Logger {
    streams: Streams,
    transports: Transports,
    data: Arc<str>,
}

impl Logger {
    fn new(site: &Site, payload_bytes: usize) -> anyhow::Result<Self> {
        let settings = site.transport_settings(DEADLINE)?;
        Ok(Logger {
            streams: Streams::new(&settings),
            transports: Transports::new(&settings),
            data: "x".repeat(payload_bytes).into(),
        })
    }

    /// Entries stored per second, by a call.
    async fn measure(&self, call: Call, duration: Duration) -> anyhow::Result<f64> {
        let mut following = JoinSet::new();
        let told = Arc::new(AtomicU64::new(0));
        let stopped = match call {
            Call::WriteLog | Call::WriteBatch | Call::SyncLogs | Call::WriteLogs => None,
            Call::WriteLogsRead => {
                following.spawn(read_along(self.tail().await?, Arc::clone(&told)));
                None
            }
            // It has begun, and is never asked again.
            Call::WriteLogsStopped => Some(self.tail().await?),
        };
        let begun = Instant::now();
        let stored = match call {
            Call::WriteLog => self.write_log(begun + duration).await?,
            Call::WriteBatch => self.write_batch(begun + duration).await?,
            Call::SyncLogs => self.sync_logs(begun + duration).await?,
            Call::WriteLogs | Call::WriteLogsRead | Call::WriteLogsStopped => {
                self.write_logs(begun + duration).await?
            }
        };
        let rate = stored as f64 / begun.elapsed().as_secs_f64();
        if call == Call::WriteLogsRead {
            let all = async {
                while told.load(Ordering::Relaxed) < stored {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(DEADLINE, all).await.context("the tail has not told all that was stored")?;
        }
        drop(stopped);
        following.shutdown().await;
        Ok(rate)
    }

    /// A tail that has begun.
    async fn tail(&self) -> anyhow::Result<Tail> {
        let mut tail = self.streams.tail(TailQuery::default());
        match tail.next().await {
            Some(Ok(Tailed::Event(TailEvent::Reached, _))) => Ok(tail),
            other => anyhow::bail!("the tail does not begin: {other:?}"),
        }
    }

    async fn write_log(&self, until: Instant) -> anyhow::Result<u64> {
        let caller = async || {
            let mut stored = 0;
            while Instant::now() < until {
                let one = entry(&self.data).into();
                let delivered = self.transports.write(Transport::Grpc, one, BatchMode::AllOrNone).await?;
                ensure!(*delivered.results.first() == Ok(Outcome::Stored), "{:?}", delivered.results);
                stored += 1;
            }
            Ok(stored)
        };
        sum(try_join_all((0..CALLS).map(|_| caller())).await)
    }

    async fn write_batch(&self, until: Instant) -> anyhow::Result<u64> {
        let caller = async || {
            let mut stored = 0;
            while Instant::now() < until {
                let entries = (0..BATCH_ENTRIES).map(|_| entry(&self.data));
                let batch = Batch::try_from(entries.collect::<Vec<_>>())?;
                let results = self.transports.write(Transport::Grpc, batch, BatchMode::Each).await?.results;
                ensure!(results.iter().all(|result| *result == Ok(Outcome::Stored)), "{results:?}");
                stored += results.len() as u64;
            }
            Ok(stored)
        };
        sum(try_join_all((0..BATCHES).map(|_| caller())).await)
    }

    async fn sync_logs(&self, until: Instant) -> anyhow::Result<u64> {
        let mut acknowledged = self.streams.sync_logs(entries(Arc::clone(&self.data), until)).await?;
        let mut stored = 0;
        while let Some(told) = acknowledged.next().await {
            ensure!(told?.result == Ok(Outcome::Stored), "an entry is not stored");
            stored += 1;
        }
        Ok(stored)
    }

    async fn write_logs(&self, until: Instant) -> anyhow::Result<u64> {
        let loaded = self.streams.write_logs(entries(Arc::clone(&self.data), until)).await?;
        ensure!(loaded.stopped.is_none() && loaded.stored == loaded.settled, "{loaded:?}");
        Ok(loaded.stored)
    }
}

fn sum(stored: anyhow::Result<Vec<u64>>) -> anyhow::Result<u64> {
    Ok(stored?.into_iter().sum())
}

fn entry(data: &str) -> LogEntry {
    let draft = EntryDraft { name: "compare".to_owned(), data: data.to_owned(), ..EntryDraft::default() };
    draft.check(Timestamp::now()).expect("its payload was checked")
}

/// Entries without end until a moment.
fn entries(data: Arc<str>, until: Instant) -> impl Stream<Item = LogEntry> + Send + 'static {
    stream::iter(std::iter::from_fn(move || (Instant::now() < until).then(|| entry(&data))))
}

async fn read_along(mut tail: Tail, told: Arc<AtomicU64>) {
    while let Some(Ok(tailed)) = tail.next().await {
        if let Tailed::Event(TailEvent::Entry(_), _) = tailed {
            told.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn table(seen: &BTreeMap<Call, Vec<f64>>, arguments: &config::Streams) -> String {
    let mut text = format!(
        "{} B, {} rounds of {} ms each, straight to the logger; medians, ratios pair by pair with {}\n\n",
        arguments.payload,
        arguments.rounds,
        arguments.milliseconds,
        interval(arguments.rounds)
    );
    // Writing to a string does not fail.
    let _ = write_table(seen, &mut text);
    text
}

fn write_table(seen: &BTreeMap<Call, Vec<f64>>, text: &mut String) -> std::fmt::Result {
    writeln!(text, "{:<48} {:>9}  {:<22} of", "", "stored/s", "ratio")?;
    let rates = |call: Call| seen.get(&call).map_or(&[][..], Vec::as_slice);
    for call in Call::ALL {
        let by = paired_ratio(rates(call), rates(call.beside()));
        let by = by.filter(|_| call != call.beside()).map_or_else(String::new, |by: Estimate| {
            format!("{:.2} ({:.2} to {:.2})", by.middle, by.low, by.high)
        });
        let of = if by.is_empty() { "" } else { call.beside().word() };
        writeln!(text, "{:<48} {:>9.0}  {:<22} {of}", call.about(), median(rates(call)), by)?;
    }
    Ok(())
}
