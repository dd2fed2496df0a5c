//! RabbitMQ is short of memory, then of disk, under load.

use std::time::{Duration, Instant};

use proto::{Code, Transport, rabbitmq::QUEUE};
use rig::{Answer, Node};

use super::{
    Report, Tried,
    figures::Spread,
    load::{self, Load},
    rabbitmq_killed::AT_ONCE,
};
use crate::{node, rabbitmq::VirtualHost, soon, stack::Stack};

/// Callers at work: refused at once and trying again after 50 ms, they ask 2,000 times a second.
const CALLERS: usize = 104;

/// A round is so long under an alarm.
const ROUND: Duration = Duration::from_secs(5);

/// How often a refusal is timed.
const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// Entries that wait in RabbitMQ when the alarm begins.
const BACKLOG: u64 = 1_000;

/// The broker's deadline.
const DEADLINE_MS: &str = "1000";

/// How much the broker's memory may grow under an alarm.
const GROWTH_LIMIT_KIB: u64 = 20 * 1024;

/// How long after the alarm the first entry may be accepted.
const RESUME_LIMIT: Duration = Duration::from_secs(5);

/// What RabbitMQ is short of.
#[derive(Debug, Clone, Copy)]
enum Shortage {
    Memory,
    Disk,
}

impl Shortage {
    const fn raise(self) -> &'static str {
        match self {
            Shortage::Memory => "set_vm_memory_high_watermark absolute 1MB",
            Shortage::Disk => "set_disk_free_limit 1000000GB",
        }
    }

    const fn clear(self) -> &'static str {
        match self {
            Shortage::Memory => "set_vm_memory_high_watermark absolute 768MB",
            Shortage::Disk => "set_disk_free_limit 256MB",
        }
    }
}

/// What was measured.
#[derive(Debug, Default)]
struct Measured {
    refused: Spread,
    /// From the end of the command that clears the alarm to the first accepted entry.
    resumed: Spread,
    growth_kib: u64,
    requests: u64,
    lasted: Duration,
    wrong: Vec<String>,
}

/// The first half of the rounds is under one memory alarm, the rest under one disk alarm.
pub async fn run(rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut node = node::start().await?;
    let mut stack = Stack::start_on(VirtualHost::of(&node), &[("BROKER_DEADLINE_MS", DEADLINE_MS)]).await;
    let mut load = load::start(&stack, &[Transport::Rabbitmq], CALLERS, seed);
    let mut measured = Measured::default();
    let mut done = 0;
    for (shortage, rounds) in [(Shortage::Memory, rounds.div_ceil(2)), (Shortage::Disk, rounds / 2)] {
        if rounds > 0 {
            let mut round_done = || {
                done += 1;
                progress(done);
            };
            measured.alarm(shortage, rounds, &mut node, &mut stack, &mut load, &mut round_done).await?;
        }
    }
    let verdict = load::stop(load, &stack).await?;
    let mut report = Report::of(&verdict, rounds);
    let Measured { refused, resumed, growth_kib, requests, lasted, wrong } = measured;
    report.figures = format!(
        "blocked within {refused}; {:.0} requests/s; the broker grew by {growth_kib} KiB; accepted after \
         the alarm within {resumed}; {verdict}",
        requests as f64 / lasted.as_secs_f64()
    );
    report.broken.extend(wrong);
    if growth_kib > GROWTH_LIMIT_KIB {
        report.broken.push(format!("the broker grew by {growth_kib} KiB"));
    }
    if resumed.longest() > RESUME_LIMIT {
        report.broken.push(format!("accepted again {:?} after the alarm", resumed.longest()));
    }
    if refused.percentile(50) > AT_ONCE {
        report.broken.push(format!("refusals took {refused}"));
    }
    Ok(report)
}

impl Measured {
    async fn alarm(
        &mut self,
        shortage: Shortage,
        rounds: u32,
        node: &mut Node,
        stack: &mut Stack,
        load: &mut Load,
        round_done: &mut impl FnMut(),
    ) -> anyhow::Result<()> {
        stack.listener.stop().await?;
        load.goes_on(BACKLOG).await?;
        // While messages still come, so that it grows less for what it allocates once.
        node.ctl(shortage.raise()).await?;
        soon("it is known that RabbitMQ takes no messages", async || {
            let (answer, _) = load.one(Transport::Rabbitmq).await;
            (answer == Answer::Refused(Code::Blocked)).then_some(())
        })
        .await?;
        soon("the backlog is counted", async || {
            (u64::from(stack.rabbitmq.depth(QUEUE).await) >= BACKLOG).then_some(())
        })
        .await?;
        let (begun, answered) = (Instant::now(), load.answered());
        let memory_kib = stack.broker.usage()?.memory_kib;
        stack.start_listener().await?;
        for round in 1..=rounds {
            while begun.elapsed() < ROUND * round {
                let (answer, took) = load.one(Transport::Rabbitmq).await;
                if answer != Answer::Refused(Code::Blocked) {
                    self.wrong.push(format!("under the alarm: {answer:?}"));
                }
                self.refused.add(took);
                let growth_kib = stack.broker.usage()?.memory_kib.saturating_sub(memory_kib);
                self.growth_kib = self.growth_kib.max(growth_kib);
                tokio::time::sleep(PROBE_INTERVAL).await;
            }
            round_done();
        }
        self.lasted += begun.elapsed();
        self.requests += load.answered() - answered;
        drained(stack, load).await?;
        let before = load.accepted();
        node.ctl(shortage.clear()).await?;
        let cleared = Instant::now();
        soon("entries are accepted again", async || (load.accepted() > before).then_some(())).await?;
        self.resumed.add(cleared.elapsed());
        Ok(())
    }
}

/// Waits, still under the alarm, until all that was accepted is stored.
async fn drained(stack: &Stack, load: &Load) -> anyhow::Result<()> {
    soon("the listener takes all that is queued", async || {
        (stack.rabbitmq.depth(QUEUE).await == 0).then_some(())
    })
    .await?;
    soon("all that was accepted is stored", async || {
        (stack.all_stored().await.len() as u64 >= load.accepted()).then_some(())
    })
    .await
}
