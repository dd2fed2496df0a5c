//! The clients that reach one logger in one hop, as one, and what is made of a logger that takes one entry at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::metrics::Counter;
use proto::{Batch, BatchMode, Certainty, Direct, Failure, LogEntry, Outcome, PerTransport, Transport};
use tokio::time::{Instant, timeout_at};

use crate::{
    LOGGER, Receipts, Settings, endpoints::LoggerAddress, gather::past_the_deadline, grpc::Grpc, http::Http,
    metrics, netrpc::NetRpc, receipts::NoBatchCall, rpc::Rpc, wire::Wire,
};

/// How long a logger that has no call for a batch is sent none. Another may be in its place after that.
const WITHOUT_BATCHES: Duration = Duration::from_secs(60);

/// The three clients. They connect in the background or on demand.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) http: Http,
    pub(crate) rpc: AnyRpc,
    pub(crate) grpc: Grpc,
    without_batches: PerTransport<WithoutBatches>,
}

/// The client of `rpc`, as its address has it.
#[derive(Debug)]
pub(crate) enum AnyRpc {
    Tarpc(Rpc),
    /// For a logger in Go.
    Net(NetRpc),
}

impl AnyRpc {
    fn to(logger: &LoggerAddress, settings: &Settings, wire: &Arc<Wire>) -> Self {
        if logger.rpc.is_net_rpc() {
            AnyRpc::Net(NetRpc::to(logger, settings, wire))
        } else {
            AnyRpc::Tarpc(Rpc::to(logger, settings, wire))
        }
    }

    async fn write_until(
        &self,
        batch: &Batch<LogEntry>,
        mode: BatchMode,
        until: Instant,
    ) -> Result<Receipts, Failure> {
        match self {
            AnyRpc::Tarpc(rpc) => rpc.write_until(batch, mode, until).await,
            AnyRpc::Net(rpc) => rpc.write(batch, mode).await,
        }
    }

    /// As [`Rpc::ping`].
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        match self {
            AnyRpc::Tarpc(rpc) => rpc.ping().await,
            AnyRpc::Net(rpc) => rpc.ping().await,
        }
    }

    /// As [`Rpc::reachable`].
    pub(crate) fn reachable(&self) -> bool {
        match self {
            AnyRpc::Tarpc(rpc) => rpc.reachable(),
            AnyRpc::Net(rpc) => rpc.reachable(),
        }
    }

    /// As [`Rpc::tried`].
    pub(crate) async fn tried(&self) {
        match self {
            AnyRpc::Tarpc(rpc) => rpc.tried().await,
            AnyRpc::Net(rpc) => rpc.tried().await,
        }
    }
}

/// When a peer was last found to have no call for a batch.
#[derive(Debug)]
struct WithoutBatches {
    found: Mutex<Option<Instant>>,
    count: Counter,
}

/// The bytes on the connections of each direct transport, to all loggers together.
pub(crate) type Wires = [Arc<Wire>; Direct::ALL.len()];

impl Clients {
    pub(crate) fn to(logger: &LoggerAddress, settings: &Settings, wires: &Wires) -> Self {
        let wire = |direct: Direct| &wires[direct as usize];
        Clients {
            http: Http::to(logger, settings, wire(Direct::Http)),
            rpc: AnyRpc::to(logger, settings, wire(Direct::Rpc)),
            grpc: Grpc::to(logger, settings, wire(Direct::Grpc)),
            without_batches: PerTransport::new(WithoutBatches::new),
        }
    }

    /// Whether the transport's last word was that the logger is there.
    pub(crate) fn reachable(&self, direct: Direct) -> bool {
        match direct {
            Direct::Http => self.http.reachable(),
            Direct::Rpc => self.rpc.reachable(),
            Direct::Grpc => self.grpc.reachable(),
        }
    }

    /// Asks the logger whether it could store an entry now.
    ///
    /// # Errors
    /// What an entry would be refused with.
    pub(crate) async fn ping(&self, direct: Direct) -> Result<(), Failure> {
        match direct {
            Direct::Http => self.http.ping().await,
            Direct::Rpc => self.rpc.ping().await,
            Direct::Grpc => self.grpc.ping().await,
        }
    }

    /// Whether the logger takes batches, as far as is known.
    pub(crate) fn takes_batches(&self, direct: Direct) -> bool {
        let never = direct == Direct::Rpc && matches!(self.rpc, AnyRpc::Net(_));
        !never && !self.without_batches[direct.into()].is_recent()
    }

    /// Delivers a batch, of one entry or many. To a logger that has no call for many the entries go one by one, where each
    /// may have its own result.
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
        let is_apart = mode == BatchMode::Each && batch.as_one().is_none();
        if is_apart && !self.takes_batches(direct) {
            return Ok(self.write_singly(direct, batch, until).await);
        }
        match self.call(direct, batch, mode, until).await {
            Err(failure) if failure.is_because_of::<NoBatchCall>() => {
                self.without_batches[direct.into()].found();
                match mode {
                    BatchMode::Each => Ok(self.write_singly(direct, batch, until).await),
                    BatchMode::AllOrNone => Err(failure),
                }
            }
            answer => answer,
        }
    }

    /// Delivers what has gathered, each entry for itself.
    ///
    /// # Errors
    /// What is certain of all of them, at `until` at the latest.
    pub(crate) async fn write_group(
        &self,
        direct: Direct,
        batch: &Batch<LogEntry>,
        until: Instant,
    ) -> Result<Receipts, Failure> {
        match self.write(direct, batch, BatchMode::Each, until).await {
            // A refusal of the whole has stored nothing, and says nothing of each.
            Err(failure) if failure.certainty() == Certainty::Rejected && batch.as_one().is_none() => {
                Ok(self.write_singly(direct, batch, until).await)
            }
            answer => answer,
        }
    }

    /// Sends the entries one after the other, in calls that every logger has. What finds no time any more is not sent.
    async fn write_singly(&self, direct: Direct, batch: &Batch<LogEntry>, until: Instant) -> Receipts {
        let mut results = Vec::with_capacity(batch.len());
        for entry in batch.iter() {
            results.push(self.write_single(direct, entry, until).await);
        }
        Receipts { results: results.try_into().expect("as many as the batch has"), store_us: None }
    }

    async fn write_single(
        &self,
        direct: Direct,
        entry: &LogEntry,
        until: Instant,
    ) -> Result<Outcome, Failure> {
        if Instant::now() >= until {
            return Err(Failure::overloaded(LOGGER));
        }
        let one = Batch::from(entry.clone());
        let receipts = self.call(direct, &one, BatchMode::Each, until).await?;
        receipts.results.first().clone()
    }

    /// The one place that picks a client.
    async fn call(
        &self,
        direct: Direct,
        batch: &Batch<LogEntry>,
        mode: BatchMode,
        until: Instant,
    ) -> Result<Receipts, Failure> {
        let answer = async {
            match direct {
                Direct::Http => self.http.write(batch, mode).await,
                Direct::Rpc => self.rpc.write_until(batch, mode, until).await,
                Direct::Grpc => self.grpc.write(batch, mode).await,
            }
        };
        timeout_at(until, answer).await.unwrap_or_else(|_| Err(past_the_deadline(LOGGER)))
    }
}

impl WithoutBatches {
    fn new(transport: Transport) -> Self {
        WithoutBatches { found: Mutex::new(None), count: metrics::without_batches(transport) }
    }

    fn found(&self) {
        self.count.increment(1);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_recent(&self) -> bool {
        let found = *self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.is_some_and(|at| at.elapsed() < WITHOUT_BATCHES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_without_batches_is_asked_again_after_a_minute() {
        let peer = WithoutBatches::new(Transport::Http);
        assert!(!peer.is_recent());
        peer.found();
        tokio::time::advance(WITHOUT_BATCHES - Duration::from_millis(1)).await;
        assert!(peer.is_recent());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!peer.is_recent());
    }
}
