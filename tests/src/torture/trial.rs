//! The ways to break the stack.

use std::{fmt, time::Duration};

use chaos::{Direction, Fault, Relay, Verdict};
use nix::sys::signal::Signal;
use proto::Transport;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::Load;
use crate::stack::Stack;

/// Callers at work in every trial.
const CALLERS: usize = 64;

/// The broker's deadline where a hop does not answer: short, so that many requests meet it.
const SHORT_DEADLINE_MS: &str = "500";

/// One way to break the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
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
}

/// What a trial has shown.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// How often the stack was broken.
    pub rounds: u32,
    /// The longest from the moment that all was whole again to the next accepted entry.
    pub longest_return: Duration,
    /// What became of the entries.
    pub verdict: Verdict,
}

impl Trial {
    /// All of them.
    pub const ALL: [Trial; 10] = [
        Trial::LoggerKilled(Transport::Http),
        Trial::LoggerKilled(Transport::Rpc),
        Trial::LoggerKilled(Transport::Rabbitmq),
        Trial::LoggerKilled(Transport::Grpc),
        Trial::BrokerKilled,
        Trial::ListenerKilled,
        Trial::Stopped,
        Trial::HopBroken(Transport::Http),
        Trial::HopBroken(Transport::Rpc),
        Trial::HopBroken(Transport::Grpc),
    ];

    /// How many rounds a full run has.
    pub const fn full_rounds(self) -> u32 {
        match self {
            Trial::LoggerKilled(_) | Trial::BrokerKilled | Trial::HopBroken(_) => 50,
            Trial::ListenerKilled => 40,
            Trial::Stopped => 20,
        }
    }

    /// Runs it. Every fault comes after a random while under load; `seed` makes the whiles and the entries
    /// the same again.
    ///
    /// # Panics
    /// If the stack does not come back.
    pub async fn run(self, rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Report {
        let mut random = StdRng::seed_from_u64(seed);
        let mut site = Site::build(self).await;
        let load = Load::start(site.stack.broker_at, self.transports(), CALLERS, seed);
        load.goes_on(1).await;
        let mut longest_return = Duration::ZERO;
        for round in 0..rounds {
            tokio::time::sleep(Duration::from_millis(random.random_range(50..500))).await;
            site.break_and_mend(self, round, &load).await;
            longest_return = longest_return.max(load.goes_on(1).await);
            progress(round + 1);
        }
        let verdict = load.stop(&site.stack).await;
        Report { rounds, longest_return, verdict }
    }

    /// What the callers send by.
    fn transports(&self) -> &[Transport] {
        match self {
            Trial::LoggerKilled(transport) | Trial::HopBroken(transport) => std::slice::from_ref(transport),
            Trial::ListenerKilled => &[Transport::Rabbitmq],
            Trial::BrokerKilled | Trial::Stopped => &Transport::ALL,
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trial::LoggerKilled(transport) => write!(f, "logger-killed-{transport}"),
            Trial::BrokerKilled => f.write_str("broker-killed"),
            Trial::ListenerKilled => f.write_str("listener-killed"),
            Trial::Stopped => f.write_str("stopped"),
            Trial::HopBroken(transport) => write!(f, "hop-broken-{transport}"),
        }
    }
}

/// A stack, and the relays in front of its logger.
struct Site {
    stack: Stack,
    relay: Option<Relay>,
}

impl Site {
    async fn build(trial: Trial) -> Self {
        let Trial::HopBroken(transport) = trial else {
            return Site { stack: Stack::start().await, relay: None };
        };
        let mut stack = Stack::start_with(&[("BROKER_DEADLINE_MS", SHORT_DEADLINE_MS)]).await;
        let relay = stack.relay(transport).await;
        stack.broker.kill().await;
        stack.start_broker().await;
        Site { stack, relay: Some(relay) }
    }

    async fn break_and_mend(&mut self, trial: Trial, round: u32, load: &Load) {
        let stack = &mut self.stack;
        match trial {
            Trial::LoggerKilled(_) => {
                stack.logger.kill().await;
                stack.start_logger().await;
            }
            Trial::BrokerKilled => {
                stack.broker.kill().await;
                stack.start_broker().await;
            }
            Trial::ListenerKilled => {
                kill_listener_in_mid_batch(stack, load).await;
                stack.start_listener().await;
            }
            Trial::Stopped => stop_and_start(stack, round).await,
            Trial::HopBroken(_) => break_hop(self.relay.as_ref().expect("there is one"), round).await,
        }
    }
}

/// Kills the listener while it has a batch in hand. The logger is dead meanwhile: one that was only frozen would
/// still find the batch in its socket.
pub async fn kill_listener_in_mid_batch(stack: &mut Stack, load: &Load) {
    stack.logger.kill().await;
    // What is accepted from now on cannot be stored: some of it is in the listener's hands.
    load.goes_on(CALLERS as u64).await;
    stack.listener.take().expect("it runs").kill().await;
    stack.start_logger().await;
}

async fn stop_and_start(stack: &mut Stack, round: u32) {
    match round % 3 {
        0 => {
            stack.broker.signal(Signal::SIGTERM);
            assert!(stack.broker.ended().await.success(), "{}", stack.broker.log());
            stack.start_broker().await;
        }
        1 => {
            stack.logger.signal(Signal::SIGTERM);
            assert!(stack.logger.ended().await.success(), "{}", stack.logger.log());
            stack.start_logger().await;
        }
        _ => {
            let mut listener = stack.listener.take().expect("it runs");
            listener.signal(Signal::SIGTERM);
            assert!(listener.ended().await.success(), "{}", listener.log());
            stack.start_listener().await;
        }
    }
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
