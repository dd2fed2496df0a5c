//! The system under measurement: the release binaries, as they are shipped, on free ports with a store of their own.
//!
//! Three sites share one RabbitMQ node, each with a virtual host of its own: one stores and syncs as it is shipped, one
//! does so with a call for each entry, and one keeps nothing. A site that is not asked costs next to nothing, so all
//! stand ready and their cells can take turns.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use proto::Transport;
use rig::{Launch, LoggerAddresses, Node, Services, Usage};
use tempfile::TempDir;
use transport::{Endpoints, Settings};

use crate::cell::{Calls, Keeping};

/// The machine's services, as the tables name them.
pub const PROCESSES: [&str; 4] = ["broker", "logger", "listener", "rabbitmq"];

/// RabbitMQ, and the three sites.
#[derive(Debug)]
pub struct Stack {
    /// RabbitMQ.
    pub node: Node,
    /// The site that stores.
    pub synced: Site,
    /// The one that stores, with a call for each entry.
    pub own_calls: Site,
    /// The one that keeps nothing.
    pub nothing: Site,
}

impl Stack {
    /// Starts everything from the binaries in a directory, with some settings that differ from their defaults.
    ///
    /// # Errors
    /// If one of them cannot be started, or is not ready in time.
    pub async fn start(binaries: &Path, settings: &[(String, String)]) -> anyhow::Result<Self> {
        let mut node = Node::start().await.context("RabbitMQ")?;
        node.serves().await?;
        let amqp_url = node.add_virtual_host("synced").await?;
        let synced = Site::start(binaries, &amqp_url, Keeping::Synced, settings).await?;
        let amqp_url = node.add_virtual_host("own-calls").await?;
        let off = [settings, &[("BROKER_COALESCE".to_owned(), "off".to_owned())]].concat();
        let own_calls = Site::start(binaries, &amqp_url, Keeping::Synced, &off).await?;
        let amqp_url = node.add_virtual_host("nothing").await?;
        let nothing = Site::start(binaries, &amqp_url, Keeping::Nothing, settings).await?;
        Ok(Stack { node, synced, own_calls, nothing })
    }

    /// The site that a cell is measured at.
    pub const fn site(&self, store: Keeping, calls: Calls) -> &Site {
        match (store, calls) {
            (Keeping::Synced, Calls::Shared) => &self.synced,
            (Keeping::Synced, Calls::Own) => &self.own_calls,
            (Keeping::Nothing, _) => &self.nothing,
        }
    }
}

/// What each process of a site has used so far, RabbitMQ with all that belongs to it.
///
/// # Errors
/// If one of them is gone.
pub fn usage(node: Option<&Node>, site: &Site) -> anyhow::Result<BTreeMap<String, Usage>> {
    let mut usage = BTreeMap::new();
    for (name, process) in site.processes() {
        if process.is_running() {
            usage.insert(name.to_owned(), process.usage().with_context(|| format!("the {name} is gone"))?);
        }
    }
    let Some(node) = node else { return Ok(usage) };
    let mut rabbitmq = Usage::default();
    for pid in node.pids()? {
        // One that ends meanwhile is none of those that do the work.
        let Ok(part) = Usage::of(pid) else { continue };
        rabbitmq.cpu_time += part.cpu_time;
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
    for (_, process) in site.processes() {
        if process.is_running() {
            process.forget_peak_memory()?;
        }
    }
    for pid in node.map_or_else(|| Ok(Vec::new()), Node::pids)? {
        // Some of them belong to other moments.
        let _ = rig::forget_peak_memory(pid);
    }
    Ok(())
}

/// Logger, listener and broker, and a store that can be emptied.
#[derive(Debug)]
pub struct Site {
    services: Services,
    dir: TempDir,
    stores: u32,
    keeping: Keeping,
}

impl Deref for Site {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Services {
        &mut self.services
    }
}

impl Site {
    /// One of which nothing has been started yet, for one who puts something between the services; with some settings
    /// that differ from their defaults.
    ///
    /// # Errors
    /// If there is no place for its files.
    pub fn new(
        binaries: &Path,
        amqp_url: &str,
        keeping: Keeping,
        settings: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let launch = Launch { binaries: binaries.to_owned(), ..Launch::default() };
        let settings = settings.iter().cloned().chain([("AMQP_URL".to_owned(), amqp_url.to_owned())]);
        let services = Services::new(launch, settings, dir.path(), rig::http()?)?;
        let mut site = Site { services, dir, stores: 0, keeping };
        site.name_store();
        Ok(site)
    }

    /// One that runs.
    ///
    /// # Errors
    /// If one of the three cannot be started, or is not ready in time.
    pub async fn start(
        binaries: &Path,
        amqp_url: &str,
        keeping: Keeping,
        settings: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let mut site = Site::new(binaries, amqp_url, keeping, settings)?;
        site.services.start().await?;
        Ok(site)
    }

    /// One that somebody else has started: its processes are not known.
    ///
    /// # Errors
    /// As [`Site::new`].
    pub fn foreign(broker_at: SocketAddr, logger_at: SocketAddr) -> anyhow::Result<Self> {
        // Only its HTTP is asked.
        let logger_at =
            LoggerAddresses { http: logger_at, rpc: logger_at, grpc: logger_at, netrpc: logger_at };
        let services = Services::foreign(broker_at, logger_at, rig::http()?);
        Ok(Site { services, dir: tempfile::tempdir()?, stores: 0, keeping: Keeping::Synced })
    }

    /// Where its files are, its store among them.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// How the broker's clients call it.
    ///
    /// # Errors
    /// If an address is none.
    pub fn transport_settings(&self, deadline: Duration) -> anyhow::Result<Settings> {
        Ok(Settings {
            endpoints: Endpoints {
                logger_http_url: self.setting("LOGGER_HTTP_URL")?.parse()?,
                logger_rpc_addr: self.setting("LOGGER_RPC_ADDR")?.parse()?,
                logger_grpc_url: self.setting("LOGGER_GRPC_URL")?.parse()?,
            },
            amqp_url: match self.setting("AMQP_URL")? {
                "" => None,
                url => Some(url.parse()?),
            },
            tls: None,
            coalesce: false,
            deadline,
            came_by: None,
        })
    }

    /// Begins with an empty store: restarts the logger with a new file, and deletes the old one.
    ///
    /// # Errors
    /// If the logger does not come back.
    pub async fn empty_store(&mut self) -> anyhow::Result<()> {
        self.logger.stop().await?;
        let old = self.name_store();
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", old.display()));
        }
        self.start_logger().await?;
        self.reaches(&Transport::ALL).await
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
