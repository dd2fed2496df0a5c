//! `compare builds`: two builds of the services, or one under two settings, in turn on one machine.
//!
//! It is how a change is judged: what does not take turns in one run says more of the machine than of the change.

use std::{collections::BTreeMap, fmt::Write, path::Path, time::Duration};

use anyhow::{Context, ensure};
use proto::{Transport, limits::BATCH_ENTRIES};
use rig::{Database, Node};

use crate::{
    cell::{Calls, Cell, Keeping, Latencies, Measured, Part},
    config, fit,
    load::{Load, MAX_CALLERS},
    measure::{self, GENERATOR},
    record, run,
    stack::Site,
    stats::{Estimate, interval, median, paired_ratio},
    workload::{BASE_PAYLOAD, Ending, Shape, Subject},
};

/// Rounds after which all services are started anew, with empty stores. Two processes of the same binary differ by some
/// hundredths for as long as they live, by where their memory and threads happen to lie.
///
/// So the rounds of one life are one sample: as two, they would make the interval too narrow.
const ROUNDS_OF_A_LIFE: usize = 2;

/// Measures both, and says what changed.
///
/// # Errors
/// If the machine is busy, the system does not start, or an entry is lost.
pub async fn run(arguments: &config::Builds) -> anyhow::Result<String> {
    ensure!((1..=1_000).contains(&arguments.rounds), "--rounds is a number from 1 to 1000");
    ensure!((1..=MAX_CALLERS).contains(&arguments.clients), "--clients is a number from 1 to {MAX_CALLERS}");
    fit::ensure_quiet(record::busy(), arguments.force)?;
    let binaries =
        (run::binaries(Some(arguments.before.as_path()))?, run::binaries(Some(arguments.after.as_path()))?);
    for side in [&binaries.0, &binaries.1] {
        // No refusal: how such a build differs from a release is asked in this way.
        if let Some(unfit) = run::built_to_be_tried(side)? {
            say!("warning: {unfit}");
        }
    }
    say!("Starting RabbitMQ and the services, twice…");
    let mut node = Node::start().await.context("RabbitMQ")?;
    node.serves().await?;
    let mut sides = Vec::new();
    for (name, binaries, settings) in
        [("before", binaries.0, &arguments.set_before), ("after", binaries.1, &arguments.set_after)]
    {
        sides.push((node.add_virtual_host(name).await?, binaries, settings));
    }
    let subjects: Vec<Subject> = match arguments.transports.as_slice() {
        [] => Subject::ALL.to_vec(),
        some => some.iter().copied().map(Subject::Transport).collect(),
    };
    let mut seen = Seen::new();
    let mut sites: Vec<Site> = Vec::new();
    let mut database = None;
    for round in 0..arguments.rounds {
        let begins =
            if arguments.fill_after > 0 { round == 0 } else { round.is_multiple_of(ROUNDS_OF_A_LIFE) };
        if begins {
            sites.clear();
            // A new one is an empty store.
            drop(database.take());
            for (amqp_url, binaries, settings) in &sides {
                let mut site = Site::new(binaries, amqp_url, Keeping::Synced, settings)?;
                if !sites.is_empty() && arguments.store_after == config::StoreKind::Postgres {
                    let server = database.insert(Database::start().await.context("PostgreSQL")?);
                    site.set("LOGGER_STORE", server.url().to_owned());
                }
                rig::Services::start(&mut site).await?;
                sites.push(site);
            }
            fill(&sites[1], arguments.fill_after).await?;
        }
        for (at, subject) in subjects.iter().enumerate() {
            // Each goes first every second time.
            let turns = if (round + at).is_multiple_of(2) { [0, 1] } else { [1, 0] };
            for side in turns {
                let seed = arguments.seed.wrapping_add(round as u64);
                let measured = measure(&node, &sites[side], *subject, arguments, begins, seed).await?;
                seen.entry((at, side)).or_default().push(measured);
            }
        }
        say!("{} of {} rounds", round + 1, arguments.rounds);
    }
    Ok(table(&subjects, &seen, arguments))
}

/// What was measured, by subject and side.
type Seen = BTreeMap<(usize, usize), Vec<Measured>>;

/// Measures one side once; with a new life it is warmed up first.
async fn measure(
    node: &Node,
    site: &Site,
    subject: Subject,
    arguments: &config::Builds,
    begins: bool,
    seed: u64,
) -> anyhow::Result<Measured> {
    let cell = Cell {
        subject,
        store: Keeping::Synced,
        calls: Calls::Shared,
        payload_bytes: arguments.payload,
        batch: 1,
        shape: Shape::Closed { callers: arguments.clients },
        part: Part::Again,
    };
    let duration = Duration::from_millis(arguments.milliseconds);
    if begins {
        // Thrown away.
        measure::cell(Some(node), site, cell, duration / 2, seed).await?;
    }
    let measured = measure::cell(Some(node), site, cell, duration, seed).await?;
    ensure!(measured.kept.is_sound(), "{cell}: the store does not hold: {}", measured.kept);
    Ok(measured)
}

/// Puts entries into the store of a site, in the largest batches.
async fn fill(site: &Site, entries: u64) -> anyhow::Result<()> {
    const PART: Duration = Duration::from_secs(5);
    let mut filled = 0;
    while filled < entries {
        let load = Load::new(
            site.broker_at,
            Subject::Transport(Transport::Grpc),
            Shape::Closed { callers: 4 },
            PART,
        );
        let load = Load { payload_bytes: BASE_PAYLOAD, batch: BATCH_ENTRIES, seed: filled, ..load };
        let seen = load.run_beside().await?;
        let accepted = seen.samples.iter().filter(|sample| sample.ending == Ending::Accepted).count();
        ensure!(accepted > 0, "the store takes no batches");
        filled += (accepted * BATCH_ENTRIES) as u64;
        say!("{filled} of {} entries are in the store", entries.max(filled));
    }
    Ok(())
}

fn table(subjects: &[Subject], seen: &Seen, arguments: &config::Builds) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_table(subjects, seen, arguments, &mut text);
    text
}

fn write_table(
    subjects: &[Subject],
    seen: &Seen,
    arguments: &config::Builds,
    text: &mut String,
) -> std::fmt::Result {
    let rounds_of_a_sample = if arguments.fill_after > 0 { 1 } else { ROUNDS_OF_A_LIFE };
    write_heading(arguments, rounds_of_a_sample, text)?;
    writeln!(
        text,
        "{:<9} {:>8} {:>8} {:>20} {:>9} {:>9} {:>20} {:>8} {:>8}",
        "", "before/s", "after/s", "ratio", "CPU us", "CPU us", "ratio", "p50 us", "p50 us"
    )?;
    for (at, subject) in subjects.iter().enumerate() {
        let [before, after] = [0, 1].map(|side| seen.get(&(at, side)).map_or(&[][..], Vec::as_slice));
        let each = |of: &dyn Fn(&Measured) -> f64| {
            let sample = |rounds: &[Measured]| median(&rounds.iter().map(of).collect::<Vec<f64>>());
            [before, after].map(|side| side.chunks(rounds_of_a_sample).map(sample).collect::<Vec<f64>>())
        };
        let rates = each(&Measured::stored_per_second);
        let costs = each(&system_us);
        let halves = [before, after].map(|side| {
            let mut all = Latencies::default();
            side.iter().for_each(|measured| all.merge(&measured.answered));
            all.percentile(0.5).map_or_else(|| "n/a".to_owned(), |half| half.to_string())
        });
        writeln!(
            text,
            "{:<9} {:>8.0} {:>8.0} {:>20} {:>9.1} {:>9.1} {:>20} {:>8} {:>8}",
            subject.as_str(),
            median(&rates[0]),
            median(&rates[1]),
            ratio(paired_ratio(&rates[1], &rates[0])),
            median(&costs[0]),
            median(&costs[1]),
            ratio(paired_ratio(&costs[1], &costs[0])),
            halves[0],
            halves[1],
        )?;
    }
    Ok(())
}

/// What was compared, and how.
fn write_heading(
    arguments: &config::Builds,
    rounds_of_a_sample: usize,
    text: &mut String,
) -> std::fmt::Result {
    let about = |binaries: &Path, settings: &[(String, String)]| {
        let settings = settings.iter().map(|(name, value)| format!(" {name}={value}"));
        format!("{}{}", binaries.display(), settings.collect::<String>())
    };
    writeln!(text, "before: {}", about(&arguments.before, &arguments.set_before))?;
    writeln!(text, "after:  {}", about(&arguments.after, &arguments.set_after))?;
    if arguments.store_after == config::StoreKind::Postgres {
        writeln!(text, "after has its entries in PostgreSQL, whose CPU time is not counted")?;
    }
    if arguments.fill_after > 0 {
        writeln!(text, "after begins with {} entries in its store", arguments.fill_after)?;
    }
    writeln!(
        text,
        "{} B, {} clients, {} rounds of {} ms each, {}; medians, ratios pair by pair with {}\n",
        arguments.payload,
        arguments.clients,
        arguments.rounds,
        arguments.milliseconds,
        if arguments.fill_after > 0 {
            "in one life of the services, whose own differences the intervals leave out".to_owned()
        } else {
            format!("{ROUNDS_OF_A_LIFE} in each life of the services, which are one sample")
        },
        interval(arguments.rounds.div_ceil(rounds_of_a_sample))
    )
}

/// The CPU time of the system for an accepted entry, in microseconds.
pub(crate) fn system_us(measured: &Measured) -> f64 {
    let system = measured.cpu_time.iter().filter(|(name, _)| *name != GENERATOR);
    let system: f64 = system.map(|(_, time)| time.as_secs_f64() * 1e6).sum();
    system / measured.accepted.max(1) as f64
}

fn ratio(estimate: Option<Estimate>) -> String {
    let text = |by: Estimate| format!("{:.3} ({:.3}–{:.3})", by.middle, by.low, by.high);
    estimate.map_or_else(|| "n/a".to_owned(), text)
}
