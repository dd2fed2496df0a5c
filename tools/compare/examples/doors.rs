//! Measures the ways to the logger side by side, net/rpc among them: entries that are stored in a call each, from clients
//! of ours in this process, one way after the other and several times over.
//!
//!     cargo build --release --bin logger
//!     cargo run --release -p compare --example doors -- --binaries target/release

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use proto::{BatchMode, EntryDraft, Transport};
use rig::{Launch, Services};
use tokio::task::JoinSet;
use transport::{Endpoints, Settings, Transports};

/// No call takes longer.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a way is tried before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Debug, Parser)]
struct Options {
    /// Where the logger's binary is
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,

    /// Calls in flight
    #[arg(long, default_value_t = 64)]
    clients: usize,

    /// How long each way is measured in each round
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// How often
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// What is measured, by the name of its door.
const WAYS: [(&str, Transport); 4] = [
    ("http", Transport::Http),
    ("rpc (tarpc)", Transport::Rpc),
    ("rpc (net/rpc)", Transport::Rpc),
    ("grpc", Transport::Grpc),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let dir = tempfile::tempdir()?;
    let binaries = options.binaries.canonicalize().with_context(|| options.binaries.display().to_string())?;
    let launch = Launch { binaries, ..Launch::default() };
    let mut services = Services::new(launch, [] as [(&str, String); 0], dir.path(), rig::http()?)?;
    services.start_logger_unasked().await?;
    println!(
        "{} clients, {} s each; entries/s, and CPU time of the logger per entry",
        options.clients, options.seconds
    );
    for round in 0..options.rounds {
        // The order changes, so that what grows over time falls on each.
        for position in 0..WAYS.len() {
            let (name, transport) = WAYS[(position + round) % WAYS.len()];
            let (stored, failed, cpu) = measure(&services, name, transport, &options).await?;
            let rate = stored as f64 / options.seconds as f64;
            let cpu_us = cpu.as_secs_f64() * 1e6 / stored.max(1) as f64;
            println!("{name:14} {rate:8.0}/s {cpu_us:6.0} us {failed:4} failed");
        }
    }
    services.logger.stop().await?;
    Ok(())
}

/// How many entries were stored and not, and the CPU time that the logger has taken.
async fn measure(
    services: &Services,
    name: &str,
    transport: Transport,
    options: &Options,
) -> anyhow::Result<(u64, u64, Duration)> {
    let transports = Arc::new(Transports::new(&settings(services, name)?));
    transports.tried(transport).await;
    let (stored, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let ends = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..options.clients {
        let (transports, stored, failed, ends) =
            (transports.clone(), stored.clone(), failed.clone(), ends.clone());
        clients.spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                let draft =
                    EntryDraft { name: "event".into(), data: "x".repeat(64), ..EntryDraft::default() };
                let entry = draft.check(jiff::Timestamp::now()).expect("it is within the limits");
                let answer = transports.write(transport, entry.into(), BatchMode::AllOrNone).await;
                if answer.is_ok() { &stored } else { &failed }.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(WARM_UP).await;
    stored.store(0, Ordering::Relaxed);
    let before = services.logger.usage()?.cpu_time;
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let (count, cpu) = (stored.load(Ordering::Relaxed), services.logger.usage()?.cpu_time - before);
    ends.store(true, Ordering::Relaxed);
    clients.join_all().await;
    Ok((count, failed.load(Ordering::Relaxed), cpu))
}

fn settings(services: &Services, name: &str) -> anyhow::Result<Settings> {
    let [http, rpc, grpc] = services.logger_urls().map(|(_, url)| url);
    let rpc = if name.contains("net/rpc") { format!("netrpc://{}", services.logger_at.netrpc) } else { rpc };
    Ok(Settings {
        endpoints: Endpoints {
            logger_http_url: http.parse()?,
            logger_rpc_addr: rpc.parse()?,
            logger_grpc_url: grpc.parse()?,
        },
        amqp_url: None,
        tls: None,
        // A call for each entry, since net/rpc has none for more.
        coalesce: false,
        deadline: DEADLINE,
        came_by: None,
    })
}
