//! Clients that take up connections, or memory, and give nothing for it: everybody else is served as before. And where
//! they take all the connections that a service has descriptors for, it does not spin, and says that it is alive.
//!
//! At each port there are idle connections, and slow clients of several kinds, which `hostile.rs` has. Those that are cut
//! off come back.

mod hostile;

use std::{
    fmt::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use proto::{Transport, limits::DATA_BYTES};
use rig::Process;
use serde_json::json;
use tokio::task::JoinSet;

use self::hostile::{Kind, come_back};
use super::{Report, Tried, figures::percentile};
use crate::{DIRECT, SOON, soon, stack::Stack};

/// Leaves each service far fewer file descriptors than there are hostile connections.
const FEW_DESCRIPTORS: &[&str] = &["prlimit", "--nofile=256"];

/// Kept connections are closed soon, so that at the end no more are open than before.
const BRIEF: &[(&str, &str)] = &[("HTTP_IDLE_SECONDS", "5")];

/// Hostile clients at each port, for each round: ten rounds are five hundred slow ones and two thousand idle.
const SLOW: u32 = 50;
const IDLE: u32 = 200;

/// Clients at each port, for each round, that hold nearly as much as the port takes of one; and where there are pages,
/// those that read one slowly. Five of them are more than a port has room for.
const LARGE: u32 = 5;
const PAGES: u32 = 10;

/// At most so many of them, for the sake of the machine.
const MOST_LARGE: u32 = 20;
const MOST_PAGES: u32 = 60;

/// Entries of the largest size, of which a page holds as many as it may.
const LARGE_ENTRIES: usize = 48;

/// Most memory that a service may take meanwhile. Without a limit for answers that are not read, 60 pages alone are 720
/// MiB.
const MOST_KIB: u64 = 448 * 1024;

/// How long CPU time is measured while nothing but hostile clients is there, and no descriptor for most of them.
const IDLE_FOR: Duration = Duration::from_secs(3);

/// Largest part of one core that a service may take meanwhile.
const MOST_OF_A_CORE: f64 = 0.2;

/// How long a question for health may take, on a connection of its own, while hostile clients are served as well.
const MOST_HEALTH: Duration = Duration::from_millis(50);

/// How often it is measured, until it is so: what else the machine does adds to it for a while, a service that is held up
/// is slow each time.
const HEALTH_TRIES: u32 = 8;

/// Entries, and questions for health, of which the slowest hundredth is judged.
const PROBES: u32 = 200;

/// Lets `rounds` times 50 slow clients and 200 idle connections loose on each of four ports.
pub async fn run(rounds: u32, mut progress: impl FnMut(u32)) -> Tried {
    service::descriptors::raise();
    let mut report = Report { rounds, ..Report::default() };
    with_room_for_all(&mut report, rounds).await?;
    progress(rounds / 3);
    with_all_room_taken(&mut report, rounds).await?;
    progress(rounds * 2 / 3);
    with_few_descriptors(&mut report, rounds).await?;
    progress(rounds);
    Ok(report)
}

async fn with_room_for_all(report: &mut Report, rounds: u32) -> anyhow::Result<()> {
    let stack = Stack::start_with(BRIEF).await;
    let before = entries_p99(&stack, report).await;
    let base = descriptors(&stack)?;
    let hostile = unleash(&stack, rounds);
    tokio::time::sleep(IDLE_FOR).await;
    for (name, address) in [("broker", stack.broker_at), ("logger", stack.logger_at.http)] {
        let mut p99 = Duration::MAX;
        for _ in 0..HEALTH_TRIES {
            p99 = p99.min(health_p99(address).await);
            if p99 <= MOST_HEALTH {
                break;
            }
        }
        note(report, format!("{name}'s /healthz p99 {p99:.1?}"), p99 <= MOST_HEALTH);
    }
    let during = entries_p99(&stack, report).await;
    note(report, format!("entries' p99 {before:.1?} without them, {during:.1?} with them"), true);
    drop(hostile);
    settle(report, &stack, base).await
}

async fn with_all_room_taken(report: &mut Report, rounds: u32) -> anyhow::Result<()> {
    let stack = Stack::start_with(BRIEF).await;
    let data = "d".repeat(DATA_BYTES);
    for _ in 0..LARGE_ENTRIES {
        let answer = stack.log(Transport::Grpc, &json!({ "name": "large", "data": data })).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let hostile = unleash_large(&stack, rounds);
    tokio::time::sleep(IDLE_FOR).await;
    let p99 = entries_p99(&stack, report).await;
    note(report, format!("entries' p99 {p99:.1?} while all room is taken"), true);
    for (name, process) in services(&stack) {
        let peak = process.usage()?.peak_memory_kib;
        note(report, format!("{name}'s memory {} MiB at most", peak / 1024), peak <= MOST_KIB);
    }
    drop(hostile);
    entries_p99(&stack, report).await;
    Ok(())
}

async fn with_few_descriptors(report: &mut Report, rounds: u32) -> anyhow::Result<()> {
    let stack = Stack::start_under(FEW_DESCRIPTORS, BRIEF).await;
    entries_p99(&stack, report).await;
    let base = descriptors(&stack)?;
    let hostile = unleash(&stack, rounds);
    tokio::time::sleep(IDLE_FOR).await;
    let busy = cpu_times(&stack)?;
    tokio::time::sleep(IDLE_FOR).await;
    for (((name, _), before), after) in services(&stack).into_iter().zip(busy).zip(cpu_times(&stack)?) {
        let part = (after - before).as_secs_f64() / IDLE_FOR.as_secs_f64();
        let figure = format!("{name} out of descriptors at {:.0} % of a core", part * 100.0);
        note(report, figure, part <= MOST_OF_A_CORE);
    }
    for (name, address) in [("broker", stack.broker_at), ("logger", stack.logger_at.http)] {
        let p99 = health_p99(address).await;
        note(report, format!("{name}'s /healthz p99 {p99:.1?} with all connections taken"), p99 <= SOON);
    }
    drop(hostile);
    settle(report, &stack, base).await?;
    entries_p99(&stack, report).await;
    Ok(())
}

fn services(stack: &Stack) -> [(&'static str, &Process); 2] {
    [("broker", &stack.broker), ("logger", &stack.logger)]
}

fn descriptors(stack: &Stack) -> anyhow::Result<Vec<usize>> {
    services(stack).iter().map(|(_, process)| process.descriptors()).collect()
}

fn cpu_times(stack: &Stack) -> anyhow::Result<Vec<Duration>> {
    services(stack).iter().map(|(_, process)| Ok(process.usage()?.cpu_time)).collect()
}

/// Waits until no more descriptors are open than before.
async fn settle(report: &mut Report, stack: &Stack, base: Vec<usize>) -> anyhow::Result<()> {
    for ((name, process), base) in services(stack).into_iter().zip(base) {
        let closed = async || process.descriptors().ok().filter(|open| *open <= base);
        let after = soon("the descriptors are closed", closed).await?;
        note(report, format!("{name}'s descriptors {base} before, {after} after"), true);
    }
    Ok(())
}

fn note(report: &mut Report, figure: String, holds: bool) {
    if !report.figures.is_empty() {
        report.figures.push_str("; ");
    }
    write!(report.figures, "{figure}").expect("a string takes all");
    if !holds {
        report.broken.push(figure);
    }
}

/// Logs over the three direct transports in turn, on kept connections. Every entry must be stored.
async fn entries_p99(stack: &Stack, report: &mut Report) -> Duration {
    let mut took = Vec::new();
    for number in 0..PROBES {
        let transport = DIRECT[number as usize % DIRECT.len()];
        let answer = log(stack, transport).await;
        report.entries += 1;
        match answer {
            Ok(time) => {
                report.accepted += 1;
                took.push(time);
            }
            Err(refusal) => report.broken.push(refusal),
        }
    }
    p99(took)
}

async fn log(stack: &Stack, transport: Transport) -> Result<Duration, String> {
    let answer = stack.log(transport, &json!({ "name": "bystander", "data": "" })).await;
    if answer.status == 202 { Ok(answer.took) } else { Err(format!("{transport}: {}", answer.body)) }
}

/// Each question has a connection of its own, as those of an orchestrator have.
async fn health_p99(address: SocketAddr) -> Duration {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(SOON);
    let client = client.build().expect("a client");
    let mut took = Vec::new();
    for _ in 0..PROBES {
        let begun = Instant::now();
        let answer = client.get(format!("http://{address}/healthz")).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
        took.push(begun.elapsed());
    }
    p99(took)
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    percentile(&took, 99).unwrap_or(Duration::MAX)
}

/// Sets the hostile clients loose that take up connections. They end when the set is dropped.
fn unleash(stack: &Stack, rounds: u32) -> JoinSet<()> {
    let at = stack.logger_at;
    let mut hostile = JoinSet::new();
    for port in [stack.broker_at, at.http, at.rpc, at.grpc] {
        for _ in 0..IDLE * rounds {
            hostile.spawn(come_back(port, Kind::Idle));
        }
        for number in 0..SLOW * rounds {
            let kinds = [Kind::SlowHeader, Kind::SlowBody, Kind::NotReading, Kind::CutPreface];
            hostile.spawn(come_back(port, kinds[number as usize % kinds.len()]));
        }
    }
    hostile
}

/// Sets those loose that take up memory.
fn unleash_large(stack: &Stack, rounds: u32) -> JoinSet<()> {
    let at = stack.logger_at;
    let mut hostile = JoinSet::new();
    for _ in 0..(LARGE * rounds).min(MOST_LARGE) {
        hostile.spawn(come_back(stack.broker_at, Kind::LargeBody));
        hostile.spawn(come_back(at.http, Kind::LargerBody));
        hostile.spawn(come_back(at.rpc, Kind::LargeFrame));
        hostile.spawn(come_back(at.grpc, Kind::LargeMessages));
    }
    for _ in 0..(PAGES * rounds).min(MOST_PAGES) {
        for port in [stack.broker_at, at.http] {
            hostile.spawn(come_back(port, Kind::SlowPage));
        }
    }
    hostile
}
