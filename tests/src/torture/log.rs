//! Takes the services' logs away under load: nobody reads them, or they stand still, or their disk is full.

use std::{fmt, time::Duration};

use proto::Transport;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::{LogTo, Process};

use super::{Report, Tried, load};
use crate::stack::Stack;

/// Callers at work.
const CALLERS: usize = 32;

/// How many entries must be accepted with the logs in that state: each has some lines, and a pipe holds a few hundred.
const ENTRIES: u64 = 300;

/// Between SIGTERM and SIGKILL container engines wait so long.
const MOST_TO_STOP: Duration = Duration::from_secs(10);

/// So that every entry has lines.
const TALKATIVE: &str = "debug";

/// What is wrong with the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray)]
pub enum LogFault {
    /// Their reader is gone.
    Broken,
    /// Their reader stands still.
    Blocked,
    /// There is no room for them from the start.
    Full,
}

/// In each round the logs of all three are taken away, and one of them is told to stop, which must end with 0 in time, and
/// started again.
pub async fn run(fault: LogFault, rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut random = StdRng::seed_from_u64(seed);
    let mut stack = Stack::start_logging(fault.log_to(), &[("RUST_LOG", TALKATIVE)]).await;
    let load = load::start(&stack, &Transport::ALL, CALLERS, seed);
    load.goes_on(1).await?;
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..200))).await;
        for (_, service) in stack.processes() {
            fault.befall(service)?;
        }
        load.goes_on(ENTRIES).await?;
        longest = longest.max(stop_and_start(&mut stack, round).await?);
        load.goes_on(1).await?;
        progress(round + 1);
    }
    let verdict = load::stop(load, &stack).await?;
    let mut report = Report::of(&verdict, rounds);
    report.figures = format!("stopped within {:.2} s: {verdict}", longest.as_secs_f64());
    if longest > MOST_TO_STOP {
        report.broken.push(format!("a service ended only {longest:?} after SIGTERM"));
    }
    Ok(report)
}

/// Stops one of the three, and starts it again; says how long the stop took.
async fn stop_and_start(stack: &mut Stack, round: u32) -> anyhow::Result<Duration> {
    let took;
    match round % 3 {
        0 => {
            took = stack.broker.stop().await?;
            stack.start_broker().await?;
        }
        1 => {
            took = stack.listener.stop().await?;
            stack.start_listener().await?;
        }
        _ => {
            took = stack.logger.stop().await?;
            stack.start_logger().await?;
        }
    }
    Ok(took)
}

impl LogFault {
    fn log_to(self) -> LogTo {
        match self {
            LogFault::Broken | LogFault::Blocked => LogTo::Pipe,
            LogFault::Full => LogTo::Full,
        }
    }

    fn befall(self, service: &Process) -> anyhow::Result<()> {
        match self {
            LogFault::Broken => service.tap()?.close(),
            LogFault::Blocked => service.tap()?.pause(),
            LogFault::Full => {}
        }
        Ok(())
    }
}

impl fmt::Display for LogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFault::Broken => "log-broken",
            LogFault::Blocked => "log-blocked",
            LogFault::Full => "log-full",
        })
    }
}
