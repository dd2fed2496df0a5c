//! The system under measurement: the release binaries, as they are shipped, on free ports with a store of their own.
//!
//! Two sites share one RabbitMQ node, each with a virtual host of its own: one stores and syncs, and one keeps nothing.
//! A site that is not asked costs next to nothing, so both stand ready and cells of both can take turns.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use proto::Transport;
use rig::{Node, Process, Usage};
use tempfile::TempDir;

use crate::{cell::Keeping, reconcile};

/// How long a service, or RabbitMQ, may take to be ready.
const READY: Duration = Duration::from_secs(60);

/// How often something is looked at that is awaited.
const POLL: Duration = Duration::from_millis(20);

/// The machine's services, as the tables name them.
pub const PROCESSES: [&str; 4] = ["broker", "logger", "listener", "rabbitmq"];

/// RabbitMQ, and the two sites.
#[derive(Debug)]
pub struct Stack {
    /// RabbitMQ.
    pub node: Node,
    /// The site that stores.
    pub synced: Site,
    /// The one that keeps nothing.
    pub nothing: Site,
}

/// Logger, listener and broker.
#[derive(Debug)]
pub struct Site {
    /// Where the broker is.
    pub broker_at: SocketAddr,
    /// Where the logger answers HTTP.
    pub logger_at: SocketAddr,
    /// The processes, by name.
    pub processes: BTreeMap<&'static str, Process>,
    settings: BTreeMap<String, String>,
    binaries: PathBuf,
    dir: TempDir,
    stores: u32,
    keeping: Keeping,
}

impl Stack {
    /// Starts everything from the binaries in a directory, with some settings that differ from their defaults.
    ///
    /// # Errors
    /// If one of them cannot be started, or is not ready in time.
    pub async fn start(binaries: &Path, settings: &[(String, String)]) -> anyhow::Result<Self> {
        let mut node = Node::start().await.context("RabbitMQ")?;
        node.serves().await?;
        for host in ["synced", "nothing"] {
            add_virtual_host(&mut node, host).await?;
        }
        let amqp = node.amqp();
        let start = async |host: &str, keeping| {
            Site::start(binaries, &format!("{amqp}/{host}"), keeping, settings).await
        };
        let synced = start("synced", Keeping::Synced).await?;
        let nothing = start("nothing", Keeping::Nothing).await?;
        Ok(Stack { node, synced, nothing })
    }

    /// The site of a store.
    pub const fn site(&self, keeping: Keeping) -> &Site {
        match keeping {
            Keeping::Synced => &self.synced,
            Keeping::Nothing => &self.nothing,
        }
    }
}

/// What each process of a site has used so far, RabbitMQ with all that belongs to it.
///
/// # Errors
/// If one of them is gone.
pub fn usage(node: Option<&Node>, site: &Site) -> anyhow::Result<BTreeMap<String, Usage>> {
    let mut usage = BTreeMap::new();
    for (name, process) in &site.processes {
        usage.insert((*name).to_owned(), process.usage().with_context(|| format!("the {name} is gone"))?);
    }
    let Some(node) = node else { return Ok(usage) };
    let mut rabbitmq = Usage::default();
    for pid in node.pids()? {
        // One that ends meanwhile is none of those that do the work.
        let Ok(part) = Usage::of(pid) else { continue };
        rabbitmq.processor += part.processor;
        rabbitmq.memory_kib += part.memory_kib;
        rabbitmq.peak_memory_kib += part.peak_memory_kib;
    }
    usage.insert("rabbitmq".to_owned(), rabbitmq);
    Ok(usage)
}

/// Lets the peaks of memory begin anew.
///
/// # Errors
/// If a process is gone.
pub fn forget_peaks(node: Option<&Node>, site: &Site) -> anyhow::Result<()> {
    for process in site.processes.values() {
        process.forget_peak_memory()?;
    }
    for pid in node.map_or_else(|| Ok(Vec::new()), Node::pids)? {
        // Some of them belong to other moments.
        let _ = rig::forget_peak_memory(pid);
    }
    Ok(())
}

impl Site {
    /// One without a service, for one who puts something between them.
    ///
    /// # Errors
    /// If there is no place for its files.
    pub fn empty(binaries: &Path, amqp_url: &str, keeping: Keeping) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let any = "127.0.0.1:0";
        let settings = BTreeMap::from([
            ("AMQP_URL", amqp_url),
            ("BROKER_HTTP_LISTEN", any),
            ("LISTENER_HTTP_LISTEN", any),
            ("LOGGER_HTTP_LISTEN", any),
            ("LOGGER_RPC_LISTEN", any),
            ("LOGGER_GRPC_LISTEN", any),
        ]);
        let settings =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut site = Site {
            broker_at: nowhere,
            logger_at: nowhere,
            processes: BTreeMap::new(),
            settings,
            binaries: binaries.to_owned(),
            dir,
            stores: 0,
            keeping,
        };
        site.name_store();
        Ok(site)
    }

    /// One that runs, with some settings that differ from their defaults.
    ///
    /// # Errors
    /// As [`Site::start_all`].
    pub async fn start(
        binaries: &Path,
        amqp_url: &str,
        keeping: Keeping,
        settings: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let mut site = Site::empty(binaries, amqp_url, keeping)?;
        settings.iter().for_each(|(name, value)| site.set(name, value.clone()));
        site.start_all().await?;
        Ok(site)
    }

    /// One that somebody else has started: its processes are not known.
    ///
    /// # Errors
    /// As [`Site::empty`].
    pub fn foreign(broker_at: SocketAddr, logger_at: SocketAddr) -> anyhow::Result<Self> {
        Ok(Site { broker_at, logger_at, ..Self::empty(Path::new(""), "", Keeping::Synced)? })
    }

    /// Starts the three on free ports.
    ///
    /// # Errors
    /// If one of them cannot be started, or is not ready in time.
    pub async fn start_all(&mut self) -> anyhow::Result<()> {
        self.start_logger().await?;
        self.start_broker().await?;
        self.start_listener().await
    }

    /// The logger alone, for one who puts something between the services.
    ///
    /// # Errors
    /// As [`Site::start_all`].
    pub async fn start_logger(&mut self) -> anyhow::Result<()> {
        let logger = self.start_service("logger").await?;
        for (setting, name) in
            [("LOGGER_HTTP_LISTEN", "http"), ("LOGGER_RPC_LISTEN", "rpc"), ("LOGGER_GRPC_LISTEN", "grpc")]
        {
            self.set(setting, address(&logger, name)?.to_string());
        }
        self.logger_at = address(&logger, "http")?;
        self.set("LOGGER_HTTP_URL", format!("http://{}", self.logger_at));
        self.set("LOGGER_RPC_ADDR", address(&logger, "rpc")?.to_string());
        self.set("LOGGER_GRPC_URL", format!("http://{}", address(&logger, "grpc")?));
        Ok(())
    }

    /// The broker, once there is a logger.
    ///
    /// # Errors
    /// As [`Site::start_all`].
    pub async fn start_broker(&mut self) -> anyhow::Result<()> {
        self.broker_at = address(&self.start_service("broker").await?, "http")?;
        self.set("BROKER_HTTP_LISTEN", self.broker_at.to_string());
        self.reaches_all().await
    }

    /// The listener, once there is a logger.
    ///
    /// # Errors
    /// As [`Site::start_all`].
    pub async fn start_listener(&mut self) -> anyhow::Result<()> {
        self.start_service("listener").await?;
        let listener = self.processes.get("listener").context("no listener")?;
        eventually("the listener consumes", || listener.log().contains("consuming").then_some(())).await
    }

    /// A setting of the services that are started from now on.
    pub fn set(&mut self, setting: &str, value: String) {
        self.settings.insert(setting.to_owned(), value);
    }

    /// Where its files are, its store among them.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// The settings of the services.
    pub const fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// Starts one of the services; says where it listens.
    ///
    /// # Errors
    /// If it cannot be started, or is not ready in time.
    pub async fn start_service(
        &mut self,
        name: &'static str,
    ) -> anyhow::Result<BTreeMap<String, SocketAddr>> {
        let binary = self.binaries.join(name);
        let command = tokio::process::Command::new(&binary);
        let process = Process::start(command, &self.settings, self.dir.path(), name);
        let mut process = process.with_context(|| format!("starting {}", binary.display()))?;
        let ready = process.ready(READY).await;
        let addresses = ready.with_context(|| format!("the {name}: {}", process.log()))?;
        self.processes.insert(name, process);
        Ok(addresses)
    }

    /// Begins with an empty store: restarts the logger with a new file, and deletes the old one.
    ///
    /// # Errors
    /// If the logger does not come back.
    pub async fn empty_store(&mut self) -> anyhow::Result<()> {
        self.stop("logger").await?;
        let old = self.name_store();
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", old.display()));
        }
        self.start_service("logger").await?;
        self.reaches_all().await
    }

    /// Stops a service in order.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub async fn stop(&mut self, name: &'static str) -> anyhow::Result<()> {
        let mut process = self.processes.remove(name).with_context(|| format!("the {name} does not run"))?;
        process.signal(nix::sys::signal::Signal::SIGTERM)?;
        process.ended(READY).await.with_context(|| format!("the {name} does not end"))?;
        Ok(())
    }

    /// Waits until the broker reaches the other end of every transport.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn reaches_all(&self) -> anyhow::Result<()> {
        let reaches_all = || {
            let ready = reconcile::get(self.broker_at, "/readyz").ok()?;
            let ready: serde_json::Value = serde_json::from_slice(&ready).ok()?;
            let reachable = &ready["detail"]["reachable"];
            Transport::ALL.iter().all(|transport| reachable[transport.as_str()] == true).then_some(())
        };
        eventually("the broker reaches the logger and RabbitMQ", reaches_all).await
    }

    /// The next store; returns the file of the last one.
    fn name_store(&mut self) -> PathBuf {
        let file = |number| self.dir.path().join(format!("logs-{number}.db"));
        let (old, new) = (file(self.stores), file(self.stores + 1));
        self.stores += 1;
        let url = match self.keeping {
            Keeping::Synced => format!("sqlite:{}", new.display()),
            Keeping::Nothing => "nothing".to_owned(),
        };
        self.set("LOGGER_STORE", url);
        old
    }
}

/// Makes a virtual host in RabbitMQ, for everybody.
///
/// # Errors
/// If RabbitMQ does not obey.
pub async fn add_virtual_host(node: &mut Node, name: &str) -> anyhow::Result<()> {
    node.ctl(&format!("-q add_vhost {name}")).await?;
    Ok(node.ctl(&format!("-q set_permissions -p {name} guest .* .* .*")).await?)
}

fn address(addresses: &BTreeMap<String, SocketAddr>, name: &str) -> anyhow::Result<SocketAddr> {
    addresses.get(name).copied().with_context(|| format!("it does not say where its {name} is"))
}

/// Looks again and again until there is something.
async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        ensure!(begun.elapsed() < READY, "not within {READY:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}
