//! Cuts the power of the store's disk, over and over, under load.

use std::{collections::HashSet, fmt, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rig::{Ledger, Refused, Verdict};
use tempfile::TempDir;

use super::{
    Report, Tried,
    lone::{Load, Lone},
};
use crate::{
    disk::{Cut, Disk},
    soon,
};

/// Callers at work.
const CALLERS: usize = 12;

/// A sync takes this much longer than none: a common disk's, so that a cut finds several entries before it.
const SYNC_TIME: Duration = Duration::from_millis(1);

/// Cuts that one store lives through before a new one begins: what was stored must survive the later ones too, and
/// reading it all after each must not take too long.
const CUTS_PER_STORE: u32 = 20;

/// What the store is told to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray)]
pub enum Syncs {
    /// `synchronous=FULL`: every commit. The product.
    Full,
    /// The same, but some syncs fail before the power goes.
    Failing,
    /// A control: as the product, but the syncs of the write-ahead log do nothing.
    Ignored,
    /// A control: `synchronous=NORMAL`, which syncs before checkpoints alone.
    Normal,
    /// A control: `synchronous=OFF`.
    Off,
}

impl Syncs {
    /// Whether entries must be lost.
    pub const fn is_control(self) -> bool {
        match self {
            Syncs::Full | Syncs::Failing => false,
            Syncs::Ignored | Syncs::Normal | Syncs::Off => true,
        }
    }

    fn fault(self) -> Option<&'static str> {
        match self {
            Syncs::Full | Syncs::Failing | Syncs::Ignored => None,
            Syncs::Normal => Some("synchronous-normal"),
            Syncs::Off => Some("synchronous-off"),
        }
    }
}

impl fmt::Display for Syncs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Syncs::Full => "power-loss",
            Syncs::Failing => "power-loss-sync-failed",
            Syncs::Ignored => "power-loss-unsynced",
            Syncs::Normal => "power-loss-normal",
            Syncs::Off => "power-loss-off",
        })
    }
}

/// Cuts the power so often. Of a control, every cut has a store of its own, and the report is broken if none of the
/// cuts has lost anything that was accepted.
pub async fn run(syncs: Syncs, rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut random = StdRng::seed_from_u64(seed);
    let mut sum = Sum::default();
    let mut site = Site::new(syncs)?;
    for round in 0..rounds {
        if round > 0 && (syncs.is_control() || round % CUTS_PER_STORE == 0) {
            sum.add(&site.ledger.verdict(&[], &HashSet::new()));
            site = Site::new(syncs)?;
        }
        let cut = Cut::ALL[round as usize % Cut::ALL.len()];
        site.lose_power(cut, &mut random, &mut sum).await?;
        match site.judge().await {
            Ok(verdict) if verdict.is_sound() => {}
            Ok(verdict) => sum.found(verdict.lost, format!("cut {}, {cut:?}: {verdict}", round + 1)),
            Err(error) if error.is::<Refused>() => {
                sum.found(0, format!("cut {}, {cut:?}: the logger refused to start: {error:#}", round + 1));
            }
            Err(error) => return Err(error),
        }
        progress(round + 1);
        if !syncs.is_control() && !sum.findings.is_empty() {
            break;
        }
    }
    sum.add(&site.ledger.verdict(&[], &HashSet::new()));
    Ok(sum.report(syncs, rounds))
}

/// A store on a disk, and what was sent to it.
struct Site {
    dir: TempDir,
    disk: Disk,
    syncs: Syncs,
    ledger: Ledger,
}

impl Site {
    fn new(syncs: Syncs) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let disk = Disk::new(dir.path());
        disk.set_sync_delay(SYNC_TIME);
        if syncs == Syncs::Ignored {
            disk.ignore_syncs_of_the_log();
        }
        Ok(Site { dir, disk, syncs, ledger: Ledger::default() })
    }

    async fn start(&self) -> anyhow::Result<Lone> {
        let mut settings = std::collections::BTreeMap::from(self.disk.settings());
        settings.extend(self.syncs.fault().map(|fault| ("LOGGER_FAULT", fault.to_owned())));
        Lone::start(&settings, self.dir.path()).await
    }

    /// The power goes at some moment while callers are at work.
    async fn lose_power(&mut self, cut: Cut, random: &mut StdRng, sum: &mut Sum) -> anyhow::Result<()> {
        let lone = self.start().await?;
        let callers = lone.load(CALLERS, random);
        callers.goes_on(1).await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        let (mut lone, callers) = match self.syncs {
            Syncs::Failing => self.fail_syncs(lone, callers, random).await?,
            Syncs::Full | Syncs::Ignored | Syncs::Normal | Syncs::Off => (lone, callers),
        };
        lone.logger.kill().await?;
        self.ledger.merge(callers.stop().await?);
        let gone = self.disk.cut_power(cut, random);
        sum.sectors += gone;
        sum.cuts_that_bit += u32::from(gone > 0);
        Ok(())
    }

    /// Some syncs fail, and writing goes on. In every other case the process dies in between: then nobody remembers
    /// that what it finds in the log is not on the disk.
    async fn fail_syncs(
        &mut self,
        lone: Lone,
        callers: Load,
        random: &mut StdRng,
    ) -> anyhow::Result<(Lone, Load)> {
        self.disk.fail_syncs(random.random_range(1..4));
        soon("syncs fail", async || (self.disk.syncs_to_fail() == 0).then_some(())).await?;
        if random.random() {
            callers.goes_on(random.random_range(1..200)).await?;
            return Ok((lone, callers));
        }
        let mut dying = lone;
        dying.logger.kill().await?;
        self.ledger.merge(callers.stop().await?);
        let lone = self.start().await?;
        let callers = lone.load(CALLERS, random);
        callers.goes_on(random.random_range(1..200)).await?;
        Ok((lone, callers))
    }

    /// Reads all that is there. A logger that starts has looked for damage.
    async fn judge(&self) -> anyhow::Result<Verdict> {
        let mut lone = self.start().await?;
        let stored = lone.all_stored().await?;
        // Also without a sync: what the start itself has written is cut off with what the next round writes.
        lone.logger.kill().await?;
        Ok(self.ledger.verdict(&stored, &HashSet::new()))
    }
}

/// What all cuts together have shown.
#[derive(Default)]
struct Sum {
    sent: usize,
    accepted: usize,
    lost: usize,
    sectors: usize,
    cuts_that_bit: u32,
    findings: Vec<String>,
}

impl Sum {
    fn add(&mut self, verdict: &Verdict) {
        self.sent += verdict.sent;
        self.accepted += verdict.accepted;
    }

    fn found(&mut self, lost: usize, finding: String) {
        self.lost += lost;
        self.findings.push(finding);
    }

    fn report(self, syncs: Syncs, rounds: u32) -> Report {
        let Sum { sent, accepted, lost, sectors, cuts_that_bit, findings } = self;
        let mut figures = format!(
            "sent {sent} accepted {accepted} lost {lost}; {cuts_that_bit} cuts took {sectors} sectors"
        );
        let broken = if syncs.is_control() {
            figures += &format!("; noticed after {} of {rounds} cuts", findings.len());
            let unseen =
                || format!("{syncs}: nothing that was accepted is missing, so a loss is not noticed");
            (lost == 0).then(unseen).into_iter().collect()
        } else {
            findings
        };
        Report { rounds, entries: sent, accepted, figures, broken }
    }
}
