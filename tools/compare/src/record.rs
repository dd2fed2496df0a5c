//! What a run leaves: everything that was measured, and under which circumstances. The pages are made from it.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use procfs::{CpuInfo, CpuTime, Current, CurrentSI, KernelStats, Meminfo};
use proto::{Transport, release};
use serde::{Deserialize, Serialize};

use crate::{
    cell::{Cell, Latencies, Measured, Part},
    measure::GENERATOR,
    outage::Broken,
    plan::Plan,
    stats::{Estimate, LEAST_NOISE, median, paired_ratio},
    wire::{Anew, Wire},
    workload::{Shape, Subject},
};

/// The crates whose versions matter here.
const CRATES: [&str; 9] =
    ["axum", "hyper", "lapin", "prost", "rusqlite", "serde_json", "tarpc", "tokio", "tonic"];

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The circumstances.
    pub circumstances: Circumstances,
    /// How much was measured.
    pub plan: Plan,
    /// What speaks against it as evidence.
    pub warnings: Vec<String>,
    /// What was measured.
    pub rows: Vec<Row>,
    /// The highest rate that each transport carries, in requests per second.
    pub knees: BTreeMap<Transport, f64>,
    /// What a bare publisher with confirms gets from the same RabbitMQ, in messages per second, once for each repetition.
    pub bare: Vec<f64>,
    /// Bytes on the wire.
    pub wire: Vec<Wire>,
    /// What a connection costs that is not kept.
    pub anew: Vec<Anew>,
    /// What it takes to write a page of the store's size and sync it, with nothing else going on.
    #[serde(default)]
    pub sync: Latencies,
    /// What a failure did to each transport.
    #[serde(default)]
    pub faults: Vec<Broken>,
    /// How long the run took.
    #[serde(default)]
    pub took: Duration,
}

/// A cell, and its repetitions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub cell: Cell,
    /// Once for each repetition, in their order.
    pub repetitions: Vec<Measured>,
}

impl Row {
    /// One value of each repetition.
    pub fn each(&self, value: impl Fn(&Measured) -> f64) -> Vec<f64> {
        self.repetitions.iter().map(value).collect()
    }

    /// The part of all requests of all repetitions that was not accepted.
    pub fn errors(&self) -> f64 {
        let accepted = |measured: &Measured| (1.0 - measured.errors()) * measured.requests() as f64;
        let requests: u64 = self.repetitions.iter().map(Measured::requests).sum();
        1.0 - self.repetitions.iter().map(accepted).sum::<f64>() / requests.max(1) as f64
    }

    /// Whether every promise was kept.
    pub fn is_sound(&self) -> bool {
        self.repetitions.iter().all(|measured| measured.kept.is_sound())
    }

    /// All latencies of one kind.
    pub fn latencies<'a>(&'a self, of: impl Fn(&'a Measured) -> &'a Latencies) -> Latencies {
        let mut all = Latencies::default();
        self.repetitions.iter().for_each(|measured| all.merge(of(measured)));
        all
    }

    /// A percentile of each repetition: their median, the lowest and the highest. One pause of the machine is the p99 of
    /// the repetition that it falls into, and of no other. `None` where no repetition has enough samples.
    pub fn percentile<'a>(
        &'a self,
        of: impl Fn(&'a Measured) -> &'a Latencies,
        part: f64,
    ) -> Option<Estimate> {
        let values = self.repetitions.iter().filter_map(|measured| of(measured).percentile(part));
        let mut values: Vec<f64> = values.map(|micros| micros as f64).collect();
        values.sort_by(f64::total_cmp);
        Some(Estimate { middle: median(&values), low: *values.first()?, high: *values.last()? })
    }

    /// The CPU time of the system for an accepted entry, in microseconds: of all processes but the generator.
    pub fn system_us(&self) -> f64 {
        let system = self.cpu_us().into_iter().filter(|(name, _)| name != GENERATOR);
        system.map(|(_, micros)| micros).sum()
    }

    /// The CPU time of each process for an accepted entry, in microseconds.
    pub fn cpu_us(&self) -> BTreeMap<String, f64> {
        let entries: u64 = self.repetitions.iter().map(|measured| measured.accepted).sum();
        let mut sums = BTreeMap::new();
        for (name, time) in self.repetitions.iter().flat_map(|measured| &measured.cpu_time) {
            *sums.entry(name.clone()).or_default() += time.as_secs_f64() * 1e6 / entries.max(1) as f64;
        }
        sums
    }

    /// The share of all cores that the generator took, from 0 to 1; the median of the repetitions.
    pub fn generator_share(&self, cores: usize) -> f64 {
        let share = |measured: &Measured| {
            let own = measured.cpu_time.get(GENERATOR).copied().unwrap_or_default();
            own.as_secs_f64() / measured.answering.as_secs_f64() / cores.max(1) as f64
        };
        median(&self.each(share))
    }

    /// The most memory of each process, in MiB.
    pub fn peak_memory_mib(&self) -> BTreeMap<String, f64> {
        let mut peaks: BTreeMap<String, f64> = BTreeMap::new();
        for (name, kib) in self.repetitions.iter().flat_map(|measured| &measured.peak_memory_kib) {
            let peak = peaks.entry(name.clone()).or_default();
            *peak = peak.max(*kib as f64 / 1024.0);
        }
        peaks
    }
}

/// The ratio by which the cell that is measured twice differs from itself.
pub(crate) fn noise(rows: &[Row]) -> f64 {
    let again = rows.iter().find(|row| row.cell.part == Part::Again);
    let ratio = again.and_then(|again| {
        let same = rows.iter().find(|row| row.cell == Cell { part: Part::Grid, ..again.cell })?;
        paired_ratio(&same.each(Measured::stored_per_second), &again.each(Measured::stored_per_second))
    });
    ratio.map_or(LEAST_NOISE, |ratio| ratio.middle.max(1.0 / ratio.middle).max(LEAST_NOISE))
}

/// Under which circumstances a run was made; with them it can be repeated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Circumstances {
    /// When it began.
    pub date: Timestamp,
    /// The commit of the binaries, and whether something was changed since.
    pub commit: String,
    /// The arguments.
    pub arguments: Vec<String>,
    /// Whether the system was started by somebody else: then its build, its settings and its store are not known.
    #[serde(default)]
    pub foreign: bool,
    /// The seed.
    pub seed: u64,
    /// Whether it is a release build.
    pub release: bool,
    /// The processor.
    pub processor: String,
    /// How many of it.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The system.
    pub kernel: String,
    /// The share of the cores that was in use in the two seconds before, from 0 to 1.
    pub busy: f64,
    /// Versions of what is measured.
    pub versions: BTreeMap<String, String>,
    /// The settings of the services that differ from their defaults, without passwords.
    pub settings: BTreeMap<String, String>,
}

impl Circumstances {
    /// Those of this moment, for the services in a directory; without one they run already, and are not known.
    pub fn now(seed: u64, binaries: Option<&Path>) -> Self {
        let processor = CpuInfo::current().ok().and_then(|cpu| Some(cpu.model_name(0)?.to_owned()));
        let memory_bytes = Meminfo::current().map_or(0, |memory| memory.mem_total);
        Circumstances {
            date: Timestamp::now(),
            commit: binaries.and_then(commit_of).unwrap_or_else(|| "unknown".into()),
            arguments: std::env::args().skip(1).collect(),
            foreign: binaries.is_none(),
            seed,
            release: !cfg!(debug_assertions),
            processor: processor.unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_bytes / 1024 / 1024,
            kernel: output("uname", &["-sr"]).unwrap_or_default(),
            busy: busy(),
            versions: crate_versions(),
            settings: BTreeMap::new(),
        }
    }
}

/// The commit that the binaries were built of. What was changed after that is known of the working directory alone, if
/// that is at the same commit; and a debug build does not tell, so there it is the directory's.
fn commit_of(binaries: &Path) -> Option<String> {
    let said = output(&binaries.join("broker").to_string_lossy(), &["--version"])?;
    let here = output("git", &["describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]);
    match release::commit_of(&said) {
        Some(built) => here.filter(|here| here.starts_with(built)).or_else(|| Some(built.to_owned())),
        None => here,
    }
}

/// The share of the cores that is in use, over two seconds. The load average would remember what has ended
/// since.
pub(crate) fn busy() -> f64 {
    let ticks = || {
        let Ok(KernelStats { total: cpu, .. }) = KernelStats::current() else { return (0, 0) };
        let idle = cpu.idle + cpu.iowait.unwrap_or_default();
        (idle, idle + busy_ticks(&cpu))
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    let after = ticks();
    let all = after.1.saturating_sub(before.1);
    if all == 0 { 0.0 } else { 1.0 - after.0.saturating_sub(before.0) as f64 / all as f64 }
}

/// What cores have done so far, in ticks. A guest's part is in that of its user.
pub(crate) fn busy_ticks(cpu: &CpuTime) -> u64 {
    let parts = [Some(cpu.user), Some(cpu.nice), Some(cpu.system), cpu.irq, cpu.softirq, cpu.steal];
    parts.into_iter().flatten().sum()
}

fn crate_versions() -> BTreeMap<String, String> {
    let lock = include_str!("../../../Cargo.lock");
    let mut lines = lock.lines();
    let mut versions = BTreeMap::new();
    while let Some(line) = lines.next() {
        let name = line.strip_prefix("name = ").map(|name| name.trim_matches('"'));
        let Some(name) = name.filter(|name| CRATES.contains(name)) else { continue };
        let version = lines.next().and_then(|line| line.strip_prefix("version = "));
        versions.insert(name.to_owned(), version.unwrap_or_default().trim_matches('"').to_owned());
    }
    versions.extend(output("rustc", &["--version"]).map(|rustc| ("rustc".to_owned(), rustc)));
    versions
}

/// What a command says; `None` if it is not there or fails.
fn output(command: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(command).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Record {
    /// Whether every promise was kept.
    pub fn is_sound(&self) -> bool {
        let kept = self.faults.iter().flat_map(|broken| broken.by_transport.values());
        self.rows.iter().all(Row::is_sound) && kept.into_iter().all(|suffered| suffered.kept.is_sound())
    }

    /// The rows of a part of the report.
    pub fn part(&self, part: Part) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.cell.part == part)
    }

    /// The row of the grid with this subject, payload and number of callers.
    pub fn grid(&self, subject: Subject, payload_bytes: usize, callers: usize) -> Option<&Row> {
        let wanted = (subject, payload_bytes, Shape::Closed { callers });
        self.part(Part::Grid).find(|row| (row.cell.subject, row.cell.payload_bytes, row.cell.shape) == wanted)
    }

    /// Notes a repetition of a cell.
    pub fn note(&mut self, cell: Cell, measured: Measured) {
        match self.rows.iter_mut().find(|row| row.cell == cell) {
            Some(row) => row.repetitions.push(measured),
            None => self.rows.push(Row { cell, repetitions: vec![measured] }),
        }
    }

    /// Reads the record of a directory, or the file itself.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
        let text = std::fs::read(&file).with_context(|| {
            format!("cannot read {}: give a directory that compare has left", file.display())
        })?;
        let about =
            || format!("{} is no report of compare: give a directory that it has left", file.display());
        serde_json::from_slice(&text).with_context(about)
    }

    /// Writes it down.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let file = directory.join("report.json");
        std::fs::write(&file, serde_json::to_vec(self)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }
}
