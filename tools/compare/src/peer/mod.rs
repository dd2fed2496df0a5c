//! `compare peer`: our services beside the same system in Go, `tools/compare/peer`, in turn on one machine.
//!
//! Each side has processes, ports, a store and a virtual host of its own, and only one is under load at a time. The
//! order changes with each repetition, so that the machine's moods befall all, and what is compared is the ratio within one.

mod side;
mod table;
pub mod wrk;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use procfs::{CurrentSI, KernelStats};
use rig::{Node, Usage};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    config, fit,
    load::MAX_CALLERS,
    record::{Circumstances, busy_ticks},
    run,
    workload::Subject,
};

use side::Running;

pub use side::Side;
pub use table::tables;
pub use wrk::Seen;

/// Before each repetition, so that what the last one has left is settled.
const PAUSE: Duration = Duration::from_millis(300);

/// A warm-up of each side and cell, thrown away.
const WARM_UP_S: u64 = 1;

/// How long nothing more must be stored, to call it all.
const QUIET: Duration = Duration::from_millis(300);

/// How long RabbitMQ may take to hand over what it has.
const DRAIN: Duration = Duration::from_mins(2);

/// A run of all sides.
#[derive(Debug, Serialize, Deserialize)]
pub struct PeerRecord {
    /// The circumstances.
    pub circumstances: Circumstances,
    /// Seconds of each repetition.
    pub seconds: u64,
    /// Bytes of `data` of each entry.
    pub payload_bytes: usize,
    /// What was measured, one cell after the other.
    pub cells: Vec<PeerCell>,
    /// The most memory of each process of each side, in MiB.
    pub peak_memory_mib: BTreeMap<Side, BTreeMap<String, u64>>,
}

/// One subject over so many connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerCell {
    /// Connections.
    pub connections: usize,
    /// What is asked.
    pub subject: Subject,
    /// Once for each repetition, in their order.
    pub by_side: BTreeMap<Side, Vec<Ran>>,
}

/// One repetition.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ran {
    /// What wrk has seen.
    pub seen: Seen,
    /// Entries that were stored, and for how long that went on from the start. What was under way as wrk ended may be
    /// stored, too.
    pub stored: u64,
    /// From the first request to the last entry stored.
    pub storing: Duration,
    /// CPU time of broker, logger and listener until all was stored.
    #[serde(alias = "processor")]
    pub cpu_time: Duration,
    /// That of RabbitMQ.
    pub rabbitmq: Duration,
    /// The part of all cores that was taken by what belongs to neither, from 0 to 1.
    pub others: f64,
}

impl Ran {
    /// Entries that were accepted and are not stored. At least so many: what wrk had under way when it ended,
    /// up to one entry for each connection, may be stored without being counted as accepted, and would hide as
    /// many that are lost.
    pub const fn lost_at_least(&self) -> u64 {
        self.seen.accepted().saturating_sub(self.stored)
    }
}

impl PeerRecord {
    /// Entries that any side has lost; as many more as [`Ran::lost_at_least`] says may be.
    pub fn lost_at_least(&self) -> u64 {
        let cells = self.cells.iter().filter(|cell| cell.subject != Subject::Echo);
        cells.flat_map(|cell| cell.by_side.values().flatten()).map(Ran::lost_at_least).sum()
    }
}

/// Measures all sides, and leaves `peer.json` and `peer.md` in the directory that is returned.
///
/// # Errors
/// If the machine is not fit for it, a side does not start, or wrk is missing.
pub async fn run(arguments: &config::Peer) -> anyhow::Result<(PeerRecord, PathBuf)> {
    ensure!(
        arguments.connections.iter().all(|connections| (1..=MAX_CALLERS).contains(connections)),
        "connections are from 1 to {MAX_CALLERS}"
    );
    ensure!(arguments.repetitions > 0 && arguments.seconds > 0, "--repetitions and --seconds are above 0");
    let binaries = run::binaries(arguments.common.binaries.as_deref())?;
    let gopeer = side::find_gopeer(arguments.gopeer.as_deref(), &binaries)?;
    let mut circumstances = Circumstances::now(arguments.common.seed, Some(&binaries));
    fit::ensure_fit(&binaries, circumstances.busy, arguments.force)?;
    circumstances.versions.insert("Go".to_owned(), go_version(&gopeer));
    let directory = run::out(arguments.common.out.as_deref(), "peer")?;
    say!("Starting RabbitMQ, ours twice, and the peer…");
    let mut contest = Contest::start(&binaries, &gopeer).await?;
    let mut record = PeerRecord {
        circumstances,
        seconds: arguments.seconds,
        payload_bytes: arguments.payload,
        cells: Vec::new(),
        peak_memory_mib: BTreeMap::new(),
    };
    let subjects =
        if arguments.subjects.is_empty() { Subject::ALL.to_vec() } else { arguments.subjects.clone() };
    for connections in &arguments.connections {
        for subject in &subjects {
            say!("{} over {connections} connections", subject.as_str());
            record.cells.push(contest.cell(*subject, *connections, arguments).await?);
        }
    }
    for (side, running) in &contest.sides {
        record.peak_memory_mib.insert(*side, running.peak_memory_mib()?);
    }
    let put = |name: &str, text: Vec<u8>| {
        let file = directory.join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    put("peer.json", serde_json::to_vec(&record)?)?;
    put("peer.md", tables(&record).into_bytes())?;
    Ok((record, directory))
}

fn go_version(gopeer: &Path) -> String {
    let said = std::process::Command::new("go").arg("version").arg(gopeer).output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default();
    said.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// What runs.
struct Contest {
    sides: Vec<(Side, Running)>,
    node: Node,
    dir: tempfile::TempDir,
}

impl Contest {
    async fn start(binaries: &Path, gopeer: &Path) -> anyhow::Result<Self> {
        let mut node = Node::start().await.context("RabbitMQ")?;
        node.serves().await?;
        let mut sides = Vec::new();
        for side in Side::ALL {
            let amqp_url = node.add_virtual_host(side.virtual_host()).await?;
            sides.push((side, Running::start(side, binaries, gopeer, &amqp_url).await?));
        }
        Ok(Contest { sides, node, dir: tempfile::tempdir()? })
    }

    async fn cell(
        &mut self,
        subject: Subject,
        connections: usize,
        arguments: &config::Peer,
    ) -> anyhow::Result<PeerCell> {
        // What is only echoed is no call.
        let takes_part = |side: Side| subject != Subject::Echo || side != Side::OwnCalls;
        let mut turns: Vec<usize> =
            (0..self.sides.len()).filter(|at| takes_part(self.sides[*at].0)).collect();
        for at in &turns {
            self.measure(&self.sides[*at].1, subject, connections, WARM_UP_S, arguments.payload).await?;
        }
        let mut by_side: BTreeMap<Side, Vec<Ran>> = BTreeMap::new();
        for _ in 0..arguments.repetitions {
            for at in &turns {
                tokio::time::sleep(PAUSE).await;
                let (side, running) = &self.sides[*at];
                let ran =
                    self.measure(running, subject, connections, arguments.seconds, arguments.payload).await?;
                by_side.entry(*side).or_default().push(ran);
            }
            // Another goes first.
            turns.rotate_left(1);
        }
        Ok(PeerCell { connections, subject, by_side })
    }

    async fn measure(
        &self,
        side: &Running,
        subject: Subject,
        connections: usize,
        seconds: u64,
        payload_bytes: usize,
    ) -> anyhow::Result<Ran> {
        let (action, transport) = match subject {
            Subject::Transport(transport) => ("log", transport.as_str()),
            Subject::Echo => ("echo", "http"),
        };
        let log = json!({ "name": "event", "data": "x".repeat(payload_bytes) });
        let body = json!({ "action": action, "transport": transport, "log": log }).to_string();
        let url = format!("http://{}/handle", side.broker_at);
        let (stored, used, rabbitmq) = (side.stored().await?, side.cpu_time()?, self.rabbitmq()?);
        let (begun, cores) = (Instant::now(), Cores::now()?);
        let seen = wrk::run(&url, &body, connections, seconds, self.dir.path()).await?;
        let taken = begun.elapsed();
        let ours = side.cpu_time()?.saturating_sub(used) + self.rabbitmq()?.saturating_sub(rabbitmq);
        let others = cores.taken_by_others(ours, taken)?;
        let (after, storing) = match subject {
            Subject::Transport(_) => settled(side, stored + seen.accepted(), begun).await?,
            Subject::Echo => (stored, taken),
        };
        Ok(Ran {
            seen,
            stored: after.saturating_sub(stored),
            storing,
            cpu_time: side.cpu_time()?.saturating_sub(used),
            rabbitmq: self.rabbitmq()?.saturating_sub(rabbitmq),
            others,
        })
    }

    fn rabbitmq(&self) -> anyhow::Result<Duration> {
        // One that ends meanwhile is none of those that do the work.
        Ok(self
            .node
            .pids()?
            .into_iter()
            .filter_map(|pid| Usage::of(pid).ok())
            .map(|usage| usage.cpu_time)
            .sum())
    }
}

/// Waits until all that was accepted is stored, and nothing more comes; says how much there is, and for how long it
/// came.
async fn settled(side: &Running, wanted: u64, begun: Instant) -> anyhow::Result<(u64, Duration)> {
    let (mut stored, mut last) = (side.stored().await?, Instant::now());
    let deadline = last + DRAIN;
    while Instant::now() < deadline && (stored < wanted || last.elapsed() < QUIET) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = side.stored().await?;
        if now != stored {
            (stored, last) = (now, Instant::now());
        }
    }
    Ok((stored, last - begun))
}

/// What all cores have done so far, and what our own children have: wrk is one.
struct Cores {
    busy: Duration,
    children: Duration,
    number: usize,
}

impl Cores {
    fn now() -> anyhow::Result<Self> {
        let seconds = |ticks: u64| Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64);
        let own = procfs::process::Process::myself()?.stat()?;
        let children = u64::try_from(own.cutime + own.cstime).unwrap_or_default() + own.utime + own.stime;
        Ok(Cores {
            busy: seconds(busy_ticks(&KernelStats::current()?.total)),
            children: seconds(children),
            number: std::thread::available_parallelism()?.get(),
        })
    }

    /// The part of all cores that neither the measured processes nor the load have taken since.
    fn taken_by_others(&self, measured: Duration, during: Duration) -> anyhow::Result<f64> {
        let now = Cores::now()?;
        let busy = now.busy.saturating_sub(self.busy);
        let others = busy.saturating_sub(now.children.saturating_sub(self.children)).saturating_sub(measured);
        Ok(others.as_secs_f64() / during.as_secs_f64() / self.number as f64)
    }
}
