//! Calls of clients of ours: in the process and remote, with the answer swallowed, many at a time, on new connections.

use std::{
    collections::BTreeMap,
    hint::black_box,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use jiff::Timestamp;
use proto::{BatchMode, Certainty, Direct, EntryDraft, Failure, Indirect, LogEntry, Transport};
use rig::{Direction, Fault, Relay};
use transport::{Delivered, Settings, Transports};

use super::{Bench, DEADLINE, batch_of_one, entry, settings, stored};
use crate::{
    cell::Latencies,
    claims::figures::{Calls, Parallel},
    stack::Site,
    wire,
};

/// Calls in the process, and remote ones, that are timed.
const LOCAL: u32 = 200_000;
const REMOTE: u32 = 500;

/// Entries whose answers are swallowed, and how long their client waits.
const UNANSWERED: u64 = 20;
const SHORT: Duration = Duration::from_millis(500);

/// Calls at a time, and how much later each direction of their hop delivers.
const PARALLEL: u64 = 64;
const LATENCY: Duration = Duration::from_millis(20);

/// Entries over net/rpc.
const NETRPC: u64 = 20;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<Calls> {
    let site = bench.site("calls").await?;
    let plain = settings(&site, DEADLINE)?;
    let swallowed = swallowed(&site, &plain).await?;
    let mut parallel = BTreeMap::new();
    for transport in Transport::ALL {
        parallel.insert(transport, at_a_time(transport, &plain).await?);
    }
    let mut kept_and_anew_us = BTreeMap::new();
    for anew in wire::anew(&site).await? {
        let half = |latencies: &Latencies| latencies.percentile(0.5).unwrap_or_default();
        kept_and_anew_us.insert(anew.transport, [half(&anew.kept), half(&anew.anew)]);
    }
    Ok(Calls {
        local_ns: local(),
        remote_us: remote(&plain).await?,
        parallel,
        kept_and_anew_us,
        netrpc: [NETRPC, netrpc(&site, &plain).await?],
        ..swallowed
    })
}

/// A call in the process: what the logger does first with an entry, it checks it.
fn local() -> u64 {
    let draft = EntryDraft { name: "local".to_owned(), data: "x".repeat(64), ..EntryDraft::default() };
    let (now, begun) = (Timestamp::now(), Instant::now());
    for _ in 0..LOCAL {
        let _ = black_box(black_box(draft.clone()).check(now));
    }
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX) / u64::from(LOCAL)
}

/// A remote call that does nothing, p50.
async fn remote(settings: &Settings) -> anyhow::Result<u64> {
    let transports = Transports::new(settings);
    transports.tried(Transport::Rpc).await;
    let mut took = Latencies::default();
    for _ in 0..REMOTE {
        let begun = Instant::now();
        transports.ping(Direct::Rpc).await?;
        took.add(begun.elapsed());
    }
    took.percentile(0.5).context("enough of them")
}

/// Settings that lead through a relay of their own over one transport.
async fn through_relay(settings: &Settings, transport: Transport) -> anyhow::Result<(Relay, Settings)> {
    let mut through = settings.clone();
    let address = |(host, port): (String, u16)| format!("{host}:{port}").parse::<SocketAddr>();
    let relay = match Direct::try_from(transport) {
        Ok(direct) => {
            let relay = Relay::open(address(settings.endpoints.authority(direct))?).await?;
            through.endpoints = through.endpoints.through(direct, relay.address());
            relay
        }
        Err(Indirect::Rabbitmq) => {
            let url = settings.amqp_url.as_ref().context("RabbitMQ is there")?;
            let relay = Relay::open(address(url.authority())?).await?;
            through.amqp_url = Some(url.clone().through(relay.address()));
            relay
        }
    };
    Ok((relay, through))
}

/// Entries over rpc whose answers vanish; what the client knows, what is stored, and what sending them again does.
async fn swallowed(site: &Site, plain: &Settings) -> anyhow::Result<Calls> {
    const NAME: &str = "swallowed";
    let (relay, through) = through_relay(plain, Transport::Rpc).await?;
    let transports = Transports::new(&Settings { deadline: SHORT, ..through });
    transports.tried(Transport::Rpc).await;
    transports.ping(Direct::Rpc).await?;
    let entries: Vec<LogEntry> = (0..UNANSWERED).map(|_| entry(NAME)).collect();
    relay.set(Direction::ToClient, Fault::BlackHole);
    let write =
        |entry: &LogEntry| transports.write(Transport::Rpc, entry.clone().into(), BatchMode::AllOrNone);
    let unknown = join_all(entries.iter().map(write)).await;
    let unknown = unknown
        .iter()
        .filter(|written| written.as_ref().is_err_and(|failure| failure.certainty() == Certainty::Unknown));
    let unknown = unknown.count() as u64;
    // The deadline has passed, and the logger may still have some of them to commit.
    let unknown_but_stored = stored(site, NAME, UNANSWERED).await?;
    let healthy = Transports::new(plain);
    healthy.tried(Transport::Rpc).await;
    for entry in &entries {
        let again = healthy.write(Transport::Rpc, entry.clone().into(), BatchMode::AllOrNone).await?;
        again.outcomes()?;
    }
    let same_id = stored(site, NAME, UNANSWERED).await?;
    for _ in &entries {
        healthy.write(Transport::Rpc, batch_of_one(NAME), BatchMode::AllOrNone).await?.outcomes()?;
    }
    let new_id = stored(site, NAME, 2 * UNANSWERED).await?;
    Ok(Calls {
        local_ns: 0,
        remote_us: 0,
        unanswered: UNANSWERED,
        unknown,
        unknown_but_stored,
        again_same_id: same_id - unknown_but_stored,
        again_new_id: new_id - same_id,
        parallel: BTreeMap::new(),
        kept_and_anew_us: BTreeMap::new(),
        netrpc: [0, 0],
    })
}

/// Calls at a time over a hop with latency: in turn each would wait for the one before.
async fn at_a_time(transport: Transport, plain: &Settings) -> anyhow::Result<Parallel> {
    let (relay, through) = through_relay(plain, transport).await?;
    let transports = Transports::new(&through);
    let one = async || transports.write(transport, batch_of_one("parallel"), BatchMode::AllOrNone).await;
    let deadline = Instant::now() + DEADLINE;
    while one().await.is_err() {
        ensure!(Instant::now() < deadline, "{transport} does not connect through a relay");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    relay.set_both(Fault::Latency(LATENCY));
    let begun = Instant::now();
    one().await?.outcomes()?;
    let one_ms = begun.elapsed().as_millis() as u64;
    let begun = Instant::now();
    let written = join_all((0..PARALLEL).map(|_| one())).await;
    let all_ms = begun.elapsed().as_millis() as u64;
    let is_accepted = |written: &&Result<Delivered, Failure>| {
        written.as_ref().is_ok_and(|delivered| delivered.results.first().is_ok())
    };
    Ok(Parallel {
        calls: PARALLEL,
        accepted: written.iter().filter(is_accepted).count() as u64,
        all_ms,
        one_ms,
        connections: relay.accepted(),
    })
}

/// Entries over Go's own RPC, with no Go at either end; how many were stored.
async fn netrpc(site: &Site, plain: &Settings) -> anyhow::Result<u64> {
    let mut settings = plain.clone();
    settings.endpoints.logger_rpc_addr = format!("netrpc://{}", site.logger_at.netrpc).parse()?;
    let transports = Transports::new(&settings);
    transports.tried(Transport::Rpc).await;
    for _ in 0..NETRPC {
        transports.write(Transport::Rpc, batch_of_one("netrpc"), BatchMode::AllOrNone).await?.outcomes()?;
    }
    let all = site.logger_client().all_stored().await?;
    Ok(all.iter().filter(|stored| stored.name == "netrpc").count() as u64)
}
