//! RabbitMQ itself is killed, stopped and frozen under load.

use std::time::{Duration, Instant};

use anyhow::Context;
use proto::{Code, Outcome, Transport};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::{Answer, Node, QUEUE_IS_ON_DISK};

use super::{
    Report, Tried,
    figures::Spread,
    load::{self, Load},
};
use crate::{DIRECT, node, rabbitmq::VirtualHost, soon, stack::Stack};

/// Callers at work.
const CALLERS: usize = 64;

/// The broker's deadline: short, so that many requests meet it.
const DEADLINE: Duration = Duration::from_millis(1_000);

/// How long after its deadline an answer may come here, where a starting RabbitMQ takes the processors.
const LATE: Duration = Duration::from_millis(1_000);

/// The longest that half of the refusals may take once RabbitMQ is known to be down. On a machine with nothing
/// else to do it is far less: see the figures.
pub(super) const AT_ONCE: Duration = Duration::from_millis(500);

/// How long after a fresh client's first message the first entry may be accepted. It is mostly about a
/// second; on a machine with ten times as much to do as it has processors it was once 8.1 s.
const RESUME_LIMIT: Duration = Duration::from_secs(10);

/// Refusals that are timed in each outage.
const REFUSALS: usize = 20;

/// How long a node is frozen. Two heartbeats are 10 s: the longer outlasts them.
const SHORT_FREEZE: Duration = Duration::from_secs(2);
const LONG_FREEZE: Duration = Duration::from_secs(15);

/// What is done to RabbitMQ.
#[derive(Debug, Clone, Copy)]
enum Outage {
    Killed,
    Stopped,
    Frozen(Duration),
}

impl Outage {
    /// Half of the rounds kill, a quarter stop in order, a quarter freeze: the first three do one each.
    fn of(round: u32) -> Self {
        match (round % 4, round / 4 % 3) {
            (0 | 3, _) => Outage::Killed,
            (1, _) => Outage::Stopped,
            (_, 2) => Outage::Frozen(LONG_FREEZE),
            _ => Outage::Frozen(SHORT_FREEZE),
        }
    }
}

/// What was measured.
#[derive(Debug, Default)]
struct Measured {
    /// From a fresh client's first message to our first accepted entry, after a start and after a freeze.
    restarted: Spread,
    thawed: Spread,
    refused: Spread,
    /// Answers over the other transports that were not `stored`.
    disturbed: Vec<String>,
}

/// Breaks it so often. `seed` makes the waits and the entries the same again.
pub async fn run(rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut random = StdRng::seed_from_u64(seed);
    let mut node = node::start().await?;
    let deadline_ms = DEADLINE.as_millis().to_string();
    let stack = Stack::start_on(VirtualHost::of(&node), &[("BROKER_DEADLINE_MS", &deadline_ms)]).await;
    let mut load = load::start(&stack, &[Transport::Rabbitmq], CALLERS, seed);
    load.goes_on(1).await?;
    tokio::time::sleep(QUEUE_IS_ON_DISK).await;
    let mut measured = Measured::default();
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..500))).await;
        measured.outage(Outage::of(round), &mut node, &mut load).await?;
        progress(round + 1);
    }
    let verdict = load::stop(load, &stack).await?;
    let mut report = Report::of(&verdict, rounds);
    let Measured { restarted, thawed, refused, disturbed } = measured;
    report.figures = format!(
        "accepted after a fresh client by {restarted}, after a freeze by {thawed}; refused within {refused}; {verdict}"
    );
    report.broken.extend(disturbed);
    let longest = restarted.longest().max(thawed.longest());
    if longest > RESUME_LIMIT {
        report.broken.push(format!("accepted again {longest:?} after a fresh client"));
    }
    if refused.percentile(50) > AT_ONCE {
        report.broken.push(format!("refusals took {refused}"));
    }
    // A debug build beside other tests says nothing of time.
    if !cfg!(debug_assertions) && verdict.longest > DEADLINE + LATE {
        report.broken.push(format!("an answer came after {:?}", verdict.longest));
    }
    Ok(report)
}

impl Measured {
    async fn outage(&mut self, outage: Outage, node: &mut Node, load: &mut Load) -> anyhow::Result<()> {
        match outage {
            Outage::Killed => node.kill().await?,
            Outage::Stopped => node.stop().await?,
            Outage::Frozen(_) => node.freeze().await?,
        }
        let begun = Instant::now();
        for transport in DIRECT {
            let (mut answer, _) = load.one(transport).await;
            if cfg!(debug_assertions) && answer == Answer::Refused(Code::OutcomeUnknown) {
                // Too slow once: see above.
                (answer, _) = load.one(transport).await;
            }
            if answer != Answer::Accepted(Outcome::Stored) {
                self.disturbed.push(format!("{transport} without RabbitMQ: {answer:?}"));
            }
        }
        match outage {
            Outage::Frozen(SHORT_FREEZE) => {}
            Outage::Killed | Outage::Stopped | Outage::Frozen(_) => self.refusals(load).await?,
        }
        if let Outage::Frozen(length) = outage {
            // Not a wait for something: so long is the outage.
            tokio::time::sleep(length.saturating_sub(begun.elapsed())).await;
            node.thaw().await?;
            self.thawed.add(resumed(node.amqp(), load).await?);
        } else {
            node.launch().await?;
            self.restarted.add(resumed(node.amqp(), load).await?);
        }
        Ok(())
    }

    /// Waits until it is known that RabbitMQ is gone, and takes the time of what is refused from then on.
    async fn refusals(&mut self, load: &mut Load) -> anyhow::Result<()> {
        soon("it is known that RabbitMQ is gone", async || {
            let (answer, _) = load.one(Transport::Rabbitmq).await;
            (answer == Answer::Refused(Code::Unavailable)).then_some(())
        })
        .await?;
        for _ in 0..REFUSALS {
            let (answer, took) = load.one(Transport::Rabbitmq).await;
            if answer != Answer::Refused(Code::Unavailable) {
                self.disturbed.push(format!("without RabbitMQ: {answer:?}"));
            }
            self.refused.add(took);
        }
        Ok(())
    }
}

/// Waits until entries are accepted again; says how long after a fresh client of the node at `amqp` had its first
/// message confirmed.
async fn resumed(amqp: String, load: &Load) -> anyhow::Result<Duration> {
    let before = load.accepted();
    let accepted = async {
        while load.accepted() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Instant::now()
    };
    let both = async { tokio::join!(node::takes_messages(amqp), accepted) };
    let both = tokio::time::timeout(node::START_TIMEOUT, both).await;
    let (fresh, ours) = both.context("entries are not accepted again")?;
    Ok(ours.saturating_duration_since(fresh?))
}
