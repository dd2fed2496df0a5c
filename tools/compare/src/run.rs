//! Measures: starts the system, warms it up, goes through the cells in turn, and verifies every entry against the store.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use proto::{Transport, release::NOT_FOR_MEASURING};
use rig::{Client, Node};

use crate::{
    bare,
    cell::{Cell, Keeping, Latencies, Measured, Part},
    config::Measure,
    load::Load,
    measure,
    plan::{Plan, shuffled},
    reconcile::{self, Place},
    record::{Circumstances, Record},
    stack::{Site, Stack},
    stats, wire,
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

/// The services, by the names of their binaries.
const SERVICES: [&str; 3] = ["broker", "logger", "listener"];

/// The part of the processors above which a machine is busy with something else.
pub(crate) const MOST_BUSY: f64 = 0.15;

/// What a transport must keep at a rate, to carry it.
const MOST_ERRORS: f64 = 0.001;
const MOST_P99: Duration = Duration::from_millis(50);

/// Parts of the peak of the closed loop that are tried, one after the other.
const KNEE_STEPS: [f64; 11] = [1.05, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.35, 0.25, 0.15, 0.1];

/// Parts of its own knee at which each is measured.
const OWN_PARTS: [f64; 2] = [0.5, 0.75];

/// Above this part of one core for each core the generator, and not the system, may be the limit.
const MOST_GENERATOR: f64 = 0.8;

/// Runs the plan of the arguments; leaves the record in the directory that is returned with it.
///
/// # Errors
/// If the machine is not fit for it, the system does not start, or one of its processes does not answer. An entry that is
/// lost is a result: [`Record::is_sound`].
pub async fn run(arguments: &Measure) -> anyhow::Result<(Record, PathBuf)> {
    let plan = match (arguments.quick, arguments.full) {
        (true, _) => Plan::quick(),
        (_, true) => Plan::full(),
        _ => Plan::usual(),
    };
    run_plan(arguments, plan).await
}

/// Runs a plan of one's own.
///
/// # Errors
/// As [`run`].
pub async fn run_plan(arguments: &Measure, plan: Plan) -> anyhow::Result<(Record, PathBuf)> {
    let mut circumstances = Circumstances::now(arguments.common.seed);
    circumstances.settings.extend(arguments.settings.iter().cloned());
    circumstances.foreign = arguments.target.is_some();
    let binaries = match arguments.target {
        Some(_) => None,
        None => Some(binaries(arguments.common.binaries.as_deref())?),
    };
    let warnings = unfit(arguments, &circumstances, binaries.as_deref()).await?;
    let record = Record {
        circumstances,
        plan,
        warnings,
        rows: Vec::new(),
        knees: BTreeMap::new(),
        bare: Vec::new(),
        wire: Vec::new(),
        anew: Vec::new(),
        sync: Latencies::default(),
    };
    let system = System::find(arguments, binaries.as_deref()).await?;
    let directory = out(arguments.common.out.as_deref(), "compare")?;
    let mut run = Run { system, record, begun: Instant::now(), cells: 0 };
    run.note_versions();
    let result = run.everything(binaries.as_deref()).await;
    run.say("");
    run.warn();
    // What was measured until then is worth having, whatever went wrong.
    run.record.write(&directory)?;
    let directory_name = directory.display();
    result
        .with_context(|| format!("the run broke off; {directory_name} has what was measured until then"))?;
    Ok((run.record, directory))
}

/// What makes this no evidence, for the report; a refusal where it takes --force.
async fn unfit(
    arguments: &Measure,
    circumstances: &Circumstances,
    binaries: Option<&Path>,
) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    if arguments.quick {
        warnings.push("a quick run: too short to be evidence".to_owned());
    }
    if !circumstances.release {
        ensure!(
            arguments.force,
            "this is a debug build: use `make compare`, or --force to measure all the same"
        );
        warnings.push("a debug build was measured (--force)".to_owned());
    }
    let unfit = match (binaries, arguments.target) {
        (Some(binaries), _) => built_to_be_tried(binaries)?,
        (None, Some(broker)) => profile_of(broker).await?,
        (None, None) => None,
    };
    // What compare itself was built with, in the same directory, is told above.
    if let Some(unfit) = unfit.filter(|_| circumstances.release) {
        ensure!(
            arguments.force,
            "{unfit}: measure a release build (`make run PROFILE=release`), or use --force"
        );
        warnings.push(format!("{unfit} (--force)"));
    }
    if circumstances.busy > MOST_BUSY {
        let busy = circumstances.busy * 100.0;
        ensure!(
            arguments.force || arguments.quick,
            "the machine is busy ({busy:.0} % CPU in use in the last seconds): wait, or use --force"
        );
        warnings.push(format!("the machine was busy: {busy:.0} % CPU in use at the start"));
    }
    let places = std::env::temp_dir();
    if arguments.target.is_none() && statfs(&places)?.filesystem_type() == TMPFS_MAGIC {
        let memory = format!("{} is memory, and nothing is synced there", places.display());
        ensure!(arguments.force, "{memory}: set TMPDIR to a directory on a disk, or use --force");
        warnings.push(memory);
    }
    Ok(warnings)
}

/// A directory for a report.
///
/// # Errors
/// If it cannot be made.
pub fn out(wanted: Option<&Path>, kind: &str) -> anyhow::Result<PathBuf> {
    let dated = || PathBuf::from(format!("{kind}-{}", Timestamp::now().strftime("%Y%m%d-%H%M%S")));
    let directory = wanted.map_or_else(dated, Path::to_owned);
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

/// Where the services are.
///
/// # Errors
/// If they are not there.
pub fn binaries(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    binaries_with(wanted, &[])
}

/// The same, if others are there as well.
///
/// # Errors
/// If one of them is not.
pub(crate) fn binaries_with(wanted: Option<&Path>, others: &[&str]) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = wanted.or_else(|| own.parent()).context("a directory")?;
    // The services run in directories of their own.
    let directory = std::path::absolute(directory)?;
    for name in SERVICES.iter().chain(others) {
        let path = directory.join(name);
        ensure!(
            path.is_file(),
            "{} is missing: `cargo build --release --workspace --bins` makes it",
            path.display()
        );
    }
    Ok(directory)
}

/// Which of the services, if any, was built with a profile that is not for measuring.
///
/// # Errors
/// If one does not tell its version.
pub fn built_to_be_tried(binaries: &Path) -> anyhow::Result<Option<String>> {
    for service in SERVICES {
        let path = binaries.join(service);
        let said = Command::new(&path).arg("--version").output();
        let said = said.with_context(|| format!("{} does not tell its version", path.display()))?;
        let said = String::from_utf8_lossy(&said.stdout);
        if said.contains(NOT_FOR_MEASURING) {
            return Ok(Some(format!("{}: {}", path.display(), said.trim())));
        }
    }
    Ok(None)
}

/// The same of a broker that runs already; nothing if it is of a version that does not say, or does not answer.
async fn profile_of(broker: SocketAddr) -> anyhow::Result<Option<String>> {
    let (_, status) = Site::foreign(broker, broker)?.broker_client().get("/status").await?;
    let profile = status.pointer("/data/broker/profile").and_then(serde_json::Value::as_str);
    let unfit = profile.filter(|profile| *profile != "release");
    Ok(unfit.map(|profile| format!("the broker at {broker} is a {profile} build, {NOT_FOR_MEASURING}")))
}

/// What is measured.
enum System {
    /// Started by this run.
    Own(Box<Stack>),
    /// Started by somebody else.
    Foreign(Box<Site>),
}

impl System {
    /// Looks for the one that the arguments name, or starts one of its own.
    async fn find(arguments: &Measure, binaries: Option<&Path>) -> anyhow::Result<Self> {
        if let Some((broker, logger)) = arguments.target.zip(arguments.logger) {
            let site = Site::foreign(broker, logger)?;
            let start = "start it, or give its address";
            let answers = async |client: Client, path| {
                client.get(path).await.is_ok_and(|(status, _)| status.is_success())
            };
            let is_there = answers(site.broker_client(), "/healthz").await;
            ensure!(is_there, "no broker answers at {broker}: {start}");
            let is_there = answers(site.logger_client(), "/logs?limit=1").await;
            ensure!(is_there, "no logger answers at {logger}: {start}");
            return Ok(System::Foreign(Box::new(site)));
        }
        let binaries = binaries.context("a target comes with its logger")?;
        say!("Starting RabbitMQ and the services…");
        Ok(System::Own(Box::new(Stack::start(binaries, &arguments.settings).await?)))
    }

    fn site(&self, keeping: Keeping) -> &Site {
        match self {
            System::Own(stack) => stack.site(keeping),
            System::Foreign(site) => site,
        }
    }

    fn node(&self) -> Option<&Node> {
        match self {
            System::Own(stack) => Some(&stack.node),
            System::Foreign(_) => None,
        }
    }

    /// What can be measured: another store cannot be had of what somebody else has started.
    fn has(&self, keeping: Keeping) -> bool {
        matches!(self, System::Own(_)) || keeping == Keeping::Synced
    }

    async fn empty_store(&mut self) -> anyhow::Result<()> {
        match self {
            System::Own(stack) => stack.synced.empty_store().await,
            System::Foreign(_) => Ok(()),
        }
    }
}

struct Run {
    system: System,
    record: Record,
    begun: Instant,
    cells: u64,
}

impl Run {
    fn note_versions(&mut self) {
        let Some(node) = self.system.node() else { return };
        let banner = node.banner();
        for (name, key) in [("RabbitMQ", "RabbitMQ "), ("Erlang", "Erlang:")] {
            let word = banner.split_once(key).and_then(|(_, rest)| rest.split_whitespace().next());
            let versions = &mut self.record.circumstances.versions;
            versions.insert(name.to_owned(), word.unwrap_or("unknown").to_owned());
        }
    }

    async fn everything(&mut self, binaries: Option<&Path>) -> anyhow::Result<()> {
        let plan = self.record.plan.clone();
        self.warm_up(plan.warm_up).await?;
        let mut closed = plan.closed_cells();
        closed.retain(|cell| self.system.has(cell.store));
        let repetitions = plan.repetitions * closed.len();
        let open = (plan.rates.len() + OWN_PARTS.len()) * Transport::ALL.len() * plan.open_repetitions;
        let total = repetitions + open + 2 * Transport::ALL.len();
        for repetition in 0..plan.repetitions {
            for cell in shuffled(&closed, repetition, self.record.circumstances.seed) {
                self.measure(cell, plan.closed, total).await?;
            }
            self.bare(plan.closed).await?;
            // So that the last repetition finds the store as the first one did.
            self.system.empty_store().await?;
        }
        if !plan.rates.is_empty() {
            self.find_knees(&plan, total).await?;
        }
        let cells = self.open_cells(&plan);
        for repetition in 0..plan.open_repetitions {
            for cell in shuffled(&cells, repetition, self.record.circumstances.seed) {
                self.measure(cell, plan.open, total).await?;
            }
        }
        self.say("counting bytes on the wire");
        if let (System::Own(stack), Some(binaries)) = (&mut self.system, binaries) {
            self.record.wire = wire::count(stack, binaries, &plan.payloads).await?;
            self.record.anew = wire::anew(&stack.synced).await?;
        }
        Ok(())
    }

    /// What RabbitMQ and the disk do with nothing around them.
    async fn bare(&mut self, duration: Duration) -> anyhow::Result<()> {
        let System::Own(stack) = &self.system else { return Ok(()) };
        let amqp_url = format!("{}/%2f", stack.node.amqp());
        self.record.bare.push(bare::publish(&amqp_url, BASE_PAYLOAD, duration).await?);
        bare::sync(stack.synced.directory(), &mut self.record.sync)
    }

    /// The cells at a rate, once the knees are known.
    fn open_cells(&self, plan: &Plan) -> Vec<Cell> {
        let mut cells = Vec::new();
        let slowest = self.record.knees.values().copied().fold(f64::INFINITY, f64::min);
        for (transport, knee) in &self.record.knees {
            let parts =
                plan.rates.iter().map(|part| Plan::open_cell(*transport, slowest * part, Part::Rates));
            cells.extend(parts);
            cells.extend(OWN_PARTS.map(|part| Plan::open_cell(*transport, knee * part, Part::Own)));
        }
        cells
    }

    async fn warm_up(&mut self, duration: Duration) -> anyhow::Result<()> {
        for keeping in [Keeping::Synced, Keeping::Nothing] {
            if !self.system.has(keeping) {
                continue;
            }
            for subject in Subject::ALL {
                self.say(&format!("warming up {}", subject.as_str()));
                let site = self.system.site(keeping);
                let load =
                    Load::new(site.broker_at, subject, Shape::Closed { callers: BASE_CALLERS }, duration);
                let seen = load.run_beside().await?;
                if keeping == Keeping::Synced && subject != Subject::Echo {
                    let found =
                        reconcile::settled(&site.logger_client(), &load, Place::Newest, &seen).await?;
                    ensure!(
                        found.kept.is_sound(),
                        "while warming up over {}: {:?}",
                        subject.as_str(),
                        found.kept
                    );
                }
            }
        }
        self.system.empty_store().await
    }

    /// The highest rate that each transport carries with next to no errors and a bounded p99.
    async fn find_knees(&mut self, plan: &Plan, total: usize) -> anyhow::Result<()> {
        for transport in Transport::ALL {
            let base = self.record.grid(Subject::Transport(transport), BASE_PAYLOAD, BASE_CALLERS);
            let peak = base.map(|row| stats::median(&row.each(Measured::stored_per_second)));
            let peak = peak.context("the plan has the cell that rates are chosen by")?;
            for part in KNEE_STEPS {
                let cell = Plan::open_cell(transport, peak * part, Part::Knee);
                if self.carries(cell, plan, total).await? {
                    self.record.knees.insert(transport, peak * part);
                    break;
                }
            }
            if !self.record.knees.contains_key(&transport) {
                let warning =
                    format!("{transport} carried no rate that was tried, and is not among those at a rate");
                self.record.warnings.push(warning);
            }
        }
        Ok(())
    }

    /// Whether a rate is carried each time that it is tried: once may be luck.
    async fn carries(&mut self, cell: Cell, plan: &Plan, total: usize) -> anyhow::Result<bool> {
        for _ in 0..plan.open_repetitions {
            let measured = self.measure(cell, plan.open, total).await?;
            let in_time = |latencies: &Latencies| {
                // Of fewer than a thousand the longest counts.
                let p99 = latencies.percentile(0.99).or(latencies.longest()).unwrap_or(u64::MAX);
                u128::from(p99) <= MOST_P99.as_micros()
            };
            // Stored, too: over RabbitMQ the answer says nothing of whether the store keeps up.
            let carried = in_time(&measured.answered) && in_time(&measured.stored);
            if measured.errors() > MOST_ERRORS || !carried {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn measure(&mut self, cell: Cell, duration: Duration, total: usize) -> anyhow::Result<Measured> {
        self.cells += 1;
        let passed = self.begun.elapsed().as_secs();
        let left = (passed * (total as u64).saturating_sub(self.cells)) / self.cells.max(1);
        self.say(&format!("{} of about {total}, {}:{:02} left: {cell}", self.cells, left / 60, left % 60));
        let seed = self.record.circumstances.seed.wrapping_add(self.cells);
        let site = self.system.site(cell.store);
        let measured = measure::cell(self.system.node(), site, cell, duration, seed).await?;
        self.record.note(cell, measured.clone());
        Ok(measured)
    }

    /// What speaks against single cells.
    fn warn(&mut self) {
        let cores = self.record.circumstances.cores;
        let mut warnings = Vec::new();
        for row in &self.record.rows {
            let errors = row.errors();
            if errors > MOST_ERRORS && row.cell.part != Part::Knee {
                warnings.push(format!("{}: {:.2} % errors", row.cell, errors * 100.0));
            }
            for measured in row.repetitions.iter().filter(|measured| !measured.kept.is_sound()) {
                warnings.push(format!(
                    "{}: the store does not hold what was promised: {}",
                    row.cell, measured.kept
                ));
            }
            let share = row.generator_share(cores);
            if share > MOST_GENERATOR {
                let share = share * 100.0;
                warnings.push(format!("{}: the generator took {share:.0} % of all cores", row.cell));
            }
        }
        self.record.warnings.extend(warnings);
    }

    /// Shows a line of progress in place of the last one; on anything but a terminal, one of twenty.
    fn say(&self, line: &str) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            let _ = write!(stderr, "\r\x1b[2K{line}");
        } else if !line.is_empty() && self.cells.is_multiple_of(20) {
            let _ = writeln!(stderr, "{line}");
        }
    }
}
