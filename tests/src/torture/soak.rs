//! A moderate load over all four transports for a long time, with a fault of a random kind every now and then.
//! Nothing is lost, and the broker, which lives through it all, does not grow.

use std::{fmt::Write, time::Duration};

use proto::Transport;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::{Direction, Fault, Relay};

use super::{Report, Tried, load};
use crate::stack::Stack;

/// Callers at work, and how long each rests after an entry: some three hundred entries a second together.
const CALLERS: usize = 64;
const REST: Duration = Duration::from_millis(210);

/// From so many faults on it is a soak. A short run proves that it works, and has no time to grow.
const LONG: u32 = 30;

/// From one fault to the next.
const INTERVAL: Duration = Duration::from_secs(20);
const SHORT_INTERVAL: Duration = Duration::from_secs(2);

/// How long a hop is broken, or a process stopped.
const BROKEN_FOR: Duration = Duration::from_secs(1);

/// Part of the run after which caches and pools are as full as they get.
const WARM_AFTER: f64 = 1.0 / 3.0;

/// Most that the broker may grow in ten minutes, in KiB.
const MOST_GROWTH_KIB: f64 = 1_024.0;

/// Most file descriptors that it may have more at the end: the kept connections of one hop.
const MOST_DESCRIPTORS: usize = 16;

/// Causes `rounds` faults. `seed` chooses them, and makes the entries again.
pub async fn run(rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let interval = if rounds >= LONG { INTERVAL } else { SHORT_INTERVAL };
    let mut random = StdRng::seed_from_u64(seed);
    let mut stack = Stack::start().await;
    let mut relays = Vec::new();
    for transport in Transport::ALL {
        relays.push(stack.relay(transport).await?);
    }
    stack.broker.kill().await?;
    stack.start_broker().await?;
    stack.reaches(&Transport::ALL).await?;
    let load = load::start_paced(&stack, &Transport::ALL, CALLERS, seed, REST);
    let mut samples = Vec::new();
    for round in 0..rounds {
        tokio::time::sleep(interval).await;
        samples.push(Sample::of(&stack)?);
        let fault = FAULTS[random.random_range(0..FAULTS.len())];
        cause(fault, &mut stack, &relays[random.random_range(0..relays.len())]).await?;
        load.goes_on(1).await?;
        progress(round + 1);
    }
    tokio::time::sleep(interval).await;
    samples.push(Sample::of(&stack)?);
    let mut report = Report::of(&load::stop(load, &stack).await?, rounds);
    let growth = growth(&mut report, &samples, interval, rounds >= LONG);
    report.figures.insert_str(0, &format!("{growth}: "));
    Ok(report)
}

#[derive(Debug, Clone, Copy)]
enum Breakage {
    LoggerKilled,
    LoggerStopped,
    LoggerFrozen,
    ListenerKilled,
    HopFrozen,
    HopSwallows,
    HopReset,
    HopRefused,
}

const FAULTS: [Breakage; 8] = [
    Breakage::LoggerKilled,
    Breakage::LoggerStopped,
    Breakage::LoggerFrozen,
    Breakage::ListenerKilled,
    Breakage::HopFrozen,
    Breakage::HopSwallows,
    Breakage::HopReset,
    Breakage::HopRefused,
];

async fn cause(fault: Breakage, stack: &mut Stack, relay: &Relay) -> anyhow::Result<()> {
    match fault {
        Breakage::LoggerKilled => {
            stack.logger.kill().await?;
            stack.start_logger().await?;
        }
        Breakage::LoggerStopped => {
            stack.logger.stop().await?;
            stack.start_logger().await?;
        }
        Breakage::LoggerFrozen => {
            stack.logger.freeze().await?;
            tokio::time::sleep(BROKEN_FOR).await;
            stack.logger.thaw()?;
        }
        Breakage::ListenerKilled => {
            stack.listener.kill().await?;
            stack.start_listener().await?;
        }
        Breakage::HopFrozen => {
            relay.set_both(Fault::Freeze);
            tokio::time::sleep(BROKEN_FOR).await;
            relay.admit();
        }
        Breakage::HopSwallows => {
            relay.set(Direction::ToClient, Fault::BlackHole);
            tokio::time::sleep(BROKEN_FOR).await;
            relay.admit();
            // What was swallowed is missing in the middle of a stream: such a connection is broken for good.
            relay.reset();
        }
        Breakage::HopReset => relay.reset(),
        Breakage::HopRefused => {
            relay.refuse();
            tokio::time::sleep(BROKEN_FOR).await;
            relay.admit();
        }
    }
    Ok(())
}

/// The broker at rest, before a fault.
#[derive(Debug, Clone, Copy)]
struct Sample {
    resident_kib: u64,
    descriptors: usize,
}

impl Sample {
    fn of(stack: &Stack) -> anyhow::Result<Self> {
        let resident_kib = stack.broker.usage()?.memory_kib;
        Ok(Sample { resident_kib, descriptors: stack.broker.descriptors()? })
    }
}

/// What the broker has grown by, once warm; judged if there was time to grow.
fn growth(report: &mut Report, samples: &[Sample], interval: Duration, judged: bool) -> String {
    let warm = &samples[(samples.len() as f64 * WARM_AFTER) as usize..];
    let (first, last) = (warm[0], warm[warm.len() - 1]);
    let per_sample = slope(warm.iter().map(|sample| sample.resident_kib as f64));
    let per_ten_minutes = per_sample * 600.0 / interval.as_secs_f64();
    let mut figures = String::new();
    write!(
        figures,
        "broker {} KiB to {} KiB once warm, {per_ten_minutes:+.0} KiB in ten minutes, descriptors {} to {}",
        first.resident_kib, last.resident_kib, first.descriptors, last.descriptors,
    )
    .expect("a string takes all");
    let grows = per_ten_minutes > MOST_GROWTH_KIB || last.descriptors > first.descriptors + MOST_DESCRIPTORS;
    if judged && grows {
        report.broken.push(figures.clone());
    }
    figures
}

/// By least squares, for each step.
fn slope(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let middle = (values.len() as f64 - 1.0) / 2.0;
    let (mut above, mut below) = (0.0, 0.0);
    for (at, value) in values.enumerate() {
        above += (at as f64 - middle) * value;
        below += (at as f64 - middle).powi(2);
    }
    if below == 0.0 { 0.0 } else { above / below }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_growth_has_its_slope_and_none_has_none() {
        let steady = [10.0, 12.0, 14.0, 16.0];
        assert!((slope(steady.into_iter()) - 2.0).abs() < 1e-9);
        assert!(slope([5.0; 4].into_iter()).abs() < 1e-9);
        assert!(slope([5.0].into_iter()).abs() < 1e-9);
    }
}
