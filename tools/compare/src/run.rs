//! Measures: starts the system, warms it up, goes through the cells in turn, and verifies every entry against the store.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use proto::Transport;

use crate::{
    bare,
    cell::{Calls, Cell, Keeping, Latencies, Measured, Part},
    config::Measure,
    fit::unfit,
    load::Load,
    measure,
    outage::{self, Break},
    plan::{Plan, shuffled},
    reconcile::{self, Place},
    record::{Circumstances, Record},
    stats,
    system::System,
    wire,
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

/// What a transport must keep at a rate, to carry it.
const MOST_ERRORS: f64 = 0.001;
const MOST_P99: Duration = Duration::from_millis(50);

/// Parts of the peak of the closed loop that are tried, one after the other.
const KNEE_STEPS: [f64; 11] = [1.05, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.35, 0.25, 0.15, 0.1];

/// Parts of its own knee at which each is measured.
const OWN_PARTS: [f64; 2] = [0.5, 0.75];

/// Above this part of one core for each core the generator, and not the system, may be the limit.
const MOST_GENERATOR: f64 = 0.8;

pub use crate::fit::{binaries, built_to_be_tried, out};

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
    let binaries = match arguments.target {
        Some(_) => None,
        None => Some(binaries(arguments.common.binaries.as_deref())?),
    };
    let mut circumstances = Circumstances::now(arguments.common.seed, binaries.as_deref());
    circumstances.settings.extend(arguments.settings.iter().cloned());
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
        faults: Vec::new(),
        took: Duration::ZERO,
    };
    let system = System::find(arguments, binaries.as_deref()).await?;
    let directory = out(arguments.common.out.as_deref(), "compare")?;
    let mut run = Run { system, record, begun: Instant::now(), cells: 0 };
    run.note_versions();
    let result = run.everything(binaries.as_deref()).await;
    run.say("");
    run.warn();
    run.record.took = run.begun.elapsed();
    // What was measured until then is worth having, whatever went wrong.
    run.record.write(&directory)?;
    let directory_name = directory.display();
    result
        .with_context(|| format!("the run broke off; {directory_name} has what was measured until then"))?;
    Ok((run.record, directory))
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
        closed.retain(|cell| self.system.has(cell.store, cell.calls));
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
            self.record.wire = wire::count(stack, binaries).await?;
            self.record.anew = wire::anew(&stack.synced).await?;
        }
        self.break_things(&plan.faults).await
    }

    /// What a failure does to each transport.
    async fn break_things(&mut self, faults: &[Break]) -> anyhow::Result<()> {
        for what in faults {
            self.say(&format!("{}, under load", what.as_str()));
            let System::Own(stack) = &mut self.system else { return Ok(()) };
            let seed = self.record.circumstances.seed;
            self.record.faults.push(outage::suffer(stack, *what, outage::RATE, seed).await?);
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
        const SITES: [(Keeping, Calls); 3] = [
            (Keeping::Synced, Calls::Shared),
            (Keeping::Synced, Calls::Own),
            (Keeping::Nothing, Calls::Shared),
        ];
        for (keeping, calls) in SITES {
            if !self.system.has(keeping, calls) {
                continue;
            }
            for subject in Subject::ALL {
                self.say(&format!("warming up {}", subject.as_str()));
                let site = self.system.site(keeping, calls);
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
        let site = self.system.site(cell.store, cell.calls);
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
