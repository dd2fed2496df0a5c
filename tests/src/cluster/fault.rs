//! What is done to a part.

use std::{fmt, time::Duration};

use rand::rngs::StdRng;
use strum::VariantArray;

use super::{
    Engine,
    parts::{self, Part},
};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the container; it is started again later.
    Killed(Part),
    /// The container is taken out of the network, and put back later.
    Cut(Part),
    /// All containers of a service are told to stop and started again, one after the other, as an update does it.
    Restarted(Service),
}

/// What is restarted one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Service {
    /// Two of them.
    Broker,
    /// Two of them.
    Listener,
    /// Three of them.
    Logger,
    /// Three nodes.
    Rabbitmq,
    /// Three nodes, the primary last and after it has handed over.
    Postgres,
    /// Three nodes.
    Etcd,
}

/// How long a part is missing, at least.
const MISSING: Duration = Duration::from_secs(8);

/// How long a node of PostgreSQL is missing, at least: longer than Patroni waits for the primary.
const PRIMARY_MISSING: Duration = Duration::from_secs(35);

impl Fault {
    /// All of them.
    pub fn all() -> Vec<Fault> {
        let parts = Part::VARIANTS.iter().copied();
        let services = Service::VARIANTS.iter().copied();
        parts
            .clone()
            .map(Fault::Killed)
            .chain(parts.map(Fault::Cut))
            .chain(services.map(Fault::Restarted))
            .collect()
    }

    /// Whether the loss of it alone may refuse nothing after the first second.
    pub(super) const fn is_of_ours(self) -> bool {
        matches!(self, Fault::Killed(Part::Broker | Part::Listener | Part::Logger))
    }

    /// Whether it may neither refuse nor leave unknown anything.
    pub(super) const fn is_gentle(self) -> bool {
        matches!(self, Fault::Restarted(Service::Broker | Service::Listener | Service::Logger))
    }

    /// How long what it breaks stays broken.
    pub(super) const fn lasts(self) -> Duration {
        match self {
            Fault::Killed(Part::PostgresPrimary) | Fault::Cut(Part::PostgresPrimary) => PRIMARY_MISSING,
            Fault::Killed(_) | Fault::Cut(_) => MISSING,
            Fault::Restarted(_) => Duration::ZERO,
        }
    }

    /// Breaks it. Returns the services that were hit.
    pub(super) async fn inject(self, engine: &Engine, random: &mut StdRng) -> anyhow::Result<Vec<String>> {
        match self {
            Fault::Killed(part) => {
                let service = part.service(engine, random).await?;
                engine.kill(&service).await?;
                Ok(vec![service])
            }
            Fault::Cut(part) => {
                let service = part.service(engine, random).await?;
                engine.cut(&service).await?;
                Ok(vec![service])
            }
            Fault::Restarted(service) => service.restart(engine).await,
        }
    }

    /// Ends it.
    pub(super) async fn end(self, engine: &Engine, hit: &[String]) -> anyhow::Result<()> {
        for service in hit {
            match self {
                Fault::Killed(_) => engine.start(service).await?,
                Fault::Cut(_) => engine.heal(service).await?,
                Fault::Restarted(_) => {}
            }
        }
        Ok(())
    }
}

impl Service {
    const fn name(self) -> &'static str {
        match self {
            Service::Broker => "broker",
            Service::Listener => "listener",
            Service::Logger => "logger",
            Service::Rabbitmq => "rabbitmq",
            Service::Postgres => "postgres",
            Service::Etcd => "etcd",
        }
    }

    /// One by one, each after the cluster is whole again.
    async fn restart(self, engine: &Engine) -> anyhow::Result<Vec<String>> {
        const GRACE_S: u32 = 20;
        let mut names = engine.of(self.name());
        if self == Service::Postgres {
            // The primary comes last, when the others are up to date again.
            let primary = parts::primary(engine).await?;
            names.sort_by_key(|name| *name == primary);
        }
        for (at, name) in names.iter().enumerate() {
            if self == Service::Postgres && at + 1 == names.len() {
                let switch =
                    ["patronictl", "-c", "/cluster/patroni.yml", "switchover", "--force", "fourwire"];
                engine.exec(name, &switch).await?;
                parts::are_whole(engine).await?;
            }
            engine.restart(name, GRACE_S).await?;
            parts::are_whole(engine).await?;
        }
        Ok(names)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Killed(part) => write!(f, "`kill -9`: {part}"),
            Fault::Cut(part) => write!(f, "network cut: {part}"),
            Fault::Restarted(service) => write!(f, "rolling restart: {}", service.name()),
        }
    }
}
