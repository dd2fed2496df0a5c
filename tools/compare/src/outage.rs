//! One failure under load, over all four transports at once: who is refused, who waits, who is left without an answer,
//! and what is in the store when all is over.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proto::Transport;
use rig::Verdict;
use serde::{Deserialize, Serialize};

use crate::{
    cell::Latencies,
    load::{Load, Seen},
    reconcile::{self, Found, Place},
    stack::Stack,
    workload::{Ending, Shape, Subject},
};

/// Requests per second over each transport, where nothing else is said: all four together carry it with ease.
pub const RATE: f64 = 200.0;

/// All is well so long before it breaks, and it is broken so long.
const BEFORE: Duration = Duration::from_secs(3);
const BROKEN: Duration = Duration::from_secs(3);

/// How long the load goes on after the begin. RabbitMQ takes some seconds to come back.
const LOAD: Duration = Duration::from_secs(24);

/// What takes longer is not well. Far above what an answer takes at such a rate.
const WELL: Duration = Duration::from_millis(500);

/// How long requests must be due after all processes are there again, to say when all was well.
const WATCHED: Duration = Duration::from_secs(3);

/// A step of the pictures.
const STEP: Duration = Duration::from_millis(250);

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Break {
    /// `kill -9`, started again after three seconds.
    LoggerKilled,
    /// Stopped for three seconds, as by a machine that stalls.
    LoggerFrozen,
    /// `kill -9` of all of it, started again after three seconds.
    RabbitmqKilled,
    /// `kill -9`, started again after three seconds.
    ListenerKilled,
}

impl Break {
    /// All of them.
    pub const ALL: [Break; 4] =
        [Break::LoggerKilled, Break::LoggerFrozen, Break::RabbitmqKilled, Break::ListenerKilled];

    /// Its words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Break::LoggerKilled => "logger killed",
            Break::LoggerFrozen => "logger frozen",
            Break::RabbitmqKilled => "RabbitMQ killed",
            Break::ListenerKilled => "listener killed",
        }
    }
}

/// What one failure did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Broken {
    /// The failure.
    pub what: Break,
    /// When it began, since the start of the load.
    pub from: Duration,
    /// When all processes were there again.
    pub to: Duration,
    /// What came of it.
    pub by_transport: BTreeMap<Transport, Suffered>,
}

/// What the callers of one transport saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Suffered {
    /// Requests by how they ended.
    pub endings: BTreeMap<Ending, u64>,
    /// Every entry verified against the store.
    pub kept: Verdict,
    /// From due to answered.
    pub answered: Latencies,
    /// From due to stored.
    pub stored: Latencies,
    /// The last request that was not well, counted from when all processes were there again; zero if none was.
    /// `None` if hardly a request was due after that, so that nothing can be said.
    pub well_after: Option<Duration>,
    /// By quarters of a second in which requests were due.
    pub timeline: Vec<Step>,
}

/// What became of the requests that were due in a step.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Step {
    /// Accepted.
    pub accepted: u64,
    /// All others.
    pub others: u64,
    /// The longest that one took to be answered, in microseconds.
    pub longest_us: u64,
}

/// Breaks one thing under a load of so many requests a second over each transport, and puts it right.
///
/// # Errors
/// If a process does not come back, or the logger cannot be read.
pub async fn suffer(stack: &mut Stack, what: Break, rate: f64, seed: u64) -> anyhow::Result<Broken> {
    stack.synced.empty_store().await?;
    let broker = stack.synced.broker_at;
    let load = |transport, shape, duration| Load {
        // The same arrivals for all four.
        seed,
        ..Load::new(broker, Subject::Transport(transport), shape, duration)
    };
    for transport in Transport::ALL {
        load(transport, Shape::Closed { callers: 8 }, Duration::from_millis(300)).run_beside().await?;
    }
    let loads = Transport::ALL.map(|transport| (transport, load(transport, Shape::Open { rate }, LOAD)));
    let begun = Instant::now();
    let running = loads.clone().map(|(_, load)| tokio::spawn(async move { load.run_beside().await }));
    tokio::time::sleep(BEFORE).await;
    let from = begun.elapsed();
    break_and_repair(stack, what).await?;
    let to = begun.elapsed();
    // All of them first: reading the store back would disturb those that still send.
    let mut all_seen = Vec::new();
    for running in running {
        all_seen.push(running.await??);
    }
    let mut by_transport = BTreeMap::new();
    for ((transport, load), seen) in loads.into_iter().zip(all_seen) {
        let found = reconcile::settled(&stack.synced.logger_client(), &load, Place::Anywhere, &seen).await?;
        by_transport.insert(transport, sum_up(&seen, found, to));
    }
    Ok(Broken { what, from, to, by_transport })
}

async fn break_and_repair(stack: &mut Stack, what: Break) -> anyhow::Result<()> {
    let Stack { node, synced, .. } = stack;
    match what {
        Break::LoggerKilled => synced.logger.kill().await?,
        Break::ListenerKilled => synced.listener.kill().await?,
        Break::LoggerFrozen => synced.logger.freeze().await?,
        Break::RabbitmqKilled => node.kill().await?,
    }
    tokio::time::sleep(BROKEN).await;
    match what {
        Break::LoggerKilled => synced.start_logger_unasked().await,
        Break::ListenerKilled => synced.launch_listener().await,
        Break::LoggerFrozen => synced.logger.thaw(),
        Break::RabbitmqKilled => {
            node.launch().await?;
            node.serves().await
        }
    }
}

fn sum_up(seen: &Seen, found: Found, whole_at: Duration) -> Suffered {
    let mut endings = BTreeMap::new();
    let mut answered = Latencies::default();
    let mut well_after = Duration::ZERO;
    let mut timeline = vec![Step::default(); (LOAD.as_millis() / STEP.as_millis()) as usize];
    for sample in &seen.samples {
        *endings.entry(sample.ending).or_default() += 1;
        answered.add(sample.latency());
        let is_well = sample.ending == Ending::Accepted && sample.latency() <= WELL;
        if !is_well {
            well_after = well_after.max(sample.answered.saturating_sub(whole_at));
        }
        let at = (sample.due.as_millis() / STEP.as_millis()) as usize;
        let Some(step) = timeline.get_mut(at) else { continue };
        match sample.ending {
            Ending::Accepted => step.accepted += 1,
            Ending::Rejected | Ending::Refused | Ending::Unknown | Ending::Broken | Ending::Unsent => {
                step.others += 1;
            }
        }
        step.longest_us = step.longest_us.max(sample.latency().as_micros() as u64);
    }
    let well_after = (whole_at + WATCHED <= LOAD).then_some(well_after);
    Suffered { endings, kept: found.kept, answered, stored: found.stored, well_after, timeline }
}
