//! Fills the store's disk and frees it, over and over, under load.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use proto::{Code, Transport};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::{Answer, Ledger};

use super::{Report, Tried, lone::Lone, random_entry};
use crate::{DIRECT, disk::Disk, soon};

/// Callers at work.
const CALLERS: usize = 12;

/// How soon entries must be accepted again when there is room.
const RESUME_TIMEOUT: Duration = Duration::from_secs(5);

/// Fills and frees it so often.
pub async fn run(rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir()?;
    let disk = Disk::new(dir.path());
    let mut lone = Lone::start(&BTreeMap::from(disk.settings()), dir.path()).await?;
    let callers = lone.load(CALLERS, &mut random);
    callers.goes_on(1).await?;
    let mut ledger = Ledger::default();
    let (mut broken, mut longest) = (Vec::new(), Duration::ZERO);
    for round in 0..rounds {
        disk.set_space(Some(random.random_range(0..1_000_000)));
        for transport in DIRECT {
            refused_as_full(&lone, transport, &mut random, &mut ledger).await?;
            if lone.ping(transport).await != Err(Code::StorageFull) {
                broken.push(format!("cycle {}: {transport} says that an entry could be stored", round + 1));
            }
        }
        let (status, _) = lone.get("/logs?limit=10").await?;
        if status != 200 {
            broken.push(format!(
                "cycle {}: reading was answered with {status} while the disk was full",
                round + 1
            ));
        }
        disk.set_space(None);
        longest = longest.max(callers.goes_on(1).await?);
        progress(round + 1);
    }
    ledger.merge(callers.stop().await?);
    let stored = lone.all_stored().await?;
    lone.logger.kill().await?;
    let verdict = ledger.verdict(&stored, &HashSet::new());
    let report = Report::of(&verdict, rounds);
    broken.extend(report.broken);
    if longest > RESUME_TIMEOUT {
        broken.push(format!("entries were accepted again only after {longest:?}"));
    }
    let figures = format!("accepted again within {:.3} s: {verdict}", longest.as_secs_f64());
    Ok(Report { figures, broken, ..report })
}

/// Sends over a transport until an entry is refused since the disk is full.
async fn refused_as_full(
    lone: &Lone,
    transport: Transport,
    random: &mut StdRng,
    ledger: &mut Ledger,
) -> anyhow::Result<()> {
    soon(&format!("{transport} says that the disk is full"), async || {
        let answer = lone.send(transport, &random_entry(random), ledger).await;
        (answer == Answer::Refused(Code::StorageFull)).then_some(())
    })
    .await
}
