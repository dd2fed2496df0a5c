//! What an entry costs each service: CPU time, and bytes on its network.
//!
//! As the kernel counts them for each container, before and after a load that is as dense as the callers can make it. The
//! load generator is outside and counts nowhere.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

use anyhow::Context;
use proto::{Level, LogEntry, Transport};
use rand::{RngExt, rngs::StdRng};
use rig::{Client, Load, load::Plan};

use super::Engine;
use crate::torture::{entry, load};

/// Callers that send as fast as they are answered.
const CALLERS: usize = 64;

/// How long they are left to find their pace, and how long it is counted.
const WARM_UP: Duration = Duration::from_secs(3);
const COUNTED: Duration = Duration::from_secs(15);

/// What stands for a service in the table: all of its containers together.
const SERVICES: [&str; 7] = ["haproxy", "broker", "logger", "postgres", "rabbitmq", "listener", "etcd"];

/// Prints microseconds of CPU time, and bytes that came and went. cgroup v1, or v2.
const COUNT: &str = "
    cd /sys/fs/cgroup
    if grep -qs usage_usec cpu.stat; then awk '/usage_usec/ { print $2 }' cpu.stat
    else awk '{ printf \"%d\\n\", $1 / 1000 }' cpuacct/cpuacct.usage; fi
    awk -F '[: ]+' '/eth/ { bytes += $3 + $11 } END { printf \"%d\\n\", bytes }' /proc/net/dev";

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    cpu_us: u64,
    network_bytes: u64,
}

/// What an entry costs over a transport.
#[derive(Debug)]
pub(super) struct Cost {
    transport: Transport,
    per_s: f64,
    accepted: u64,
    services: BTreeMap<&'static str, Counted>,
}

/// Measures one transport.
pub(super) async fn measure(engine: &Engine, client: &Client, transport: Transport) -> anyhow::Result<Cost> {
    let pause = Duration::from_millis(5);
    let plan = Plan { pause, entry: small, ..load::plan(&[transport], CALLERS, transport as u64) };
    let load = Load::start(client, plan);
    tokio::time::sleep(WARM_UP).await;
    // Asking all of them takes seconds: for each as long lies between its two answers as between the two beginnings.
    let (accepted, begun) = (load.accepted(), Instant::now());
    let before = count(engine).await?;
    tokio::time::sleep(COUNTED).await;
    let (accepted, took) = (load.accepted() - accepted, begun.elapsed());
    let after = count(engine).await?;
    load.stop().await?;
    let services = after.into_iter().map(|(service, after)| {
        let before = before.get(service).copied().unwrap_or_default();
        let counted = Counted {
            cpu_us: after.cpu_us.saturating_sub(before.cpu_us),
            network_bytes: after.network_bytes.saturating_sub(before.network_bytes),
        };
        (service, counted)
    });
    Ok(Cost {
        transport,
        per_s: accepted as f64 / took.as_secs_f64(),
        accepted,
        services: services.collect(),
    })
}

/// 64 bytes of data, as most figures of `compare` have.
fn small(random: &mut StdRng) -> LogEntry {
    entry(Level::Info, format!("{:064x}", random.random::<u128>()))
}

async fn count(engine: &Engine) -> anyhow::Result<BTreeMap<&'static str, Counted>> {
    let mut counted: BTreeMap<&'static str, Counted> = BTreeMap::new();
    for container in engine.services() {
        let Some(service) = SERVICES.into_iter().find(|service| container.starts_with(service)) else {
            continue;
        };
        let text = engine.exec(container, &["sh", "-c", COUNT]).await?;
        let numbers: Vec<u64> = text.lines().map_while(|line| line.trim().parse().ok()).collect();
        let [cpu_us, network_bytes] = numbers[..] else { anyhow::bail!("{container}: {text}") };
        let sum = counted.entry(service).or_default();
        sum.cpu_us += cpu_us;
        sum.network_bytes += network_bytes;
    }
    (!counted.is_empty()).then_some(counted).context("no container")
}

/// The table.
pub(super) fn table(costs: &[Cost]) -> String {
    let mut table = String::from("| transport | accepted/s | ");
    table.push_str(&SERVICES.join(" | "));
    table.push_str(" |\n|---|---|");
    table.push_str(&"---|".repeat(SERVICES.len()));
    table.push('\n');
    for Cost { transport, per_s, accepted, services } in costs {
        let _ = write!(table, "| `{transport}` | {per_s:.0} |");
        for service in SERVICES {
            let Counted { cpu_us, network_bytes } = services.get(service).copied().unwrap_or_default();
            let each = |sum: u64| sum / (*accepted).max(1);
            let _ = write!(table, " {} µs, {} B |", each(cpu_us), each(network_bytes));
        }
        table.push('\n');
    }
    table
}
