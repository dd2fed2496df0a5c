//! The experiments, each of which serves several claims and is run once. Each starts services of its own.

mod calls;
mod down;
mod formats;
mod grid;
mod languages;
mod lines;
mod load;
mod queues;
mod shop;
mod wires;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use proto::{Batch, EntryDraft, LogEntry};
use rig::Node;
use transport::Settings;

use super::{Ask, Figures, figures::Streams};
use crate::{
    cell::Keeping,
    config,
    stack::Site,
    streams::{self, Call},
    workload::BASE_PAYLOAD,
};

/// No call of ours takes longer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where experiments are run.
#[derive(Debug)]
struct Bench {
    node: Node,
    binaries: PathBuf,
    length: Length,
    seed: u64,
}

/// How long they measure.
#[derive(Debug, Clone, Copy)]
struct Length {
    repetitions: usize,
    cell: Duration,
    warm_up: Duration,
}

/// About five minutes in all.
const USUAL: Length =
    Length { repetitions: 7, cell: Duration::from_millis(700), warm_up: Duration::from_secs(2) };

/// Two minutes: no evidence.
const QUICK: Length =
    Length { repetitions: 6, cell: Duration::from_millis(150), warm_up: Duration::from_millis(300) };

impl Bench {
    /// Broker, logger and listener with an empty store and a virtual host of their own.
    async fn site(&mut self, name: &str) -> anyhow::Result<Site> {
        self.site_with(name, &[]).await
    }

    /// The same, with settings that differ from their defaults.
    async fn site_with(&mut self, name: &str, settings: &[(String, String)]) -> anyhow::Result<Site> {
        let amqp_url = self.node.add_virtual_host(name).await?;
        Site::start(&self.binaries, &amqp_url, Keeping::Synced, settings).await
    }
}

/// The binaries besides the services that experiments need.
pub(super) fn binaries(asks: &BTreeSet<Ask>) -> Vec<&'static str> {
    let of = |ask: &Ask| match ask {
        Ask::Wires | Ask::Load => Some("fourwire"),
        Ask::Shop => Some("shop"),
        Ask::Grid | Ask::Streams | Ask::Calls | Ask::Formats | Ask::Queues | Ask::Languages | Ask::Lines => {
            None
        }
    };
    asks.iter().filter_map(of).collect()
}

/// Runs experiments, one after the other.
pub(super) async fn run(
    asks: &BTreeSet<Ask>,
    binaries: &Path,
    arguments: &config::Claims,
) -> anyhow::Result<Figures> {
    say!("Starting RabbitMQ…");
    let mut node = Node::start().await.context("RabbitMQ")?;
    node.serves().await?;
    let length = if arguments.quick { QUICK } else { USUAL };
    let mut bench = Bench { node, binaries: binaries.to_owned(), length, seed: arguments.common.seed };
    let mut figures = Figures::default();
    for ask in asks {
        say!("{ask:?}…");
        one(*ask, &mut bench, &mut figures).await.with_context(|| format!("the experiment {ask:?}"))?;
    }
    Ok(figures)
}

async fn one(ask: Ask, bench: &mut Bench, figures: &mut Figures) -> anyhow::Result<()> {
    match ask {
        Ask::Grid => figures.grid = Some(grid::run(bench).await?),
        Ask::Streams => figures.streams = Some(streams(bench).await?),
        Ask::Wires => figures.wires = Some(wires::run(bench).await?),
        Ask::Calls => figures.calls = Some(calls::run(bench).await?),
        Ask::Formats => figures.formats = Some(formats::run(bench).await?),
        Ask::Queues => figures.queues = Some(queues::run(bench).await?),
        Ask::Languages => figures.languages = languages::run(bench).await?,
        Ask::Lines => figures.lines = Some(lines::count()),
        Ask::Load => figures.load = Some(load::run(bench).await?),
        Ask::Shop => figures.shop = Some(shop::run(bench).await?),
    }
    Ok(())
}

/// `compare streams`, with the calls that claims are about.
async fn streams(bench: &Bench) -> anyhow::Result<Streams> {
    let calls = [Call::WriteLog, Call::WriteBatch, Call::WriteLogs];
    let Length { repetitions, cell, warm_up } = bench.length;
    let mut rates = streams::rates(&bench.binaries, &calls, repetitions, warm_up, cell, BASE_PAYLOAD).await?;
    let mut of = |call| rates.remove(&call).unwrap_or_default().into_iter().map(rounded).collect();
    Ok(Streams {
        write_log: of(Call::WriteLog),
        write_batch: of(Call::WriteBatch),
        write_logs: of(Call::WriteLogs),
    })
}

/// With one decimal: nobody reads more in claims.json.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A valid entry of a name, with a text of the usual length.
fn entry(name: &str) -> LogEntry {
    let draft = EntryDraft { name: name.to_owned(), data: "x".repeat(BASE_PAYLOAD), ..EntryDraft::default() };
    draft.check(jiff::Timestamp::now()).expect("it keeps the limits")
}

/// The same, alone in a batch.
fn batch_of_one(name: &str) -> Batch<LogEntry> {
    entry(name).into()
}

/// How our clients call a site: an entry is a call of its own.
fn settings(site: &Site, deadline: Duration) -> anyhow::Result<Settings> {
    site.transport_settings(deadline)
}

/// How many of that name are stored, once it is as many as were expected, or it has taken too long.
async fn stored(site: &Site, name: &str, expected: u64) -> anyhow::Result<u64> {
    let client = site.logger_client();
    let count = async || {
        let all = client.all_stored().await.ok()?;
        Some(all.iter().filter(|stored| stored.name == name).count() as u64)
    };
    let all = async || count().await.filter(|count| *count >= expected);
    let _ = rig::eventually("all are stored", 4 * DEADLINE, all).await;
    Ok(count().await.unwrap_or_default())
}
