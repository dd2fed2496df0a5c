//! One repetition of one cell: a short prelude, the load, what each process used, and every entry verified against the store.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use proto::Transport;
use rig::{Node, Usage};

use crate::{
    cell::{Cell, Keeping, Latencies, Measured},
    load::{Load, Seen},
    reconcile::{self, DRAIN, Found, Place},
    stack::{self, Site},
    workload::{Ending, Shape, Subject},
};

/// What the tables call the generator.
pub const GENERATOR: &str = "generator";

/// A short load before each cell, thrown away: connections are open and caches warm.
const PRELUDE: Duration = Duration::from_millis(150);

/// Measures a cell once, against the site whose store it names. What the store does not hold is a result, not an error.
///
/// # Errors
/// If a process is gone, or the logger cannot be read.
pub async fn cell(
    node: Option<&Node>,
    site: &Site,
    cell: Cell,
    duration: Duration,
    seed: u64,
) -> anyhow::Result<Measured> {
    let shape = match cell.shape {
        closed @ Shape::Closed { .. } => closed,
        Shape::Open { .. } => Shape::Closed { callers: 8 },
    };
    let prelude = Load::new(site.broker_at, cell.subject, shape, PRELUDE);
    let prelude = Load { payload_bytes: cell.payload_bytes, ..prelude };
    let keeps = cell.store == Keeping::Synced && cell.subject != Subject::Echo;
    let logger = site.logger_client();
    let seen = prelude.run_beside().await?;
    if keeps {
        let kept = reconcile::settled(&logger, &prelude, Place::Newest, &seen).await?.kept;
        ensure!(kept.is_sound(), "before {cell}: the store does not hold what was promised: {kept:?}");
    }
    let load = Load::new(site.broker_at, cell.subject, cell.shape, duration);
    let load = Load { payload_bytes: cell.payload_bytes, batch: cell.batch, seed, ..load };
    stack::forget_peaks(node, site)?;
    let before = usage(node, site)?;
    let seen = load.run_beside().await?;
    if keeps && cell.subject == Subject::Transport(Transport::Rabbitmq) {
        wait_for_last(site, &seen).await;
    }
    let after = usage(node, site)?;
    let found = if keeps {
        reconcile::settled(&logger, &load, Place::Newest, &seen).await?
    } else {
        Found::default()
    };
    Ok(sum_up(duration, &seen, found, keeps, &before, &after))
}

fn usage(node: Option<&Node>, site: &Site) -> anyhow::Result<BTreeMap<String, Usage>> {
    let mut usage = stack::usage(node, site)?;
    let own = i32::try_from(std::process::id()).context("a process id")?;
    usage.insert(GENERATOR.to_owned(), Usage::of(own)?);
    Ok(usage)
}

/// Waits until the entries that were accepted last are stored: RabbitMQ hands over in order, but for what several
/// publishers and consumers make of it.
async fn wait_for_last(site: &Site, seen: &Seen) {
    const LAST: usize = 32;
    let mut accepted: Vec<usize> =
        (0..seen.samples.len()).filter(|at| seen.samples[*at].ending == Ending::Accepted).collect();
    accepted.sort_by_key(|at| seen.samples[*at].answered);
    let (logger, deadline) = (site.logger_client(), Instant::now() + DRAIN);
    // The last comes first: once it is stored, one question for each of the others is usually enough.
    for position in accepted.iter().rev().take(LAST) {
        for id in seen.ids_of(*position).iter().take(1) {
            while !logger.stored(*id).await.is_ok_and(|stored| stored.is_some()) {
                if Instant::now() > deadline {
                    return; // the reconciliation names it
                }
                // Seldom: the logger's answers are CPU time that would count as the transport's.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn sum_up(
    duration: Duration,
    seen: &Seen,
    found: Found,
    keeps: bool,
    before: &BTreeMap<String, Usage>,
    after: &BTreeMap<String, Usage>,
) -> Measured {
    let mut endings = BTreeMap::new();
    let (mut answered, mut late) = (Latencies::default(), Latencies::default());
    let mut answering = Duration::ZERO;
    for sample in &seen.samples {
        *endings.entry(sample.ending).or_default() += 1;
        answered.add(sample.latency());
        late.add(sample.sent.saturating_sub(sample.due));
        answering = answering.max(sample.answered);
    }
    let accepted = endings.get(&Ending::Accepted).copied().unwrap_or_default() * seen.batch() as u64;
    let used = |name: &String, usage: &Usage| {
        let before = before.get(name).copied().unwrap_or_default();
        (name.clone(), usage.cpu_time.saturating_sub(before.cpu_time))
    };
    Measured {
        duration,
        answering,
        storing: keeps.then_some(found.storing),
        endings,
        accepted,
        kept: found.kept,
        answered,
        stored: found.stored,
        late,
        cpu_time: after.iter().map(|(name, usage)| used(name, usage)).collect(),
        peak_memory_kib: after.iter().map(|(name, usage)| (name.clone(), usage.peak_memory_kib)).collect(),
    }
}
