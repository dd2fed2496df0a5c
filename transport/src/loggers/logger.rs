//! One logger: its clients, and how it stands with the calls of each transport.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
};

use ::metrics::Counter;
use proto::{Batch, BatchMode, Direct, Failure, LogEntry};
use tokio::{task::JoinSet, time::Instant};

use super::{
    rest::{is_not_stored, said},
    standing::{Said, Standing},
};
use crate::{
    Receipts, Settings,
    clients::{Clients, Wires},
    endpoints::LoggerAddress,
    http::Probe,
    metrics,
};

/// How a batch goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// As its sender wants it.
    Own(BatchMode),
    /// As what has gathered: each entry for itself.
    Group,
}

/// A logger.
#[derive(Debug)]
pub(crate) struct Logger {
    /// What it is called in the log and in the metrics: its address in the settings, and where its name has several
    /// addresses, a number with it.
    pub(super) label: Arc<str>,
    pub(super) address: LoggerAddress,
    /// The number, counted from 0.
    pub(super) number: usize,
    pub(super) clients: Arc<Clients>,
    standings: Arc<[Standing; Direct::ALL.len()]>,
    calls: [OnceLock<Counter>; Direct::ALL.len()],
    /// Asks it how it is, over a connection of its own.
    pub(super) readyz: Probe,
    _probers: JoinSet<Infallible>,
}

impl Logger {
    /// Makes its clients, which connect in the background or on demand. One of several is asked whether it is back after
    /// it has refused something.
    pub(super) fn new(
        address: LoggerAddress,
        number: usize,
        settings: &Settings,
        wires: &Wires,
        is_of_several: bool,
    ) -> Self {
        let label: Arc<str> = match address.ip {
            Some(_) => format!("{}#{number}", address.told(Direct::Http)).into(),
            None => address.told(Direct::Http).into(),
        };
        let clients = Arc::new(Clients::to(&address, settings, wires));
        let standings = Arc::new(Direct::ALL.map(|direct| Standing::new(Arc::clone(&label), direct)));
        let mut probers = JoinSet::new();
        if is_of_several {
            for direct in Direct::ALL {
                let (clients, standings) = (Arc::clone(&clients), Arc::clone(&standings));
                let wire = Arc::clone(&wires[direct as usize]);
                probers.spawn(async move {
                    let ping = async || {
                        // Its bytes are nobody else's.
                        let _call = wire.call();
                        clients.ping(direct).await.is_ok()
                    };
                    standings[direct as usize].probe(ping).await
                });
            }
        }
        let readyz = Probe::to(&address.http, settings.tls.as_ref(), address.ip);
        let calls = Default::default();
        Logger { label, address, number, clients, standings, calls, readyz, _probers: probers }
    }

    #[cfg(test)]
    pub(super) fn calls_are_uncounted(&self) -> bool {
        self.calls.iter().all(|calls| calls.get().is_none())
    }

    pub(super) fn standing(&self, direct: Direct) -> &Standing {
        &self.standings[direct as usize]
    }

    /// Delivers a batch, and takes note of what is said.
    ///
    /// # Errors
    /// What is certain of all its entries, at `until` at the latest.
    pub(super) async fn write(
        &self,
        direct: Direct,
        batch: &Batch<LogEntry>,
        way: Way,
        until: Instant,
    ) -> Result<Receipts, Failure> {
        let call = self.standing(direct).begin();
        let counter = self.calls[direct as usize].get_or_init(|| metrics::logger_calls(direct, &self.label));
        counter.increment(1);
        let answer = way.write(&self.clients, direct, batch, until).await;
        call.ended(said(&answer));
        answer
    }

    /// Asks it whether it could store an entry now, and takes note of what is said.
    ///
    /// # Errors
    /// What an entry would be refused with.
    pub(super) async fn ping(&self, direct: Direct) -> Result<(), Failure> {
        let answer = self.clients.ping(direct).await;
        match &answer {
            Ok(()) => self.standing(direct).put_back(),
            Err(failure) if is_not_stored(failure) => self.standing(direct).refused(failure.code),
            Err(_) => {}
        }
        answer
    }

    /// Reads from it, and takes note of what is said.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub(super) async fn read(&self, path_and_query: &str) -> Result<(u16, bytes::Bytes), Failure> {
        let standing = self.standing(Direct::Http);
        let call = standing.begin();
        let answer = self.clients.http.read(path_and_query).await;
        match &answer {
            // It is there; whether it could store an entry, no read shows.
            Ok(_) => {
                standing.hear();
                call.ended(Said::Nothing);
            }
            Err(failure) if is_not_stored(failure) => call.ended(Said::Refusal(failure.code)),
            Err(_) => call.ended(Said::Nothing),
        }
        answer
    }
}

impl Way {
    pub(super) async fn write(
        self,
        clients: &Clients,
        direct: Direct,
        batch: &Batch<LogEntry>,
        until: Instant,
    ) -> Result<Receipts, Failure> {
        match self {
            Way::Own(mode) => clients.write(direct, batch, mode, until).await,
            Way::Group => clients.write_group(direct, batch, until).await,
        }
    }
}
