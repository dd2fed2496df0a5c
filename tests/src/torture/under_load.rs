//! Trials that break a part of the stack again and again while callers are at work.

use std::{fmt, net::SocketAddr, time::Duration};

use lapin::{options::QueueBindOptions, types::FieldTable};
use proto::{
    Level, Transport,
    rabbitmq::{BINDING_KEY, EXCHANGE, QUEUE, routing_key},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::{Direction, Fault, Process, Relay, Verdict};
use strum::{EnumDiscriminants, VariantArray};

use super::{
    Report, Tried,
    load::{self, Load},
};
use crate::{DIRECT, raw::begin, stack::Stack};

/// Callers at work in every trial.
const CALLERS: usize = 64;

/// The broker's deadline where a hop does not answer: short, so that many requests meet it.
const SHORT_DEADLINE: Duration = Duration::from_millis(500);

/// How much later than the deadline an answer may come.
const LATE: Duration = Duration::from_millis(100);

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(name(Kind), vis(), derive(VariantArray))]
pub enum Breakage {
    /// `kill -9` of the logger.
    LoggerKilled(Transport),
    /// `kill -9` of the broker.
    BrokerKilled,
    /// `kill -9` of the listener.
    ListenerKilled,
    /// SIGTERM to broker, logger and listener in turn; each must end with 0 in time.
    Stopped,
    /// The hop to the logger is frozen, a black hole, half open, truncated or reset.
    HopBroken(Transport),
    /// The queue's binding in RabbitMQ is taken away again and again, so that of neighbouring messages some are
    /// queued and some are returned.
    Unbound,
}

/// Breaks it so often. Every fault comes after a random while under load; `seed` makes the whiles and the entries
/// the same again.
pub async fn run(breakage: Breakage, rounds: u32, seed: u64, progress: impl FnMut(u32)) -> Tried {
    let broken = break_often(breakage, &[], rounds, seed, progress).await?;
    let verdict = load::stop(broken.load, &broken.site.stack).await?;
    let mut report = report(&verdict, rounds, broken.longest_return);
    // A debug build beside other tests says nothing of time.
    let judged = matches!(breakage, Breakage::HopBroken(_)) && !cfg!(debug_assertions);
    if judged && verdict.longest > SHORT_DEADLINE + LATE {
        report.broken.push(format!("an answer came after {:?}", verdict.longest));
    }
    Ok(report)
}

/// As [`run`], with settings of the stack's own, and for a stack of which something is expected to be missing.
pub(super) async fn run_expecting_violations(
    breakage: Breakage,
    settings: &[(&'static str, &str)],
    rounds: u32,
    seed: u64,
) -> anyhow::Result<Verdict> {
    let broken = break_often(breakage, settings, rounds, seed, |_| {}).await?;
    load::stop_and_rest(broken.load, &broken.site.stack).await
}

/// A stack that has been through it, with the callers still at work.
struct Broken {
    site: Site,
    load: Load,
    longest_return: Duration,
}

async fn break_often(
    breakage: Breakage,
    settings: &[(&'static str, &str)],
    rounds: u32,
    seed: u64,
    mut progress: impl FnMut(u32),
) -> anyhow::Result<Broken> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut site = Site::build(breakage, settings).await?;
    let load = load::start(&site.stack, breakage.transports(), CALLERS, seed);
    load.goes_on(1).await?;
    let mut longest_return = Duration::ZERO;
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..500))).await;
        site.break_and_repair(breakage, round, &load).await?;
        longest_return = longest_return.max(load.goes_on(1).await?);
        progress(round + 1);
    }
    Ok(Broken { site, load, longest_return })
}

fn report(verdict: &Verdict, rounds: u32, longest_return: Duration) -> Report {
    let mut report = Report::of(verdict, rounds);
    report.figures = format!("back within {:.2} s: {verdict}", longest_return.as_secs_f64());
    report
}

impl Breakage {
    /// All of them.
    pub(super) fn all() -> Vec<Breakage> {
        let each = |kind: &Kind| match kind {
            Kind::LoggerKilled => Transport::ALL.map(Breakage::LoggerKilled).to_vec(),
            Kind::BrokerKilled => vec![Breakage::BrokerKilled],
            Kind::ListenerKilled => vec![Breakage::ListenerKilled],
            Kind::Stopped => vec![Breakage::Stopped],
            Kind::HopBroken => DIRECT.map(Breakage::HopBroken).to_vec(),
            Kind::Unbound => vec![Breakage::Unbound],
        };
        Kind::VARIANTS.iter().flat_map(each).collect()
    }

    /// What the callers send by.
    fn transports(&self) -> &[Transport] {
        match self {
            Breakage::LoggerKilled(transport) | Breakage::HopBroken(transport) => {
                std::slice::from_ref(transport)
            }
            Breakage::ListenerKilled | Breakage::Unbound => &[Transport::Rabbitmq],
            Breakage::BrokerKilled | Breakage::Stopped => &Transport::ALL,
        }
    }
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Breakage::LoggerKilled(transport) => write!(f, "logger-killed-{transport}"),
            Breakage::BrokerKilled => f.write_str("broker-killed"),
            Breakage::ListenerKilled => f.write_str("listener-killed"),
            Breakage::Stopped => f.write_str("stopped"),
            Breakage::HopBroken(transport) => write!(f, "hop-broken-{transport}"),
            Breakage::Unbound => f.write_str("unbound"),
        }
    }
}

/// A stack, and the relays in front of its logger.
struct Site {
    stack: Stack,
    relay: Option<Relay>,
}

impl Site {
    async fn build(breakage: Breakage, settings: &[(&'static str, &str)]) -> anyhow::Result<Self> {
        let Breakage::HopBroken(transport) = breakage else {
            return Ok(Site { stack: Stack::start_with(settings).await, relay: None });
        };
        let deadline_ms = SHORT_DEADLINE.as_millis().to_string();
        let settings = [settings, &[("BROKER_DEADLINE_MS", deadline_ms.as_str())]].concat();
        let mut stack = Stack::start_with(&settings).await;
        let relay = stack.relay(transport).await?;
        stack.broker.kill().await?;
        stack.start_broker().await?;
        Ok(Site { stack, relay: Some(relay) })
    }

    async fn break_and_repair(&mut self, breakage: Breakage, round: u32, load: &Load) -> anyhow::Result<()> {
        let stack = &mut self.stack;
        match breakage {
            Breakage::LoggerKilled(_) => {
                stack.logger.kill().await?;
                stack.start_logger().await?;
            }
            Breakage::BrokerKilled => {
                stack.broker.kill().await?;
                stack.start_broker().await?;
            }
            Breakage::ListenerKilled => {
                kill_listener_in_mid_batch(stack, load).await?;
                stack.start_listener().await?;
            }
            Breakage::Stopped => stop_and_start(stack, round).await?,
            Breakage::Unbound => unbind_half(stack).await,
            Breakage::HopBroken(_) => break_hop(self.relay.as_ref().expect("there is one"), round).await,
        }
        Ok(())
    }
}

/// Kills the listener while it has a batch in hand. The logger is dead meanwhile: one that was only frozen would
/// still find the batch in its socket.
pub async fn kill_listener_in_mid_batch(stack: &mut Stack, load: &Load) -> anyhow::Result<()> {
    stack.logger.kill().await?;
    // What is accepted from now on cannot be stored: some of it is in the listener's hands.
    load.goes_on(CALLERS as u64).await?;
    stack.listener.kill().await?;
    stack.start_logger().await
}

/// How long a service that was told to stop may take: between SIGTERM and SIGKILL container engines wait so long.
const MOST_TO_STOP: Duration = Duration::from_secs(10);

async fn stop_and_start(stack: &mut Stack, round: u32) -> anyhow::Result<()> {
    let (broker, logger, listener) = (stack.broker_at, stack.logger_at, stack.listener_at);
    match round % 3 {
        0 => {
            stop(&mut stack.broker, &[broker]).await?;
            stack.start_broker().await
        }
        1 => {
            stop(&mut stack.logger, &[logger.http, logger.rpc, logger.grpc]).await?;
            stack.start_logger().await
        }
        _ => {
            stop(&mut stack.listener, &[listener]).await?;
            stack.start_listener().await
        }
    }
}

/// Leaves a binding for one level alone. The publisher binds all of them again as soon as a message comes back.
async fn unbind_half(stack: &Stack) {
    const TIMES: u32 = 20;
    let (_connection, channel) = stack.rabbitmq.channel().await;
    let info = routing_key(Level::Info).into();
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(QUEUE.into(), EXCHANGE.into(), info, options, none.clone()).await.expect("bound");
    for _ in 0..TIMES {
        let unbound = channel.queue_unbind(QUEUE.into(), EXCHANGE.into(), BINDING_KEY.into(), none.clone());
        unbound.await.expect("unbound");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Tells a process to stop while each of its ports has a connection that says nothing, and one with half a header.
/// Neither may hold it up.
async fn stop(process: &mut Process, ports: &[SocketAddr]) -> anyhow::Result<()> {
    let mut open = Vec::new();
    for port in ports {
        for bytes in [&b""[..], b"POST /handle HTTP/1.1\r\nHost: loc"] {
            open.push(begin(*port, bytes).await?);
        }
    }
    let took = process.stop().await?;
    anyhow::ensure!(took < MOST_TO_STOP, "{took:?}\n{}", process.log());
    Ok(())
}

/// Long enough for many requests to meet the deadline.
const BROKEN_FOR: Duration = Duration::from_millis(1_500);

async fn break_hop(relay: &Relay, round: u32) {
    match round % 6 {
        0 => relay.set_both(Fault::Freeze),
        1 => relay.set_both(Fault::BlackHole),
        2 => relay.set(Direction::ToClient, Fault::BlackHole),
        3 => relay.set(Direction::ToClient, Fault::Truncate(5)),
        4 => relay.set(Direction::ToServer, Fault::HalfClose),
        _ => relay.refuse(),
    }
    tokio::time::sleep(BROKEN_FOR).await;
    relay.admit();
    // What a black hole has swallowed is missing in the middle of a stream: such a connection is broken for good.
    relay.reset();
}
