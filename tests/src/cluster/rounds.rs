//! Faults, round by round, under load, and what the ledger says of each.

use std::{collections::HashSet, time::Duration};

use anyhow::Context;
use proto::{StoredEntry, Transport};
use rand::{SeedableRng, rngs::StdRng};
use rig::{Client, Ledger, Load, Verdict, eventually, load::Plan};
use uuid::Uuid;

use super::{
    Engine, Fault, cost,
    parts::{self, queued},
    watched::{Seen, Watched},
};
use crate::torture::load;

/// Callers at work, and how long each rests after an entry: two cores carry all 17 containers.
const CALLERS: usize = 24;
const REST: Duration = Duration::from_millis(40);

/// Entries that must be accepted before and after each fault.
const STEADY: u64 = 200;

/// How long direct entries may not be accepted.
const BACK: Duration = Duration::from_secs(120);

/// How long what is queued may take to be stored, after the load has ended.
const SETTLE: Duration = Duration::from_secs(120);

/// How long a page may be refused while the cluster finds itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster, as it is seen from outside.
#[derive(Debug)]
pub struct Cluster {
    engine: Engine,
    client: Client,
    /// Everything that was ever sent.
    ledger: Ledger,
    /// What was stored before that.
    before: HashSet<Uuid>,
}

/// What a kind of fault has shown.
#[derive(Debug)]
pub struct Outcome {
    /// What was done.
    pub fault: Fault,
    /// How often.
    pub rounds: u32,
    pub(super) seen: Seen,
    /// That of all entries since the first fault.
    pub verdict: Verdict,
    /// The promises that were broken.
    pub broken: Vec<String>,
}

impl Cluster {
    /// The one that runs as this project, behind this URL.
    pub async fn find(project: &str, url: String) -> anyhow::Result<Self> {
        let client = Client::new(rig::http()?, url).patient(PATIENCE);
        let engine = Engine::find(project).await?;
        Ok(Cluster { engine, client, ledger: Ledger::default(), before: HashSet::new() })
    }

    /// Waits until nothing is missing, and takes note of what is stored already.
    pub async fn begin(&mut self) -> anyhow::Result<()> {
        self.is_whole().await?;
        self.before = self.client.all_stored().await?.iter().map(|entry| entry.id).collect();
        Ok(())
    }

    async fn is_whole(&self) -> anyhow::Result<()> {
        parts::are_whole(&self.engine).await
    }

    async fn is_drained(&self) -> anyhow::Result<()> {
        let drained = async || (queued(&self.engine).await.ok()? == 0).then_some(());
        eventually("the queue is drained", SETTLE, drained).await
    }

    /// Measures what an entry costs over each transport, by the table of the page.
    pub async fn costs(&self) -> anyhow::Result<String> {
        let mut costs = Vec::new();
        for transport in Transport::ALL {
            costs.push(cost::measure(&self.engine, &self.client, transport).await?);
            self.is_drained().await?;
        }
        Ok(cost::table(&costs))
    }

    /// Does it so often under load, and judges.
    pub async fn suffer(
        &mut self,
        fault: Fault,
        rounds: u32,
        seed: u64,
        mut progress: impl FnMut(u32, &str),
    ) -> anyhow::Result<Outcome> {
        let mut random = StdRng::seed_from_u64(seed);
        let watched = Watched::new(self.client.clone());
        let load = Load::start(&watched, Plan { rest: REST, ..load::plan(&Transport::ALL, CALLERS, seed) });
        let mut whole: Option<Seen> = None;
        for round in 1..=rounds {
            load.goes_on(STEADY).await.context("before the fault")?;
            watched.begin();
            let hit = fault.inject(&self.engine, &mut random).await?;
            progress(round, &hit.join(", "));
            let accepts = async {
                tokio::time::sleep(fault.lasts()).await;
                let before = watched.so_far().accepted;
                let more = async || (watched.so_far().accepted >= before + STEADY).then_some(());
                eventually("entries are accepted without it", BACK, more).await
            };
            let accepts = accepts.await;
            fault.end(&self.engine, &hit).await?;
            accepts?;
            self.is_whole().await?;
            load.goes_on(STEADY).await.context("after the fault")?;
            let seen = watched.so_far();
            whole = Some(whole.map_or(seen.clone(), |whole| whole.and(&seen)));
        }
        self.ledger.merge(load.stop().await?);
        let verdict = self.ledger.verdict(&self.settled().await?, &HashSet::new());
        let seen = whole.context("no round")?;
        Ok(Outcome { fault, rounds, broken: broken(fault, &verdict, &seen), seen, verdict })
    }

    /// All that is stored, once all that was accepted is, or two minutes later.
    async fn settled(&self) -> anyhow::Result<Vec<StoredEntry>> {
        self.is_drained().await?;
        let mut stored = self.client.stored_with(&self.ledger.accepted(), SETTLE).await?;
        stored.retain(|entry| !self.before.contains(&entry.id));
        Ok(stored)
    }
}

fn broken(fault: Fault, verdict: &Verdict, seen: &Seen) -> Vec<String> {
    let mut broken = Vec::new();
    if !verdict.is_sound() {
        broken.push(verdict.to_string());
    }
    if fault.is_of_ours() && seen.refused_late > 0 {
        broken.push(format!("{} refused after the first second", seen.refused_late));
    }
    let Seen { refused, unknown, broken_connections, .. } = seen;
    if fault.is_gentle() && refused + unknown + broken_connections > 0 {
        broken.push(format!("{refused} refused, {unknown} unknown, {broken_connections} connections broken"));
    }
    broken
}
