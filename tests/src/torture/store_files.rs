//! Deletes, moves, replaces and links the store's files under load, and takes the right to write them.

use std::{
    collections::{BTreeMap, HashSet},
    fmt, fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User};
use proto::Code;
use rand::{SeedableRng, rngs::StdRng};
use rig::{Answer, Ledger};

use super::{Report, Tried, lone::Lone, random_entry};
use crate::{DIRECT, soon};

/// Callers at work.
const CALLERS: usize = 12;

/// What happens to the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray)]
pub enum Happening {
    /// The main file, its directory, its log and its lock are deleted, in turn.
    Deleted,
    /// The main file is moved away, another is put in its place, and it comes back; or a copy is moved over it, and the
    /// logger killed and started on that as it is.
    Replaced,
    /// The main file gets another name, and a logger is started by it.
    Linked,
    /// The main file belongs to somebody else when the logger is started again.
    ReadOnly,
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Happening::Deleted => "store-deleted",
            Happening::Replaced => "store-replaced",
            Happening::Linked => "store-linked",
            Happening::ReadOnly => "store-read-only",
        })
    }
}

/// Lets it happen so often, each time to a store of its own.
pub async fn run(happening: Happening, rounds: u32, seed: u64, mut progress: impl FnMut(u32)) -> Tried {
    let mut random = StdRng::seed_from_u64(seed);
    let mut whole = Report { rounds, ..Report::default() };
    for round in 0..rounds {
        let mut it = Round::begin().await?;
        it.work(&mut random).await?;
        match happening {
            Happening::Deleted => it.deleted(round, &mut random).await?,
            Happening::Replaced => it.replaced(round, &mut random).await?,
            Happening::Linked => it.linked(&mut random).await?,
            Happening::ReadOnly => it.read_only(&mut random).await?,
        }
        whole.entries += it.ledger.sent().len();
        whole.accepted += it.ledger.accepted().len();
        whole.broken.extend(it.broken.into_iter().map(|broken| format!("round {}: {broken}", round + 1)));
        progress(round + 1);
    }
    whole.figures = format!("sent {}, accepted {}", whole.entries, whole.accepted);
    Ok(whole)
}

struct Round {
    dir: tempfile::TempDir,
    settings: BTreeMap<&'static str, String>,
    lone: Lone,
    ledger: Ledger,
    broken: Vec<String>,
}

impl Round {
    async fn begin() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let settings = BTreeMap::from([("LOGGER_STORE", url(&dir.path().join("own/logs.db")))]);
        let lone = Lone::start(&settings, dir.path()).await?;
        Ok(Round { dir, settings, lone, ledger: Ledger::default(), broken: Vec::new() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("own").join(name)
    }

    /// Callers send until 50 more entries are accepted.
    async fn work(&mut self, random: &mut StdRng) -> anyhow::Result<()> {
        let callers = self.lone.load(CALLERS, random);
        callers.goes_on(50).await?;
        self.ledger.merge(callers.stop().await?);
        Ok(())
    }

    /// All that was accepted must be there.
    async fn reconcile(&mut self) -> anyhow::Result<()> {
        let verdict = self.ledger.verdict(&self.lone.all_stored().await?, &HashSet::new());
        self.broken.extend(Report::of(&verdict, 1).broken);
        Ok(())
    }

    /// Nothing that is sent from now on may be accepted, and whoever asks is told.
    async fn refuses(&mut self, random: &mut StdRng) -> anyhow::Result<()> {
        for (number, transport) in DIRECT.into_iter().cycle().take(9).enumerate() {
            let answer = self.lone.send(transport, &random_entry(random), &mut self.ledger).await;
            // The first is in the log, and nobody knows of which file that will be.
            let honest = match answer {
                Answer::Refused(Code::Unavailable) => true,
                Answer::Refused(Code::OutcomeUnknown) => number == 0,
                Answer::Refused(_) | Answer::Accepted(_) | Answer::Nothing => false,
            };
            if !honest {
                self.broken.push(format!("{transport} was answered {answer:?} after the store was lost"));
            }
        }
        self.lone.says(Err(Code::Unavailable)).await?;
        // A thread of its own writes the log, after the response.
        let told = async || self.lone.logger.log().contains("What to do").then_some(());
        if soon("the log says what to do", told).await.is_err() {
            self.broken.push(format!("the log does not say what to do: {}", self.lone.logger.log()));
        }
        Ok(())
    }

    /// It starts again, and is as it was.
    async fn restart(&mut self) -> anyhow::Result<()> {
        self.lone.logger.stop().await?;
        self.lone = Lone::start(&self.settings, self.dir.path()).await?;
        Ok(())
    }

    /// Another logger by this name of the store is refused.
    async fn keeps_out(&mut self, store: &Path) {
        let settings = BTreeMap::from([("LOGGER_STORE", url(store))]);
        if Lone::start(&settings, self.dir.path()).await.is_ok() {
            self.broken.push(format!("a second logger starts on {}", store.display()));
        }
    }

    async fn deleted(&mut self, round: u32, random: &mut StdRng) -> anyhow::Result<()> {
        match round % 4 {
            0 => {
                fs::remove_file(self.path("logs.db"))?;
                self.refuses(random).await?;
            }
            1 => {
                fs::remove_dir_all(self.path(""))?;
                self.refuses(random).await?;
            }
            2 => {
                let callers = self.lone.load(CALLERS, random);
                callers.goes_on(10).await?;
                fs::remove_file(self.path("logs.db-wal"))?;
                callers.goes_on(50).await?;
                // What a kill leaves is whole.
                self.lone.logger.kill().await?;
                self.ledger.merge(callers.stop().await?);
                self.lone = Lone::start(&self.settings, self.dir.path()).await?;
                self.reconcile().await?;
            }
            _ => {
                fs::remove_file(self.path("logs.db.lock"))?;
                self.keeps_out(&self.path("logs.db")).await;
                self.work(random).await?;
                self.restart().await?;
                self.reconcile().await?;
            }
        }
        Ok(())
    }

    async fn replaced(&mut self, round: u32, random: &mut StdRng) -> anyhow::Result<()> {
        let (own, away) = (self.path("logs.db"), self.path("away.db"));
        if round.is_multiple_of(2) {
            fs::rename(&own, &away)?;
            fs::copy(&away, &own)?;
            self.refuses(random).await?;
            fs::rename(&away, &own)?;
            self.lone.says(Ok(())).await?;
            self.work(random).await?;
            self.restart().await?;
        } else {
            // All of it is in the main file once the logger has stopped.
            self.lone.logger.stop().await?;
            fs::copy(&own, &away)?;
            self.lone = Lone::start(&self.settings, self.dir.path()).await?;
            fs::rename(&away, &own)?;
            self.refuses(random).await?;
            // The log under the old name is applied to the copy.
            self.lone.logger.kill().await?;
            self.lone = Lone::start(&self.settings, self.dir.path()).await?;
        }
        // What was refused with certainty is not there, and one of which nothing is known may be.
        self.reconcile().await
    }

    async fn linked(&mut self, random: &mut StdRng) -> anyhow::Result<()> {
        let (own, other) = (self.path("logs.db"), self.path("other.db"));
        fs::hard_link(&own, &other)?;
        self.keeps_out(&other).await;
        self.work(random).await?;
        self.lone.logger.kill().await?;
        self.keeps_out(&own).await;
        self.keeps_out(&other).await;
        fs::remove_file(&other)?;
        self.lone = Lone::start(&self.settings, self.dir.path()).await?;
        self.work(random).await?;
        self.reconcile().await
    }

    async fn read_only(&mut self, random: &mut StdRng) -> anyhow::Result<()> {
        self.lone.logger.kill().await?;
        let nobody = Uid::effective().is_root().then(|| User::from_name("nobody").ok().flatten()).flatten();
        let ids = nobody.map(|user| (user.uid.as_raw(), user.gid.as_raw()));
        let under = ids.into_iter().flat_map(|(uid, gid)| {
            [
                "setpriv".to_owned(),
                format!("--reuid={uid}"),
                format!("--regid={gid}"),
                "--clear-groups".to_owned(),
            ]
        });
        let under: Vec<String> = under.collect();
        if let Some((uid, gid)) = ids {
            fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
            for name in ["", "logs.db", "logs.db-wal", "logs.db-shm", "logs.db.lock", "logs.db.reserve"] {
                let _ = chown(self.path(name), Some(uid), Some(gid));
            }
            // As after a restore by root.
            chown(self.path("logs.db"), Some(0), Some(0)).expect("ours");
        }
        let mode =
            |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        if ids.is_none() {
            mode(&self.path("logs.db"), 0o444);
        }
        match Lone::start_under(under.clone(), &self.settings, self.dir.path()).await {
            Ok(_) => self.broken.push("it starts on a store that it may not write".to_owned()),
            Err(error) => self.follow_the_advice(&format!("{error:#}")).await,
        }
        mode(&self.path(""), 0o555);
        match Lone::start_under(under.clone(), &self.settings, self.dir.path()).await {
            Ok(_) => self.broken.push("it starts in a directory that it may not write".to_owned()),
            Err(error) => self.follow_the_advice(&format!("{error:#}")).await,
        }
        match Lone::start_under(under.clone(), &self.settings, self.dir.path()).await {
            Ok(lone) => self.lone = lone,
            Err(error) => {
                self.broken.push(format!("the advice does not help: {error:#}"));
                return Ok(());
            }
        }
        self.work(random).await?;
        self.reconcile().await
    }

    /// Does what the last line of a refusal says.
    async fn follow_the_advice(&mut self, log: &str) {
        let advice = log.lines().rev().find_map(|line| line.split_once("To fix it: "));
        let Some((_, command)) = advice else {
            return self.broken.push(format!("it does not say what helps: {log}"));
        };
        // Whoever runs the test is root, or it is his own file.
        let command = command.trim().trim_start_matches("sudo ");
        let done = tokio::process::Command::new("sh").args(["-c", command]).status().await;
        if !done.is_ok_and(|status| status.success()) {
            self.broken.push(format!("the advice cannot be followed: {command}"));
        }
    }
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}
