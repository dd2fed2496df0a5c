//! The account of a connection: the bytes that it holds, and which side is waiting for the other.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use crate::{cut::Cut, room::Share};

/// The account of a connection. Clones share it; each request carries it as an extension.
#[derive(Debug, Clone)]
pub struct Client(Arc<Account>);

#[derive(Debug)]
struct Account {
    number: u64,
    peer: IpAddr,
    half_sent: Share,
    unread: Share,
    cut: Cut,
    /// Even while a request is waited for, odd while one is there; it only grows.
    turn: AtomicU64,
    /// How many requests are being worked on, and nothing is awaited from the client.
    working: AtomicUsize,
    /// Since when there is none, in milliseconds since `begun`.
    waits_since_ms: AtomicU64,
    begun: Instant,
}

impl Client {
    /// `begun`: of the port.
    pub(crate) fn new(
        number: u64,
        peer: IpAddr,
        half_sent: Share,
        unread: Share,
        cut: Cut,
        begun: Instant,
    ) -> Self {
        let client = Client(Arc::new(Account {
            number,
            peer,
            half_sent,
            unread,
            cut,
            turn: AtomicU64::default(),
            working: AtomicUsize::default(),
            waits_since_ms: AtomicU64::default(),
            begun,
        }));
        client.stamp();
        client
    }

    /// Which connection of the port it is.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The address at the other end.
    pub fn peer(&self) -> IpAddr {
        self.0.peer
    }

    /// Its share of the room for what has not come as a whole yet.
    pub fn half_sent(&self) -> &Share {
        &self.0.half_sent
    }

    /// Its share of the room for answers that are not read yet.
    pub(crate) fn unread(&self) -> &Share {
        &self.0.unread
    }

    /// Ends the connection, whatever it is doing.
    pub fn end(&self) {
        self.0.cut.now();
    }

    /// What ends it from outside.
    pub(crate) fn cut(&self) -> &Cut {
        &self.0.cut
    }

    /// Something is worked on for it, where requests do not come one after the other.
    pub fn working(&self) -> Working {
        Working::new(self)
    }

    /// A request is there: begins to work on it.
    pub(crate) fn begin(&self) -> Working {
        self.0.turn.fetch_or(1, Ordering::Relaxed);
        Working::new(self)
    }

    /// The request that is there is answered; the next may come.
    pub(crate) fn answered(&self) {
        self.0.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes with each request, and is odd while one is there that has no answer yet.
    pub(crate) fn turn(&self) -> u64 {
        self.0.turn.load(Ordering::Relaxed)
    }

    /// Whether it is in the middle of a request, and not between two.
    pub(crate) fn is_asking(&self) -> bool {
        !self.turn().is_multiple_of(2)
    }

    /// The rest of a request is waited for: until it is dropped, nothing is worked on.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.0.working.fetch_sub(1, Ordering::Relaxed);
        self.stamp();
        Waiting(self)
    }

    /// Since when its client is waited for, in milliseconds since the port was opened; `None` while it waits for us.
    pub(crate) fn waits_since_ms(&self) -> Option<u64> {
        let idle = self.0.working.load(Ordering::Relaxed) == 0;
        idle.then(|| self.0.waits_since_ms.load(Ordering::Relaxed))
    }

    fn stamp(&self) {
        let ms = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.waits_since_ms.store(ms, Ordering::Relaxed);
    }
}

/// Something is worked on for a client, until it is dropped.
#[derive(Debug)]
pub struct Working(Client);

impl Working {
    fn new(client: &Client) -> Self {
        client.0.working.fetch_add(1, Ordering::Relaxed);
        Working(client.clone())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.working.fetch_sub(1, Ordering::Relaxed);
        self.0.stamp();
    }
}

/// A client is waited for, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Client);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.working.fetch_add(1, Ordering::Relaxed);
    }
}
