//! Bytes on the wire, counted where they pass, and what a connection costs that is not kept.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use proto::{Batch, BatchMode, EntryDraft, LogEntry, Transport};
use rig::{Direction, Relay};
use serde::{Deserialize, Serialize};
use transport::{Settings, grpc::Grpc, http::Http, rabbitmq::Rabbitmq, rpc::Rpc};

use crate::{
    cell::{Keeping, Latencies},
    load::Load,
    reconcile::{self, Place},
    stack::{Site, Stack},
    workload::{BASE_PAYLOAD, Shape, Subject},
};

/// Callers and time of a count: enough that what is sent now and then, such as heartbeats, does not matter.
const CALLERS: usize = 8;
const COUNTING: Duration = Duration::from_secs(1);

/// Payloads that are counted: what a transport adds to a small entry, and to a large one.
const PAYLOADS: [usize; 2] = [BASE_PAYLOAD, 16 * 1_024];

/// Entries that are sent on a kept connection, and on a new one each.
const ENTRIES: usize = 40;

/// No single call takes longer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The bytes that one entry takes on its hops.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wire {
    /// The transport.
    pub transport: Transport,
    /// Bytes of `data` of the entry.
    pub payload_bytes: usize,
    /// By hop, such as `broker to logger`.
    pub hops: BTreeMap<String, Hop>,
}

/// The bytes on one hop, as TCP carries them: without its own headers, and those of IP.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Hop {
    /// With the first entry, all that opens the connection included, from the client.
    pub first_out: u64,
    /// The same, to the client.
    pub first_in: u64,
    /// With each later entry, from the client.
    pub out: f64,
    /// The same, to the client.
    pub back: f64,
}

/// How long an entry takes on a kept connection, and on one that is dialled for it, as the course does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Anew {
    /// The transport.
    pub transport: Transport,
    /// On a kept connection.
    pub kept: Latencies,
    /// On a new one each.
    pub anew: Latencies,
}

/// Counts the bytes of every transport, for a small entry and a large one.
///
/// # Errors
/// If the services do not start with relays between them, or an entry is lost.
pub async fn count(stack: &mut Stack, binaries: &Path) -> anyhow::Result<Vec<Wire>> {
    let mut counted = Vec::new();
    for transport in Transport::ALL {
        for payload_bytes in PAYLOADS {
            counted.push(count_one(stack, binaries, transport, payload_bytes).await?);
        }
    }
    Ok(counted)
}

async fn count_one(
    stack: &mut Stack,
    binaries: &Path,
    transport: Transport,
    payload_bytes: usize,
) -> anyhow::Result<Wire> {
    // Everything anew, so that the first entry opens its connections.
    let amqp_url = stack.node.add_virtual_host("wire").await?;
    let (site, relays) = start_between_relays(binaries, &amqp_url, transport).await?;
    let passed = || -> Vec<(u64, u64)> {
        let both = |relay: &Relay| (relay.passed(Direction::ToServer), relay.passed(Direction::ToClient));
        relays.iter().map(|(_, relay)| both(relay)).collect()
    };
    let load = |callers, duration| Load {
        payload_bytes,
        ..Load::new(site.broker_at, Subject::Transport(transport), Shape::Closed { callers }, duration)
    };
    // A load of no time sends one.
    let first = run_and_settle(&site, load(1, Duration::ZERO)).await?;
    anyhow::ensure!(first == 1, "the first entry was refused over {transport}");
    let after_first = passed();
    let sent = run_and_settle(&site, load(CALLERS, COUNTING)).await?;
    let each = |after: u64, before: u64| (after - before) as f64 / sent.max(1) as f64;
    let hops = relays.iter().zip(after_first.iter().zip(passed())).map(|((name, _), (first, all))| {
        let hop = Hop {
            first_out: first.0,
            first_in: first.1,
            out: each(all.0, first.0),
            back: each(all.1, first.1),
        };
        ((*name).to_owned(), hop)
    });
    let hops = hops.collect();
    drop(site);
    stack.node.ctl("-q delete_vhost wire").await?;
    Ok(Wire { transport, payload_bytes, hops })
}

/// Starts a site with a relay on each hop of a transport; says which hop each is on.
async fn start_between_relays(
    binaries: &Path,
    amqp_url: &str,
    transport: Transport,
) -> anyhow::Result<(Site, Vec<(&'static str, Relay)>)> {
    let mut site = Site::new(binaries, amqp_url, Keeping::Synced, &[])?;
    let relay = site.relay(transport).await?;
    site.start_logger().await?;
    site.start_broker().await?;
    site.reaches(&Transport::ALL).await?;
    let mut relays = Vec::new();
    if transport == Transport::Rabbitmq {
        relays.push(("broker to RabbitMQ", relay));
        site.set("AMQP_URL", amqp_url.to_owned());
        relays.push(("listener to RabbitMQ", site.relay(Transport::Rabbitmq).await?));
        relays.push(("listener to logger", site.relay(Transport::Rpc).await?));
    } else {
        relays.push(("broker to logger", relay));
    }
    site.start_listener().await?;
    Ok((site, relays))
}

/// Runs a load, and waits until all of it is stored; says how many entries that were.
async fn run_and_settle(site: &Site, load: Load) -> anyhow::Result<usize> {
    let seen = load.run_beside().await?;
    let kept = reconcile::settled(&site.logger_client(), &load, Place::Newest, &seen).await?.kept;
    anyhow::ensure!(kept.is_sound(), "while counting bytes: {kept:?}");
    // Acknowledgements of what is stored may still be on their way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(kept.stored)
}

/// Sends entries with the clients of the broker, on kept connections and on new ones.
///
/// # Errors
/// If an entry is not accepted.
pub async fn anew(site: &Site) -> anyhow::Result<Vec<Anew>> {
    let settings = site.transport_settings(DEADLINE)?;
    let mut all = Vec::new();
    for transport in Transport::ALL {
        let mut measured = Anew { transport, kept: Latencies::default(), anew: Latencies::default() };
        let kept = Client::new(transport, &settings);
        kept.send().await?;
        for _ in 0..ENTRIES {
            // In turn, so that the machine's moods befall both.
            measured.kept.add(kept.send().await?);
            let begun = Instant::now();
            Client::new(transport, &settings).send().await?;
            measured.anew.add(begun.elapsed());
        }
        all.push(measured);
    }
    Ok(all)
}

/// The client of one transport alone: the others would dial as well.
enum Client {
    Http(Box<Http>),
    Rpc(Rpc),
    Rabbitmq(Rabbitmq),
    Grpc(Box<Grpc>),
}

impl Client {
    fn new(transport: Transport, settings: &Settings) -> Self {
        match transport {
            Transport::Http => Client::Http(Box::new(Http::new(settings))),
            Transport::Rpc => Client::Rpc(Rpc::new(settings)),
            Transport::Rabbitmq => Client::Rabbitmq(Rabbitmq::new(settings)),
            Transport::Grpc => Client::Grpc(Box::new(Grpc::new(settings))),
        }
    }

    /// Sends one entry, again until it is accepted: `rpc` and `rabbitmq` connect in the background, and refuse at once
    /// until they have.
    async fn send(&self) -> anyhow::Result<Duration> {
        /// Short against what is measured, and long against what a refusal takes.
        const AGAIN: Duration = Duration::from_micros(50);
        let draft = EntryDraft { name: "anew".into(), data: "x".repeat(64), ..EntryDraft::default() };
        let entry: Batch<LogEntry> = draft.check(jiff::Timestamp::now())?.into();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let begun = Instant::now();
            let answer = match self {
                Client::Http(http) => http.write(&entry, BatchMode::AllOrNone).await,
                Client::Rpc(rpc) => rpc.write(&entry, BatchMode::AllOrNone).await,
                Client::Rabbitmq(rabbitmq) => rabbitmq.write(&entry, BatchMode::AllOrNone).await,
                Client::Grpc(grpc) => grpc.write(&entry, BatchMode::AllOrNone).await,
            };
            match answer {
                Ok(_) => return Ok(begun.elapsed()),
                Err(failure) if Instant::now() > deadline => return Err(failure.into()),
                // The runtime's own timers are whole milliseconds late.
                Err(_) => tokio::task::spawn_blocking(|| std::thread::sleep(AGAIN)).await?,
            }
        }
    }
}
