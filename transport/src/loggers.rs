//! The loggers, one or several on one store, and which of them gets a call.
//!
//! With one there is nothing to choose: a call goes to its clients, and nothing is drawn or counted. Of several the
//! one with fewer calls in flight of two that are drawn gets it. What that one certainly has not stored goes on to one
//! other, within the deadline: more than one would multiply an overload. What is unknown stays so.

mod choice;
mod logger;
mod names;
mod rest;
mod standing;
mod state;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    io,
    net::IpAddr,
    ops::Deref,
    sync::{Arc, Mutex},
};

use futures_util::future::select_ok;
use proto::{Batch, BatchMode, Direct, Failure, LogEntry};
use tokio::{sync::watch, task::JoinSet, time::Instant};

pub use self::state::{Asked, LoggerState};
use self::{
    choice::choose,
    logger::{Logger, Way},
    names::{All, Entry, all_of, keep_looking},
    rest::{Rest, entries_at, merge},
};
use crate::{
    LOGGER, Receipts, Settings, clients::Wires, endpoints::LoggerAddress, gather::Group,
    lookup::addresses_of, metrics, wire::Wire,
};

/// What a server answers that may not read just now.
const UNAVAILABLE: u16 = 503;

/// All loggers.
#[derive(Debug)]
pub(crate) struct Loggers {
    set: Set,
    wires: Wires,
    /// Every logger that there ever was, by its label: for what the metrics have of it.
    shown: Mutex<BTreeSet<Arc<str>>>,
}

#[derive(Debug)]
enum Set {
    /// As the settings have them.
    Fixed(Vec<Arc<Logger>>),
    /// As their names lead.
    Changing { now: watch::Receiver<All>, _looking: JoinSet<Infallible> },
}

/// The loggers of a moment.
enum Now<'a> {
    Fixed(&'a [Arc<Logger>]),
    Changing(All),
}

impl Deref for Now<'_> {
    type Target = [Arc<Logger>];

    fn deref(&self) -> &[Arc<Logger>] {
        match self {
            Now::Fixed(loggers) => loggers,
            Now::Changing(loggers) => loggers,
        }
    }
}

impl Loggers {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self::looked_up_by(settings, addresses_of)
    }

    fn looked_up_by<F>(settings: &Settings, look_up: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        let wires: Wires = Direct::ALL.map(|_| Arc::default());
        let addresses = settings.endpoints.loggers();
        let is_of_several = addresses.len() > 1 || addresses[0].name().is_some();
        let make = {
            let (settings, wires) = (settings.clone(), wires.clone());
            move |address: LoggerAddress, number| {
                Logger::new(address, number, &settings, &wires, is_of_several)
            }
        };
        let entries: Vec<Entry> = addresses.into_iter().map(|address| Entry::new(make(address, 0))).collect();
        let set = if entries.iter().any(Entry::has_name) {
            let (publish, now) = watch::channel(all_of(&entries));
            let mut looking = JoinSet::new();
            looking.spawn(keep_looking(entries, make, publish, look_up));
            Set::Changing { now, _looking: looking }
        } else {
            Set::Fixed(all_of(&entries).to_vec())
        };
        Loggers { set, wires, shown: Mutex::default() }
    }

    /// Delivers a batch, of one entry or many.
    ///
    /// # Errors
    /// What is certain of all its entries, at `until` at the latest.
    pub(crate) async fn write(
        &self,
        direct: Direct,
        batch: &Batch<LogEntry>,
        mode: BatchMode,
        until: Instant,
    ) -> Result<Receipts, Failure> {
        self.deliver(direct, batch, Way::Own(mode), until).await
    }

    /// Sends a group, and gives each of its callers what became of its entry.
    pub(crate) async fn send(&self, direct: Direct, group: Group) {
        let Group { parcels, callers, until, room, .. } = group;
        let entries: Vec<LogEntry> =
            parcels.into_iter().flat_map(|parcel| parcel.entries.into_vec()).collect();
        let batch = match Batch::try_from(entries) {
            Ok(batch) => batch,
            Err(failure) => return callers.fail(&failure),
        };
        let answer = self.deliver(direct, &batch, Way::Group, until).await;
        drop(room);
        match answer {
            Ok(Receipts { results, store_us }) => callers.answer(results.into_vec(), store_us, LOGGER),
            Err(failure) => callers.fail(&failure),
        }
    }

    /// Asks whether an entry could be stored now: by any logger.
    ///
    /// # Errors
    /// What an entry would be refused with.
    pub(crate) async fn ping(&self, direct: Direct) -> Result<(), Failure> {
        match &*self.now() {
            [only] => only.clients.ping(direct).await,
            several => {
                let asked = several.iter().map(|logger| Box::pin(logger.ping(direct)));
                select_ok(asked).await.map(|((), _)| ())
            }
        }
    }

    /// Reads from any logger: they share a store.
    ///
    /// # Errors
    /// If none can be reached.
    pub(crate) async fn read(&self, path_and_query: &str) -> Result<(u16, bytes::Bytes), Failure> {
        let loggers = self.now();
        if let [only] = &*loggers {
            return only.clients.http.read(path_and_query).await;
        }
        let at = self.choose(&loggers, Direct::Http, None).expect("without a refusal there is one");
        let answer = loggers[at].read(path_and_query).await;
        if !matches!(answer, Err(_) | Ok((UNAVAILABLE, _))) {
            return answer;
        }
        match self.choose(&loggers, Direct::Http, Some(at)) {
            Some(other) => loggers[other].read(path_and_query).await,
            None => answer,
        }
    }

    /// Whether the transport's last word was that a logger is there.
    pub(crate) fn reachable(&self, direct: Direct) -> bool {
        self.now().iter().any(|logger| logger.clients.reachable(direct))
    }

    /// Waits until each client that connects by itself has tried to, for the first time.
    pub(crate) async fn tried(&self) {
        names::tried(&self.now()).await;
    }

    /// Whether the loggers take batches, as far as is known.
    pub(crate) fn takes_batches(&self, direct: Direct) -> bool {
        self.now().iter().all(|logger| logger.clients.takes_batches(direct))
    }

    /// What passes on a transport's connections.
    pub(crate) fn wire(&self, direct: Direct) -> &Wire {
        &self.wires[direct as usize]
    }

    fn now(&self) -> Now<'_> {
        match &self.set {
            Set::Fixed(loggers) => Now::Fixed(loggers),
            Set::Changing { now, .. } => Now::Changing(Arc::clone(&now.borrow())),
        }
    }

    fn choose(&self, loggers: &[Arc<Logger>], direct: Direct, refused: Option<usize>) -> Option<usize> {
        choose(loggers.len(), |at| loggers[at].standing(direct), refused)
    }

    async fn deliver(
        &self,
        direct: Direct,
        batch: &Batch<LogEntry>,
        way: Way,
        until: Instant,
    ) -> Result<Receipts, Failure> {
        let loggers = self.now();
        match &*loggers {
            [only] => way.write(&only.clients, direct, batch, until).await,
            // Boxed, so that a call to one takes no memory for it.
            several => Box::pin(self.deliver_to_one_of(several, direct, batch, way, until)).await,
        }
    }

    async fn deliver_to_one_of(
        &self,
        loggers: &[Arc<Logger>],
        direct: Direct,
        batch: &Batch<LogEntry>,
        way: Way,
        until: Instant,
    ) -> Result<Receipts, Failure> {
        let at = self.choose(loggers, direct, None).expect("without a refusal there is one");
        let answer = loggers[at].write(direct, batch, way, until).await;
        let rest = Rest::of(&answer);
        if rest == Rest::Nothing || Instant::now() >= until {
            return answer;
        }
        let Some(other) = self.choose(loggers, direct, Some(at)) else { return answer };
        let (from, to) = (&*loggers[at].label, &*loggers[other].label);
        tracing::debug!(transport = %direct, from, to, "not stored; going on to another logger");
        metrics::failovers(direct).increment(1);
        match (rest, answer) {
            (Rest::Some(positions), Ok(receipts)) => {
                let again = match entries_at(batch, &positions) {
                    Ok(left) => loggers[other].write(direct, &left, way, until).await,
                    Err(failure) => Err(failure),
                };
                Ok(merge(receipts, &positions, again))
            }
            (Rest::All | Rest::Nothing | Rest::Some(_), _) => {
                loggers[other].write(direct, batch, way, until).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
