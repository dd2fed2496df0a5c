//! Fills a small disk of the store's own, and starts the logger on it again: it reads, it refuses what finds no room, and
//! where it may delete the oldest entries, it makes room for new ones by itself.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use proto::{Code, Level, LogEntry, Transport};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::{Answer, Ledger, Verdict};

use super::{Report, Tried, entry, lone::Lone};
use crate::{DIRECT, disk::Disk, soon};

const MIB: u64 = 1024 * 1024;

/// The whole disk.
const DISK_BYTES: u64 = 12 * MIB;

/// Entries of a burst, many times as much as a tenth of the disk.
const BURST: usize = 120;

/// What may be kept, in turn; `None`: all.
const BOUNDS: [Option<u64>; 4] = [None, Some(8 * MIB), Some(4 * MIB), Some(10 * MIB)];

/// Fills it so often.
pub async fn run(rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut random = StdRng::seed_from_u64(seed);
    let mut whole = Report { rounds, ..Report::default() };
    for round in 0..rounds {
        let dir = tempfile::tempdir()?;
        let disk = Disk::new(dir.path());
        disk.set_total(DISK_BYTES);
        let mut settings = BTreeMap::from(disk.settings());
        let bound = BOUNDS[round as usize % BOUNDS.len()];
        if let Some(bytes) = bound {
            settings.insert("LOGGER_RETENTION_BYTES", bytes.to_string());
        }
        let killed = random.random();
        let mut ledger = Ledger::default();
        let broken = match bound {
            None => fill(&settings, &disk, killed, dir.path(), &mut random, &mut ledger, &mut whole).await?,
            Some(_) => turn_over(&settings, killed, dir.path(), &mut random, &mut ledger, &mut whole).await?,
        };
        whole
            .broken
            .extend(broken.into_iter().map(|broken| format!("round {}, {bound:?}: {broken}", round + 1)));
        progress(round + 1);
    }
    whole.figures = format!("sent {}, accepted {}", whole.entries, whole.accepted);
    Ok(whole)
}

/// Fills the disk where nothing may be deleted: it stays readable over a restart, and takes entries when there is room.
async fn fill(
    settings: &BTreeMap<&'static str, String>,
    disk: &Disk,
    killed: bool,
    dir: &Path,
    random: &mut StdRng,
    ledger: &mut Ledger,
    whole: &mut Report,
) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut lone = Lone::start(settings, dir).await?;
    burst(&lone, random, ledger).await?;
    lone.says(Err(Code::StorageFull)).await?;
    lone = restarted(lone, killed, settings, dir, &mut broken).await?;
    for transport in DIRECT {
        if lone.ping(transport).await != Err(Code::StorageFull) {
            broken.push(format!("{transport} says that an entry could be stored"));
        }
    }
    let read = lone.all_stored().await?;
    let verdict = ledger.verdict(&read, &HashSet::new());
    broken.extend(Report::of(&verdict, 1).broken);
    disk.set_space(None);
    lone.says(Ok(())).await?;
    let again = large(random);
    if !matches!(lone.send(Transport::Http, &again, ledger).await, Answer::Accepted(_)) {
        broken.push("with room again an entry was refused".to_owned());
    }
    let verdict = ledger.verdict(&lone.all_stored().await?, &HashSet::new());
    lone.logger.kill().await?;
    let report = Report::of(&verdict, 1);
    whole.entries += report.entries;
    whole.accepted += report.accepted;
    broken.extend(report.broken);
    Ok(broken)
}

/// Sends bursts where the oldest may be deleted: sooner or later each is accepted, and can be read.
async fn turn_over(
    settings: &BTreeMap<&'static str, String>,
    killed: bool,
    dir: &Path,
    random: &mut StdRng,
    ledger: &mut Ledger,
    whole: &mut Report,
) -> anyhow::Result<Vec<String>> {
    let (mut broken, mut last) = (Vec::new(), Vec::new());
    let mut lone = Lone::start(settings, dir).await?;
    for _ in 0..2 {
        last.clear();
        burst(&lone, random, ledger).await?;
        lone = restarted(lone, killed, settings, dir, &mut broken).await?;
        for transport in DIRECT {
            let next = large(random);
            let accepted = async || {
                let answer = lone.send(transport, &next, ledger).await;
                matches!(answer, Answer::Accepted(_)).then_some(())
            };
            soon("room is made for the next entry", accepted).await?;
            // The listener consumes by this word: where entries are stored, it must not wait for room.
            let could = async || lone.ping(transport).await.ok();
            soon("what stores an entry says that it could", could).await?;
            last.push(next.id());
            if lone.get(&format!("/logs/{}", next.id())).await?.0 != 200 {
                broken.push(format!("an entry that was stored by {transport} cannot be read"));
            }
        }
    }
    let stored = lone.all_stored().await?;
    lone.logger.kill().await?;
    if let Some(lost) = last.iter().find(|id| !stored.iter().any(|entry| entry.id == **id)) {
        broken.push(format!("{lost}, one of the newest, is lost"));
    }
    // Older ones may be deleted; none may be altered, stored twice, or there though it was refused or never sent.
    let verdict = Verdict { lost: 0, ..ledger.verdict(&stored, &HashSet::new()) };
    let report = Report::of(&verdict, 1);
    whole.entries += report.entries;
    whole.accepted += report.accepted;
    broken.extend(report.broken);
    Ok(broken)
}

async fn restarted(
    mut lone: Lone,
    killed: bool,
    settings: &BTreeMap<&'static str, String>,
    dir: &Path,
    broken: &mut Vec<String>,
) -> anyhow::Result<Lone> {
    if killed {
        lone.logger.kill().await?;
    } else {
        lone.logger.stop().await?;
    }
    let log = lone.logger.log();
    if log.contains("panicked") {
        broken.push(log);
    }
    let lone = Lone::start(settings, dir).await?;
    for transport in DIRECT {
        lone.connects(transport).await?;
    }
    Ok(lone)
}

/// Sends many at once over all direct transports.
async fn burst(lone: &Lone, random: &mut StdRng, ledger: &mut Ledger) -> anyhow::Result<()> {
    for transport in DIRECT {
        lone.connects(transport).await?;
    }
    let entries: Vec<LogEntry> = (0..BURST).map(|_| large(random)).collect();
    let sent = entries.iter().zip(DIRECT.into_iter().cycle()).map(async |(entry, transport)| {
        let mut own = Ledger::default();
        lone.send(transport, entry, &mut own).await;
        own
    });
    for own in futures_util::future::join_all(sent).await {
        ledger.merge(own);
    }
    Ok(())
}

/// A sixtieth of the disk.
fn large(random: &mut StdRng) -> LogEntry {
    entry(Level::Info, format!("{:032x}", random.random::<u128>()).repeat(6_250))
}
