//! A RabbitMQ node of one's own, which may be broken. `deploy/rabbitmq.sh obey` knows how; here are the orders.

use std::{ffi::OsStr, fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail};

use crate::script::Script;

/// How old a quorum queue must be before its node may be killed without losing it. Ra 2.2.0 (RabbitMQ 3.10) registers a
/// new queue in a dets table, `names.dets`, and dets keeps what is written for up to 3 s, and 0.5 s more without a write
/// (`dets.erl`, `ra_directory.erl`). A node killed before that no longer knows the queue's log: the queue comes back as
/// an empty follower that elects nobody (rabbitmq/ra#179), and with it is lost what was confirmed.
pub const QUEUE_IS_ON_DISK: Duration = Duration::from_secs(6);

/// A node. It is ended, and its directory removed, when this is dropped, and also when this process is gone in any
/// other way: the script then finds its stdin at an end.
#[derive(Debug)]
pub struct Node {
    script: Script,
    dir: PathBuf,
    base_port: u16,
}

impl Node {
    /// Claims a place for one, and starts it; does not wait until it takes messages.
    pub async fn start() -> anyhow::Result<Self> {
        let (script, place) = Script::start("rabbitmq.sh").await?;
        let place = place.as_deref().and_then(|place| place.rsplit_once(' '));
        let place = place.and_then(|(dir, port)| Some((PathBuf::from(dir), port.parse().ok()?)));
        let (dir, base_port) =
            place.context("no RabbitMQ: install Debian's package by `sudo deploy/rabbitmq.sh install`")?;
        let mut node = Node { script, dir, base_port };
        node.launch().await?;
        Ok(node)
    }

    /// Its URL, without a virtual host.
    pub fn amqp(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.base_port)
    }

    /// What it says of itself when it starts: the versions of RabbitMQ and Erlang among others.
    pub fn banner(&self) -> String {
        self.log()
    }

    /// The processes that it consists of at the moment.
    pub fn pids(&self) -> anyhow::Result<Vec<i32>> {
        let is_ours = |process: &procfs::process::Process| {
            let environment = process.environ().unwrap_or_default();
            environment.get(OsStr::new("FOURWIRE_NODE")).is_some_and(|mark| *mark == *self.dir)
        };
        let processes = procfs::process::all_processes()?.filter_map(Result::ok);
        Ok(processes.filter(is_ours).map(|process| process.pid()).collect())
    }

    /// Starts it again; does not wait for it.
    pub async fn launch(&mut self) -> anyhow::Result<()> {
        self.order(&["launch"]).await
    }

    /// Waits until it serves.
    pub async fn serves(&mut self) -> anyhow::Result<()> {
        self.order(&["await"]).await
    }

    /// `kill -9`; waits until all its processes are gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.order(&["kill"]).await
    }

    /// Shuts it down in order; waits until it is gone.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.order(&["stop"]).await
    }

    /// SIGSTOP.
    pub async fn freeze(&mut self) -> anyhow::Result<()> {
        self.order(&["freeze"]).await
    }

    /// SIGCONT.
    pub async fn thaw(&mut self) -> anyhow::Result<()> {
        self.order(&["thaw"]).await
    }

    /// `rabbitmqctl`, with arguments that have spaces between them, and none in them.
    pub async fn ctl(&mut self, arguments: &str) -> anyhow::Result<()> {
        let words: Vec<&str> = ["ctl"].into_iter().chain(arguments.split_whitespace()).collect();
        self.order(&words).await
    }

    /// Makes a virtual host, for everybody; returns its URL.
    pub async fn add_virtual_host(&mut self, name: &str) -> anyhow::Result<String> {
        self.ctl(&format!("-q add_vhost {name}")).await?;
        self.ctl(&format!("-q set_permissions -p {name} guest .* .* .*")).await?;
        Ok(format!("{}/{name}", self.amqp()))
    }

    async fn order(&mut self, words: &[&str]) -> anyhow::Result<()> {
        if self.script.order(words).await? {
            return Ok(());
        }
        bail!("RabbitMQ does not obey `{}`:\n{}", words.join(" "), self.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log/start.log")).unwrap_or_default()
    }
}
