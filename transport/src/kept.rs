//! A few connections to the logger that are kept open, for protocols that neither reconnect nor ping by themselves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proto::{Failure, Transport};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, LOGGER, Settings,
    address::RpcAddr,
    backoff::Attempts,
    connection::{Connection, NOT_YET},
    dial::Dialer,
    endpoints::LoggerAddress,
    metrics::reconnects,
    tls::Protocol,
    wire::Wire,
};

/// Connections to the logger. Two, so that one large batch does not hold up every other call.
const CONNECTIONS: usize = 2;

/// What drives a connection; it ends when the connection does, with the reason.
pub(crate) type Driver = JoinSet<String>;

/// The logger at the other end of an open connection.
pub(crate) trait Peer: Clone + Send + Sync + Sized + 'static {
    /// Opens a connection.
    ///
    /// # Errors
    /// Why there is none.
    fn dial(
        dialer: &Dialer,
        address: &RpcAddr,
    ) -> impl Future<Output = Result<(Self, Driver), String>> + Send;

    /// Whether an answer comes in time, whatever it is.
    fn is_alive(&self, limit: Duration) -> impl Future<Output = bool> + Send;
}

/// The connections, each made again when it is lost, and dropped with this.
#[derive(Debug)]
pub(crate) struct Kept<P> {
    connections: Vec<watch::Receiver<Connection<P>>>,
    turn: AtomicUsize,
    dialer: Dialer,
    address: RpcAddr,
    _supervisors: JoinSet<()>,
}

impl<P: Peer> Kept<P> {
    /// Dials in the background, again and again.
    pub(crate) fn new(logger: &LoggerAddress, settings: &Settings, wire: &Arc<Wire>) -> Self {
        let dialer = Dialer::new(settings.tls.as_ref(), Protocol::Rpc).counting(wire).to(logger.ip);
        let address = &logger.rpc;
        let mut supervisors = JoinSet::new();
        let connections = (0..CONNECTIONS).map(|_| {
            let (publish, connection) = watch::channel(Connection::Connecting);
            supervisors.spawn(keep_connected(dialer.clone(), address.clone(), publish, Arc::clone(wire)));
            connection
        });
        Kept {
            connections: connections.collect(),
            turn: AtomicUsize::new(0),
            dialer,
            address: address.clone(),
            _supervisors: supervisors,
        }
    }

    /// The next in turn that is open.
    ///
    /// # Errors
    /// If none is: why the last one was lost.
    pub(crate) fn next(&self) -> Result<P, Failure> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut lost = None;
        for offset in 0..CONNECTIONS {
            match &*self.connections[turn.wrapping_add(offset) % CONNECTIONS].borrow() {
                Connection::Up(peer) => return Ok(peer.clone()),
                Connection::Down(reason) => lost = Some(reason.clone()),
                Connection::Connecting => {}
            }
        }
        Err(Failure::unreachable(LOGGER).because(lost.unwrap_or_else(|| NOT_YET.to_owned())))
    }

    /// Another connection, which is not kept.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn another(&self) -> Result<(P, Driver), String> {
        P::dial(&self.dialer, &self.address).await
    }

    /// Whether one is open.
    pub(crate) fn reachable(&self) -> bool {
        self.connections.iter().any(|connection| connection.borrow().is_up())
    }

    /// Waits until each is there, or could not be made at the first attempt.
    pub(crate) async fn tried(&self) {
        for connection in &self.connections {
            // Without its supervisor, which ends with this alone, there would be no more attempts.
            let _ = connection.clone().wait_for(Connection::was_tried).await;
        }
    }
}

/// Dials, publishes the connection, waits until it is lost, and begins again.
async fn keep_connected<P: Peer>(
    dialer: Dialer,
    address: RpcAddr,
    publish: watch::Sender<Connection<P>>,
    wire: Arc<Wire>,
) {
    let mut attempts = Attempts::new(LOGGER, reconnects(Transport::Rpc));
    loop {
        let reason = match P::dial(&dialer, &address).await {
            Ok((peer, driver)) => {
                attempts.succeeded();
                publish.send_modify(|connection| *connection = Connection::Up(peer.clone()));
                lost(peer, driver, &wire).await
            }
            Err(reason) => reason,
        };
        publish.send_modify(|connection| *connection = Connection::Down(reason.clone()));
        tokio::time::sleep(attempts.failed(&reason)).await;
    }
}

/// Waits until the connection ends, or stays silent for too long; says why.
async fn lost<P: Peer>(peer: P, mut driver: Driver, wire: &Wire) -> String {
    let silent = async {
        loop {
            tokio::time::sleep(KEEPALIVE_INTERVAL).await;
            // Its bytes are nobody else's.
            let _call = wire.call();
            if !peer.is_alive(KEEPALIVE_TIMEOUT).await {
                return "no answer to keepalive".to_owned();
            }
        }
    };
    tokio::select! {
        ended = driver.join_next() => {
            ended.map_or_else(|| "closed".to_owned(), |ended| ended.unwrap_or_else(|error| error.to_string()))
        }
        reason = silent => reason,
    }
}
