//! Names that lead to several loggers, such as `tasks.logger` in a Swarm, or that of a headless Service: each of their
//! addresses is one.

use std::{convert::Infallible, io, net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::logger::Logger;
use crate::{address::MOST_ADDRESSES, endpoints::LoggerAddress};

/// How often a name is looked up.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(3);

/// How long the connections of `rpc` to a new logger may take before calls are given to it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// An entry of the settings, and the loggers that it leads to now.
pub(super) struct Entry {
    address: LoggerAddress,
    name: Option<String>,
    loggers: Vec<Arc<Logger>>,
}

/// All loggers of now.
pub(super) type All = Arc<[Arc<Logger>]>;

/// The loggers of some entries.
pub(super) fn all_of(entries: &[Entry]) -> All {
    entries.iter().flat_map(|entry| &entry.loggers).cloned().collect()
}

impl Entry {
    /// One logger for now, dialled by its name.
    pub(super) fn new(logger: Logger) -> Self {
        let address = logger.address.clone();
        Entry { name: address.name(), address, loggers: vec![Arc::new(logger)] }
    }

    pub(super) fn has_name(&self) -> bool {
        self.name.is_some()
    }

    /// Takes over the addresses that its name has now, at most so many. Returns whether that changes anything.
    fn take_over(
        &mut self,
        mut ips: Vec<IpAddr>,
        most: usize,
        make: &impl Fn(LoggerAddress, usize) -> Logger,
    ) -> bool {
        let found = ips.len();
        ips.truncate(most);
        let wanted: Vec<Option<IpAddr>> =
            if ips.is_empty() { vec![None] } else { ips.into_iter().map(Some).collect() };
        if self.loggers.iter().map(|logger| logger.address.ip).eq(wanted.iter().copied()) {
            return false;
        }
        if found > most {
            tracing::warn!(name = self.name, addresses = found, most, "too many loggers: some get no calls");
        }
        let kept = |ip: Option<IpAddr>| self.loggers.iter().find(|logger| logger.address.ip == ip);
        let mut numbers: Vec<usize> =
            wanted.iter().filter_map(|ip| kept(*ip)).map(|logger| logger.number).collect();
        let mut next = |ip: Option<IpAddr>| {
            if let Some(logger) = kept(ip) {
                return Arc::clone(logger);
            }
            // The lowest that is free: so the metrics have no more of them than there ever were loggers at a time.
            let number = (0..).find(|number| !numbers.contains(number)).unwrap_or_default();
            numbers.push(number);
            let address = ip.map_or_else(|| self.address.clone(), |ip| self.address.at(ip));
            Arc::new(make(address, number))
        };
        self.loggers = wanted.into_iter().map(&mut next).collect();
        true
    }
}

/// Looks up the names again and again, and publishes the loggers that they lead to. Calls to one that is there no longer
/// end by themselves. What cannot be looked up stays as it was.
pub(super) async fn keep_looking<F>(
    mut entries: Vec<Entry>,
    make: impl Fn(LoggerAddress, usize) -> Logger,
    publish: watch::Sender<All>,
    look_up: impl Fn(String) -> F,
) -> Infallible
where
    F: Future<Output = io::Result<Vec<IpAddr>>>,
{
    loop {
        let mut is_changed = false;
        for at in 0..entries.len() {
            let Some(name) = entries[at].name.clone() else { continue };
            let most = room_for(&entries, at);
            match look_up(name).await {
                Ok(ips) => is_changed |= entries[at].take_over(ips, most, &make),
                Err(error) => tracing::debug!(name = entries[at].name, %error, "not looked up"),
            }
        }
        if is_changed {
            let all = all_of(&entries);
            // One that takes longer refuses its first call, which goes on to another.
            let _ = tokio::time::timeout(CONNECT_PATIENCE, tried(&all)).await;
            let loggers: Vec<String> = all.iter().map(|logger| logger.address.shown()).collect();
            publish.send_replace(all);
            tracing::info!(loggers = loggers.join(", "), "the set of loggers has changed");
        }
        tokio::time::sleep(LOOKUP_INTERVAL).await;
    }
}

/// How many loggers the entry at this position may have beside the others.
fn room_for(entries: &[Entry], position: usize) -> usize {
    let others = entries.iter().enumerate().filter(|(at, _)| *at != position);
    MOST_ADDRESSES - others.map(|(_, entry)| entry.loggers.len()).sum::<usize>()
}

/// Waits until each client that connects by itself has tried to, for the first time.
pub(super) async fn tried(loggers: &[Arc<Logger>]) {
    join_all(loggers.iter().map(|logger| logger.clients.rpc.tried())).await;
}
