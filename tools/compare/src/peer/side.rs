//! The sides of the comparison: ours as it is shipped, ours with a call for each entry, and the peer in Go.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use proto::Transport;
use rig::{Client, Launch, Process, READY, Usage, eventually, reserve};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::{net::TcpSocket, process::Command};

use crate::{cell::Keeping, stack::Site};

/// Whose services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Ours, as they are shipped.
    Coalesced,
    /// Ours with `BROKER_COALESCE=off`.
    OwnCalls,
    /// The peer's.
    Go,
}

impl Side {
    /// All of them, in the order of the tables.
    pub const ALL: [Side; 3] = [Side::Coalesced, Side::OwnCalls, Side::Go];

    /// Its name in the tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Coalesced => "ours",
            Side::OwnCalls => "ours, a call for each",
            Side::Go => "Go",
        }
    }

    /// The name of its virtual host.
    pub(super) const fn virtual_host(self) -> &'static str {
        match self {
            Side::Coalesced => "coalesced",
            Side::OwnCalls => "own-calls",
            Side::Go => "go",
        }
    }
}

/// A side that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) broker_at: SocketAddr,
    logger_at: SocketAddr,
    services: Services,
}

#[derive(Debug)]
enum Services {
    Ours(Box<Site>),
    Go(Box<GoServices>),
}

/// The peer's processes, with their files.
#[derive(Debug)]
struct GoServices {
    processes: [(&'static str, Process); 3],
    _dir: TempDir,
    /// Keep the ports.
    _ports: Vec<TcpSocket>,
}

impl Running {
    /// Starts one with a store and a virtual host of its own, and waits until it delivers.
    pub(super) async fn start(
        side: Side,
        binaries: &Path,
        gopeer: &Path,
        amqp_url: &str,
    ) -> anyhow::Result<Self> {
        let running = match side {
            Side::Coalesced => Self::ours(binaries, amqp_url, &[]).await?,
            Side::OwnCalls => {
                let off = ("BROKER_COALESCE".to_owned(), "off".to_owned());
                Self::ours(binaries, amqp_url, &[off]).await?
            }
            Side::Go => Self::go(gopeer, amqp_url)?,
        };
        let client = Client::new(rig::http()?, format!("http://{}", running.broker_at));
        let ready =
            async || client.get("/readyz").await.is_ok_and(|(status, _)| status.is_success()).then_some(());
        eventually(&format!("the broker ({}) is ready", side.as_str()), READY, ready).await?;
        Ok(running)
    }

    async fn ours(binaries: &Path, amqp_url: &str, settings: &[(String, String)]) -> anyhow::Result<Self> {
        let site = Site::start(binaries, amqp_url, Keeping::Synced, settings).await?;
        site.reaches(&Transport::ALL).await?;
        let (broker_at, logger_at) = (site.broker_at, site.logger_at.http);
        Ok(Running { broker_at, logger_at, services: Services::Ours(Box::new(site)) })
    }

    fn go(gopeer: &Path, amqp_url: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let ports = (0..4).map(|_| reserve()).collect::<std::io::Result<Vec<_>>>()?;
        let at = ports.iter().map(TcpSocket::local_addr).collect::<std::io::Result<Vec<_>>>()?;
        let [http, rpc, grpc, broker] = [at[0], at[1], at[2], at[3]].map(|at| at.to_string());
        let store = format!("sqlite:{}", dir.path().join("logs.db").display());
        let start = |name: &'static str, arguments: &[&str]| -> anyhow::Result<(&'static str, Process)> {
            let mut command = Command::new(gopeer);
            command.arg(name).args(arguments);
            let settings = BTreeMap::<&str, String>::new();
            Ok((name, Launch::default().spawn(command, name, &settings, dir.path())?))
        };
        let logger = start("logger", &["-http", &http, "-rpc", &rpc, "-grpc", &grpc, "-store", &store])?;
        let listener = start("listener", &["-amqp", amqp_url, "-logger-rpc", &rpc])?;
        let logger_url = format!("http://{http}");
        let broker = start(
            "broker",
            &[
                "-listen",
                &broker,
                "-logger-http",
                &logger_url,
                "-logger-rpc",
                &rpc,
                "-logger-grpc",
                &grpc,
                "-amqp",
                amqp_url,
            ],
        )?;
        let services = GoServices { processes: [broker, logger, listener], _dir: dir, _ports: ports };
        Ok(Running { broker_at: at[3], logger_at: at[0], services: Services::Go(Box::new(services)) })
    }

    fn processes(&self) -> Vec<(&'static str, &Process)> {
        match &self.services {
            Services::Ours(site) => site.processes().to_vec(),
            Services::Go(services) => {
                services.processes.iter().map(|(name, process)| (*name, process)).collect()
            }
        }
    }

    /// The CPU time that its services have used so far.
    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        self.processes().into_iter().map(|(name, process)| Ok(usage(name, process)?.cpu_time)).sum()
    }

    /// The most memory that each of its services has had, in MiB.
    pub(super) fn peak_memory_mib(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let peak = |(name, process)| Ok((str::to_owned(name), usage(name, process)?.peak_memory_kib / 1024));
        self.processes().into_iter().map(peak).collect()
    }

    /// Entries that its logger has committed so far, by the logger's own count.
    pub(super) async fn stored(&self) -> anyhow::Result<u64> {
        let path = match &self.services {
            Services::Ours(_) => "metrics",
            Services::Go(_) => "stats",
        };
        let url = format!("http://{}/{path}", self.logger_at);
        let text = rig::http()?.get(url).send().await?.text().await?;
        let stored = match &self.services {
            Services::Ours(_) => stored_by_metrics(&text),
            Services::Go(_) => serde_json::from_str::<serde_json::Value>(&text)?["data"]["stored"].as_u64(),
        };
        stored.with_context(|| format!("the logger does not say what it has stored: {text}"))
    }
}

fn usage(name: &str, process: &Process) -> anyhow::Result<Usage> {
    process.usage().with_context(|| format!("the {name} is gone:\n{}", process.log()))
}

/// The sum over all transports.
fn stored_by_metrics(text: &str) -> Option<u64> {
    let lines = text.lines().filter(|line| line.starts_with("logger_entries_total{"));
    let stored = lines.filter(|line| line.contains(r#"outcome="stored""#));
    stored
        .map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|value| value.map(|value| value as u64))
        .sum()
}

/// Where the peer is, by default beside our binaries.
pub(super) fn find_gopeer(wanted: Option<&Path>, binaries: &Path) -> anyhow::Result<PathBuf> {
    let gopeer = std::path::absolute(wanted.unwrap_or(&binaries.join("gopeer")))?;
    anyhow::ensure!(
        gopeer.is_file(),
        "{} is missing: `make compare ARGS=peer` builds it, or tools/compare/peer/build.sh",
        gopeer.display()
    );
    Ok(gopeer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_the_sum_over_all_transports() {
        let text = "# TYPE logger_entries_total counter\n\
                    logger_entries_total{outcome=\"stored\",transport=\"http\"} 5\n\
                    logger_entries_total{outcome=\"conflict\",transport=\"http\"} 3\n\
                    logger_entries_total{outcome=\"stored\",transport=\"grpc\"} 7\n";
        assert_eq!(stored_by_metrics(text), Some(12));
        assert_eq!(stored_by_metrics("logger_entries_total{outcome=\"stored\"} x\n"), None);
    }
}
