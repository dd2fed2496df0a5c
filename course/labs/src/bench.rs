//! What a check works with: the learner's program, the real services, RabbitMQ, and random data from a seed.

use std::{
    io::{Write, stderr},
    path::PathBuf,
    sync::PoisonError,
    time::Duration,
};

use anyhow::Context;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rig::{Launch, Node, Services};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, Semaphore, SemaphorePermit};
use uuid::Uuid;

use crate::{
    catalogue::{beside, has_rabbitmq},
    probe::Amqp,
    program::Program,
    verdict::Trouble,
    words::{Locale, say, text},
};

/// How many checks may use RabbitMQ at a time.
const VIRTUAL_HOSTS: usize = 2;

/// A RabbitMQ node that the checks of a process share. It is started when the first asks for it. A virtual host is used
/// by one check after the other: to make one takes seconds of CPU time, to empty one does not.
#[derive(Debug)]
pub struct RabbitMq {
    node: Mutex<Option<Node>>,
    turns: Semaphore,
    /// Those that were made, and are not in use.
    free: std::sync::Mutex<Vec<String>>,
    /// A node that may be killed.
    breakable: Mutex<Option<Node>>,
    /// It is said that a node is started, in this language.
    says: Option<Locale>,
}

impl Default for RabbitMq {
    fn default() -> Self {
        RabbitMq {
            node: Mutex::default(),
            turns: Semaphore::new(VIRTUAL_HOSTS),
            free: std::sync::Mutex::default(),
            breakable: Mutex::default(),
            says: None,
        }
    }
}

/// A virtual host that nobody else uses. It is given back when this is dropped.
#[derive(Debug)]
pub struct VirtualHost<'a> {
    url: String,
    owner: &'a RabbitMq,
    _turn: SemaphorePermit<'a>,
}

impl VirtualHost<'_> {
    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for VirtualHost<'_> {
    fn drop(&mut self) {
        let mut free = self.owner.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(std::mem::take(&mut self.url));
    }
}

impl RabbitMq {
    /// Says on standard error that it starts a node: for half a minute nothing else is seen.
    pub fn saying(locale: Locale) -> Self {
        RabbitMq { says: Some(locale), ..RabbitMq::default() }
    }

    /// An empty virtual host; waits until there is one.
    ///
    /// # Errors
    /// If there is no RabbitMQ on this machine.
    pub async fn virtual_host(&self) -> anyhow::Result<VirtualHost<'_>> {
        let turn = self.turns.acquire().await?;
        let mut node = self.node.lock().await;
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let url = match (&mut *node, free) {
            (Some(_), Some(url)) => url,
            (Some(node), None) => node.add_virtual_host("second").await?,
            (none, _) => default_host(none.insert(self.started().await?)),
        };
        drop(node);
        let host = VirtualHost { url, owner: self, _turn: turn };
        Amqp::open(host.url()).await?.clear().await?;
        Ok(host)
    }

    /// An empty node that may be killed, for one check at a time. It is started when the first asks for it, and anew if
    /// the one before has not left it running.
    ///
    /// # Errors
    /// If there is no RabbitMQ on this machine.
    pub async fn breakable(&self) -> anyhow::Result<MappedMutexGuard<'_, Node>> {
        let mut node = self.breakable.lock().await;
        let serves = match &*node {
            Some(node) => Amqp::open(&default_host(node)).await.is_ok(),
            None => false,
        };
        if !serves {
            *node = None;
            *node = Some(self.started().await?);
        }
        let node =
            MutexGuard::try_map(node, Option::as_mut).map_err(|_| anyhow::anyhow!("it was started"))?;
        Amqp::open(&default_host(&node)).await?.clear().await?;
        Ok(node)
    }

    /// A node that serves.
    async fn started(&self) -> anyhow::Result<Node> {
        if !has_rabbitmq() {
            Err(Trouble(text!(
                "no RabbitMQ: sudo deploy/rabbitmq.sh install",
                "нет RabbitMQ: sudo deploy/rabbitmq.sh install"
            )))?;
        }
        if let Some(locale) = self.says {
            let text = say(locale, "starting RabbitMQ…", "запускаем RabbitMQ…");
            // That nobody reads it is no failure of the check.
            let _ = writeln!(stderr(), "  {text}");
        }
        let mut node = Node::start().await?;
        node.serves().await.context("RabbitMQ")?;
        Ok(node)
    }
}

/// The URL of a node's own virtual host.
pub fn default_host(node: &Node) -> String {
    format!("{}/%2f", node.amqp())
}

/// What a check works with.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The learner's program.
    pub program: Program,
    /// For files that nobody needs afterwards.
    pub dir: PathBuf,
    /// All random data comes from it.
    pub seed: u64,
    /// RabbitMQ.
    pub rabbitmq: &'a RabbitMq,
    /// What upper limits on time are multiplied by.
    pub patience: f64,
}

impl Bench<'_> {
    /// Random numbers for a property: the same for the same seed.
    pub fn random(&self, property: u32) -> Random {
        Random(StdRng::seed_from_u64(self.seed.wrapping_mul(1_000).wrapping_add(property.into())))
    }

    /// An upper limit on time, on this machine.
    pub fn patient(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.patience)
    }

    /// A directory of its own.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// The services, not started yet, with a store of their own; `settings` differ from the usual ones.
    ///
    /// # Errors
    /// If there is no place for them.
    pub fn services(
        &self,
        name: &str,
        amqp_url: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Services> {
        let dir = self.directory(name)?;
        let own = [
            ("AMQP_URL".to_owned(), amqp_url.to_owned()),
            ("LOGGER_STORE".to_owned(), format!("sqlite:{}", dir.join("logs.db").display())),
        ];
        let given = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let launch = Launch { binaries: binaries()?, ..Launch::default() };
        Services::new(launch, own.into_iter().chain(given), &dir, rig::http()?)
    }
}

/// Where `broker`, `logger` and `listener` are.
///
/// # Errors
/// If they are not there.
pub fn binaries() -> anyhow::Result<PathBuf> {
    let dir = beside()?;
    let missing = ["broker", "logger", "listener"].iter().find(|name| !dir.join(name).is_file());
    match missing {
        None => Ok(dir),
        Some(name) => {
            let dir = dir.display();
            Err(Trouble(text!(
                "there is no {name} in {dir}: `make lab` builds it",
                "в {dir} нет {name}: его собирает `make lab`"
            )))?
        }
    }
}

/// Random numbers, and texts made of them.
#[derive(Debug)]
pub struct Random(pub StdRng);

impl Random {
    /// A name of an entry.
    pub fn name(&mut self) -> String {
        let words = ["auth", "billing", "cart", "mail", "orders", "search", "stock", "users"];
        format!("{}.{:06x}", self.pick(&words), self.0.random_range(0..1 << 24))
    }

    /// A text of a few words.
    pub fn data(&mut self) -> String {
        let words = [
            "accepted",
            "connection",
            "disk",
            "expired",
            "login",
            "paid",
            "queue",
            "retry",
            "slow",
            "timeout",
        ];
        let count = self.0.random_range(3..9);
        (0..count)
            .map(|_| format!("{} {:x}", self.pick(&words), self.0.random::<u16>()))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// An id.
    pub fn id(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.0.random()).into_uuid()
    }

    /// One of some.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        items.choose(&mut self.0).expect("never called with none")
    }
}
