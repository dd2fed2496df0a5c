//! The connections of a port: how many there may be, and which is closed for a new one at the limit.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::client::Client;

/// Connections beyond the limit, for one request each: when all others are busy, a liveness probe must still be answered.
const RESERVE: usize = 16;

/// How long a connection must be idle before it may be closed for a new one.
const IDLE: Duration = Duration::from_millis(250);

/// How long a closed connection may take to end before another is closed.
const CLOSING: Duration = Duration::from_millis(50);

/// Counts the connections of a port. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    slots: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    open: Arc<Mutex<BTreeMap<u64, Client>>>,
    begun: Instant,
}

/// A connection's place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    /// Beyond the limit: for one answer.
    pub(super) reserved: bool,
    _permit: OwnedSemaphorePermit,
}

/// Keeps a connection in the list, until it is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    clients: Clients,
    number: u64,
}

impl Clients {
    pub(super) fn new(limit: usize) -> Self {
        Clients {
            slots: Arc::new(Semaphore::new(limit)),
            reserve: Arc::new(Semaphore::new(RESERVE)),
            open: Arc::default(),
            begun: Instant::now(),
        }
    }

    /// When the port was opened.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Adds a connection to those that may be closed for a new one.
    pub(super) fn list(&self, client: &Client) -> Listed {
        self.open().insert(client.number(), client.clone());
        Listed { clients: self.clone(), number: client.number() }
    }

    /// Waits for a place for a connection that is there.
    pub(super) async fn slot(&self) -> Slot {
        let permit = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
        Slot { reserved: false, _permit: permit }
    }

    /// As [`Clients::slot`], but if there is none the connection is closed that has waited for its client for longest.
    pub(super) async fn make_slot(&self) -> Slot {
        loop {
            if let Some(slot) = self.try_slot() {
                return slot;
            }
            self.close_longest_idle();
            if let Ok(slot) = timeout(CLOSING, self.slot()).await {
                return slot;
            }
        }
    }

    /// As [`Clients::make_slot`], but where none has waited the new one gets a place of the reserve.
    pub(super) async fn make_slot_or_reserved(&self) -> Slot {
        loop {
            if let Some(slot) = self.try_slot() {
                return slot;
            }
            if !self.close_longest_idle()
                && let Ok(permit) = Arc::clone(&self.reserve).try_acquire_owned()
            {
                return Slot { reserved: true, _permit: permit };
            }
            if let Ok(slot) = timeout(CLOSING, self.slot()).await {
                return slot;
            }
        }
    }

    /// Lets each of them look whether it ends.
    pub(super) fn wake(&self) {
        self.open().values().for_each(|client| client.cut().wake());
    }

    fn try_slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Slot { reserved: false, _permit: permit })
    }

    fn close_longest_idle(&self) -> bool {
        let mut open = self.open();
        let age = self.begun.elapsed();
        let idle = open.values().filter_map(|client| {
            let since_ms = client.waits_since_ms()?;
            let is_idle = age >= Duration::from_millis(since_ms) + IDLE;
            // What sends a body may still come to its end, and has cost more.
            is_idle.then(|| (client.is_asking(), since_ms, client.number()))
        });
        let Some((_, _, number)) = idle.min() else { return false };
        // No longer in the list, so that the next time it is another.
        if let Some(client) = open.remove(&number) {
            client.cut().now();
        }
        true
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Client>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.clients.open().remove(&self.number);
    }
}
