//! A PostgreSQL server of one's own, which may be broken. `deploy/postgres.sh obey` knows how; here are the orders.

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};

use crate::script::Script;

/// A server, with one database. It is ended, and its directory removed, when this is dropped, and also when this
/// process is gone in any other way: the script then finds its stdin at an end.
#[derive(Debug)]
pub struct Database {
    script: Script,
    dir: PathBuf,
    url: String,
}

impl Database {
    /// Makes one, and starts it; waits until it serves.
    pub async fn start() -> anyhow::Result<Self> {
        let mut database = Self::make().await?;
        database.launch("").await?;
        database.serves().await?;
        Ok(database)
    }

    /// Makes one that is not started yet.
    pub async fn make() -> anyhow::Result<Self> {
        let (script, place) = Script::start("postgres.sh").await?;
        let place = place.as_deref().and_then(|place| place.rsplit_once(' '));
        let (dir, url) =
            place.context("no PostgreSQL: install Debian's package by `sudo deploy/postgres.sh install`")?;
        let (dir, url) = (PathBuf::from(dir), url.to_owned());
        Ok(Database { script, dir, url })
    }

    /// Its URL, with its password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts it again, with settings such as `-c fsync=off`; does not wait for it.
    pub async fn launch(&mut self, settings: &str) -> anyhow::Result<()> {
        let words: Vec<&str> = ["launch"].into_iter().chain(settings.split_whitespace()).collect();
        self.order(&words).await
    }

    /// Waits until it serves.
    pub async fn serves(&mut self) -> anyhow::Result<()> {
        self.order(&["await"]).await
    }

    /// `kill -9` of the postmaster; waits until its children have noticed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.order(&["kill"]).await
    }

    /// Shuts it down in order; waits until it is gone.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.order(&["stop"]).await
    }

    /// SIGSTOP to all its processes.
    pub async fn freeze(&mut self) -> anyhow::Result<()> {
        self.order(&["freeze"]).await
    }

    /// SIGCONT.
    pub async fn thaw(&mut self) -> anyhow::Result<()> {
        self.order(&["thaw"]).await
    }

    /// Gives it a certificate with its key, for its next start.
    pub async fn certify(&mut self, cert: &str, key: &str) -> anyhow::Result<()> {
        self.order(&["certify", cert, key]).await
    }

    async fn order(&mut self, words: &[&str]) -> anyhow::Result<()> {
        if self.script.order(words).await? {
            return Ok(());
        }
        let log = fs::read_to_string(self.dir.join("start.log")).unwrap_or_default();
        bail!("PostgreSQL does not obey `{}`:\n{log}", words.join(" "))
    }
}
