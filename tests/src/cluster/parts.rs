//! The parts of the cluster, and which of them leads.

use std::{fmt, time::Duration};

use anyhow::Context;
use proto::rabbitmq::QUEUE;
use rand::{RngExt, rngs::StdRng};
use rig::eventually;
use strum::VariantArray;

use super::Engine;

/// How long the cluster may take to be whole again. A standby that has to be rewound takes longest.
const WHOLE: Duration = Duration::from_secs(180);

/// How long it is left alone between two looks.
const BETWEEN: Duration = Duration::from_secs(1);

/// A part that can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Part {
    /// One of the two brokers.
    Broker,
    /// One of the two listeners.
    Listener,
    /// One of the three loggers.
    Logger,
    /// A node that does not lead the queue.
    RabbitmqFollower,
    /// The node that leads the queue.
    RabbitmqLeader,
    /// A standby. With `synchronous_mode: quorum` each may be the one that a commit waits for.
    PostgresStandby,
    /// The primary.
    PostgresPrimary,
    /// One of the three nodes of etcd.
    Etcd,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Broker => "broker",
            Part::Listener => "listener",
            Part::Logger => "logger",
            Part::RabbitmqFollower => "RabbitMQ, a follower",
            Part::RabbitmqLeader => "RabbitMQ, the leader",
            Part::PostgresStandby => "PostgreSQL, a standby",
            Part::PostgresPrimary => "PostgreSQL, the primary",
            Part::Etcd => "etcd",
        })
    }
}

impl Part {
    /// The service that has this part now.
    pub(super) async fn service(self, engine: &Engine, random: &mut StdRng) -> anyhow::Result<String> {
        let one_of = |names: Vec<String>, random: &mut StdRng| {
            let at = random.random_range(0..names.len().max(1));
            names.into_iter().nth(at).with_context(|| format!("there is no {self}"))
        };
        match self {
            Part::Broker => one_of(engine.of("broker"), random),
            Part::Listener => one_of(engine.of("listener"), random),
            Part::Logger => one_of(engine.of("logger"), random),
            Part::Etcd => one_of(engine.of("etcd"), random),
            Part::RabbitmqFollower => {
                let leader = queue(engine).await?.leader;
                let others = engine.of("rabbitmq").into_iter().filter(|node| *node != leader);
                one_of(others.collect(), random)
            }
            Part::RabbitmqLeader => Ok(queue(engine).await?.leader),
            Part::PostgresStandby => one_of(members(engine).await?.standbys, random),
            Part::PostgresPrimary => primary(engine).await,
        }
    }
}

/// The queue of entries, as RabbitMQ has it.
#[derive(Debug, Default)]
struct Queue {
    leader: String,
    online: usize,
    messages: u64,
}

async fn queue(engine: &Engine) -> anyhow::Result<Queue> {
    let mut last = anyhow::anyhow!("no node");
    let columns =
        ["rabbitmqctl", "-q", "list_queues", "--formatter", "json", "name", "leader", "online", "messages"];
    for node in engine.of("rabbitmq") {
        match engine.ask(&node, &columns).await {
            Ok(queues) => {
                let ours = queues.as_array().into_iter().flatten().find(|queue| queue["name"] == QUEUE);
                let ours = ours.context("the queue is not declared yet")?;
                let leader = ours["leader"].as_str().unwrap_or_default();
                return Ok(Queue {
                    leader: leader.trim_start_matches("rabbit@").to_owned(),
                    online: ours["online"].as_array().map_or(0, Vec::len),
                    messages: ours["messages"].as_u64().unwrap_or_default(),
                });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// PostgreSQL's members, as Patroni has them.
#[derive(Debug, Default)]
struct Members {
    primary: Option<String>,
    /// Those that stream.
    standbys: Vec<String>,
}

async fn members(engine: &Engine) -> anyhow::Result<Members> {
    let mut last = anyhow::anyhow!("no node");
    let ask = ["curl", "--silent", "--max-time", "5", "http://127.0.0.1:8008/cluster"];
    for node in engine.of("postgres") {
        match engine.ask(&node, &ask).await {
            Ok(cluster) => {
                let mut members = Members::default();
                for member in cluster["members"].as_array().into_iter().flatten() {
                    let name = member["name"].as_str().unwrap_or_default().to_owned();
                    match (member["role"].as_str(), member["state"].as_str()) {
                        (Some("leader"), Some("running")) => members.primary = Some(name),
                        (Some(_), Some("streaming")) => members.standbys.push(name),
                        (Some(_) | None, Some(_) | None) => {}
                    }
                }
                return Ok(members);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The service that is the primary now.
pub(super) async fn primary(engine: &Engine) -> anyhow::Result<String> {
    members(engine).await?.primary.context("there is no primary")
}

/// Waits until nothing is missing: a primary with two standbys that stream, a queue with three members, and every service
/// ready.
///
/// # Errors
/// What is missing after three minutes.
pub(super) async fn are_whole(engine: &Engine) -> anyhow::Result<()> {
    let mut missing = String::new();
    let whole = async || {
        missing = what_is_missing(engine).await;
        if !missing.is_empty() {
            // Asking costs the machine more than a round of load does.
            tokio::time::sleep(BETWEEN).await;
        }
        missing.is_empty().then_some(())
    };
    eventually("the cluster is whole", WHOLE, whole).await.with_context(|| missing.clone())
}

async fn what_is_missing(engine: &Engine) -> String {
    match members(engine).await {
        Ok(members) if members.primary.is_some() && members.standbys.len() == 2 => {}
        other => return format!("{other:?}"),
    }
    match queue(engine).await {
        Ok(queue) if queue.online == 3 && !queue.leader.is_empty() => {}
        other => return format!("{other:?}"),
    }
    let health: [(&str, &[&str]); 4] = [
        ("logger", &["logger", "--health"]),
        ("listener", &["listener", "--health"]),
        ("broker", &["broker", "--health"]),
        ("etcd", &["etcdctl", "endpoint", "health"]),
    ];
    for (kind, ask) in health {
        for service in engine.of(kind) {
            if let Err(error) = engine.exec(&service, ask).await {
                return format!("{service}: {error:#}");
            }
        }
    }
    String::new()
}

/// How many messages the queue holds, unacknowledged ones too.
pub(super) async fn queued(engine: &Engine) -> anyhow::Result<u64> {
    Ok(queue(engine).await?.messages)
}
