//! Clients of a stack that send entries as fast as they are answered, and what has become of their entries.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use proto::{Level, LogEntry, Transport, rabbitmq};
use rand::{RngExt, rngs::StdRng};
use rig::{Client, Ledger, Verdict, load::Plan};
use uuid::Uuid;

use super::entry;
use crate::stack::Stack;

/// Clients of a stack at work.
pub type Load = rig::Load<Client>;

/// How long a client waits before it retries. Far less than `Retry-After`: this is no polite client.
const PAUSE: Duration = Duration::from_millis(50);

/// One entry of so many is large, and has up to so many times 32 bytes.
const LARGE_ONE_OF: u32 = 100;
const LARGE_REPEATS: usize = 512;

/// How long what is queued may take to reach the store, once the load has ended.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the store must not have grown, with nothing queued, to be taken for at rest.
const REST: Duration = Duration::from_secs(3);

/// Sets clients to work, the first over the first of `transports`, and so on around.
pub fn start(stack: &Stack, transports: &[Transport], clients: usize, seed: u64) -> Load {
    start_paced(stack, transports, clients, seed, Duration::ZERO)
}

/// As [`start`], but each client rests for so long after each entry.
pub fn start_paced(
    stack: &Stack,
    transports: &[Transport],
    clients: usize,
    seed: u64,
    rest: Duration,
) -> Load {
    Load::start(&stack.broker_client(), Plan { rest, ..plan(transports, clients, seed) })
}

/// What the clients do: the first sends over the first of `transports`, and so on around, and none rests.
pub fn plan(transports: &[Transport], clients: usize, seed: u64) -> Plan {
    let transports = transports.to_vec();
    Plan { transports, clients, pause: PAUSE, rest: Duration::ZERO, entry: entry_of_a_load, seed }
}

/// Ends a load, waits until all that was accepted is stored or a dead letter, for at most a minute, and judges.
pub async fn stop(load: Load, stack: &Stack) -> anyhow::Result<Verdict> {
    settle(stack, &load.stop().await?, SETTLE_TIMEOUT).await
}

/// Judges what was noted of loads that have ended.
pub async fn judge(stack: &Stack, ledger: &Ledger) -> anyhow::Result<Verdict> {
    settle(stack, ledger, SETTLE_TIMEOUT).await
}

/// As [`stop`], where entries are expected to be missing: judges once nothing more comes.
pub async fn stop_and_rest(load: Load, stack: &Stack) -> anyhow::Result<Verdict> {
    settle(stack, &load.stop().await?, REST).await
}

/// Waits until all that was accepted is there, or nothing has come for `rest`; for at most [`SETTLE_TIMEOUT`].
async fn settle(stack: &Stack, ledger: &Ledger, rest: Duration) -> anyhow::Result<Verdict> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    let accepted = ledger.accepted();
    let mut dead = HashSet::new();
    let (mut rows, mut grown_at) = (0, Instant::now());
    loop {
        while let Some(letter) = stack.rabbitmq.get(rabbitmq::DEAD_LETTER).await {
            let id = letter.delivery.properties.message_id().as_ref();
            dead.extend(id.and_then(|id| id.as_str().parse::<Uuid>().ok()));
        }
        let stored = stack.all_stored().await;
        let there: HashSet<Uuid> = stored.iter().map(|row| row.id).collect();
        let queued = stack.rabbitmq.depth(rabbitmq::QUEUE).await;
        if queued > 0 || stored.len() > rows {
            (rows, grown_at) = (stored.len(), Instant::now());
        }
        let settled = queued == 0 && accepted.iter().all(|id| there.contains(id) || dead.contains(id));
        if settled || grown_at.elapsed() >= rest || Instant::now() > deadline {
            return Ok(ledger.verdict(&stored, &dead));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Of any level; most are of the size of a line, and a few are large.
fn entry_of_a_load(random: &mut StdRng) -> LogEntry {
    let level = Level::ALL[random.random_range(0..Level::ALL.len())];
    let most = if random.random_range(0..LARGE_ONE_OF) == 0 { LARGE_REPEATS } else { 8 };
    entry(level, format!("{:032x}", random.random::<u128>()).repeat(random.random_range(1..most)))
}
