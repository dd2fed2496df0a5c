//! A limit on bytes that the connections of a port share, such as those of half-sent bodies: at the limit the
//! connection that holds the most gives way, never a new one that wants little.
//!
//! First of all gives way a connection that has held something for a second without completing anything: one that
//! sends many messages at a time may hold much, but each only for milliseconds.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::cut::Cut;

/// A connection that has completed nothing for so long gives way first.
const STALE: Duration = Duration::from_secs(1);

/// What all connections of a port may hold together, and each alone. Clones share it.
#[derive(Debug, Clone)]
pub struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free_bytes: AtomicUsize,
    /// Maximum of one connection.
    share_bytes: usize,
    next: AtomicU64,
    shares: Mutex<BTreeMap<u64, Weak<Account>>>,
}

/// What one connection holds. Clones are the same connection's.
#[derive(Debug, Clone)]
pub struct Share(Arc<Account>);

struct Account {
    room: Room,
    number: u64,
    /// Ends the connection when it gives way, where it cannot be told otherwise.
    cut: Option<Cut>,
    held: Mutex<Holdings>,
    gave_way: Notify,
}

#[derive(Debug)]
struct Holdings {
    bytes: usize,
    /// How often the connection has given way: what it held before is no longer counted.
    ways: u64,
    /// When it last ended something, or began to hold.
    moved: Instant,
}

/// The limit is reached, and no other connection holds more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit of buffered bytes is reached")]
pub struct NoRoom;

/// Something that a connection holds, such as a body; its room is given back when it is dropped.
#[derive(Debug)]
pub struct Part {
    share: Share,
    bytes: usize,
    /// Of the connection when this began to hold something.
    ways: u64,
    /// It is not for long any more, and gives way to nobody.
    settled: bool,
}

impl Room {
    /// Room for `total_bytes`, of which one connection may hold `share_bytes`.
    pub fn new(share_bytes: usize, total_bytes: usize) -> Self {
        let free_bytes = AtomicUsize::new(total_bytes);
        Room(Arc::new(Inner {
            free_bytes,
            share_bytes,
            next: AtomicU64::default(),
            shares: Mutex::default(),
        }))
    }

    /// Maximum bytes that one connection may hold.
    pub(crate) fn share_bytes(&self) -> usize {
        self.0.share_bytes
    }

    /// The share of a connection. One with a `cut` is ended when it gives way; the parts of others are told.
    pub fn share(&self, cut: Option<Cut>) -> Share {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let held = Mutex::new(Holdings { bytes: 0, ways: 0, moved: Instant::now() });
        let account = Arc::new(Account { room: self.clone(), number, cut, held, gave_way: Notify::new() });
        lock(&self.0.shares).insert(number, Arc::downgrade(&account));
        Share(account)
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |free: usize| free.checked_sub(bytes);
        self.0.free_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.free_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Lets the one that holds most give way. Returns whether there was one that holds more than `asking` would with
    /// what it wants.
    fn make_way(&self, asking: &Account, wanted: usize) -> bool {
        let now = Instant::now();
        let shares: Vec<_> = lock(&self.0.shares).values().filter_map(Weak::upgrade).collect();
        let others = shares.iter().filter(|account| account.number != asking.number);
        let most = others.map(|account| (account.rank(now, 0), account)).max_by_key(|(rank, _)| *rank);
        match most {
            Some((rank, account)) if rank.1 > 0 && rank > asking.rank(now, wanted) => {
                account.give_way();
                true
            }
            Some(_) | None => false,
        }
    }
}

impl Share {
    /// A part of it, with nothing in it yet.
    pub fn part(&self) -> Part {
        Part { share: self.clone(), bytes: 0, ways: 0, settled: false }
    }

    /// Maximum bytes that it may hold.
    pub(crate) fn most_bytes(&self) -> usize {
        self.0.room.share_bytes()
    }

    /// Says that something goes on: it is no longer stale.
    pub(crate) fn moved(&self) {
        lock(&self.0.held).moved = Instant::now();
    }
}

impl Account {
    /// The one with the highest rank gives way first.
    fn rank(&self, now: Instant, wanted: usize) -> (bool, usize) {
        let held = lock(&self.held);
        (held.bytes > 0 && now.saturating_duration_since(held.moved) >= STALE, held.bytes + wanted)
    }

    fn give_way(&self) {
        let bytes = {
            let mut held = lock(&self.held);
            held.ways += 1;
            std::mem::take(&mut held.bytes)
        };
        // The memory is free as soon as the task has run that is woken here.
        self.room.give_back(bytes);
        self.gave_way.notify_waiters();
        if let Some(cut) = &self.cut {
            cut.now();
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        lock(&self.room.0.shares).remove(&self.number);
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("number", &self.number)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl Part {
    /// Takes room for so many bytes more. Others may have to give way.
    ///
    /// # Errors
    /// If there is none: its connection holds most, or has given way.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        if bytes == 0 {
            return Ok(());
        }
        let account = &*self.share.0;
        while !account.room.take(bytes) {
            let too_much = lock(&account.held).bytes + bytes > account.room.share_bytes();
            if too_much || self.has_given_way() || !account.room.make_way(account, bytes) {
                return Err(NoRoom);
            }
        }
        let mut held = lock(&account.held);
        if self.bytes == 0 {
            self.ways = held.ways;
        }
        if self.ways != held.ways || held.bytes + bytes > account.room.share_bytes() {
            drop(held);
            account.room.give_back(bytes);
            return Err(NoRoom);
        }
        if held.bytes == 0 {
            held.moved = Instant::now();
        }
        held.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes more room, or gives some back, so that it is for exactly so many bytes.
    ///
    /// # Errors
    /// As [`Part::grow`].
    pub fn resize(&mut self, bytes: usize) -> Result<(), NoRoom> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.shrink(self.bytes - bytes);
                Ok(())
            }
        }
    }

    /// Gives all of it back.
    pub fn empty(&mut self) {
        self.shrink(self.bytes);
    }

    /// Keeps its room until it is dropped: what it is for is there as a whole, and used at once.
    pub(crate) fn settle(&mut self) {
        let mut held = lock(&self.share.0.held);
        if self.bytes > 0 && self.ways == held.ways {
            held.bytes -= self.bytes;
            held.moved = Instant::now();
            self.settled = true;
        }
    }

    /// Waits until it has to give way.
    pub async fn gave_way(&self) {
        loop {
            // From here on it is woken, so that no change is missed.
            let changed = self.share.0.gave_way.notified();
            if self.has_given_way() {
                return;
            }
            changed.await;
        }
    }

    fn has_given_way(&self) -> bool {
        self.bytes > 0 && !self.settled && self.ways != lock(&self.share.0.held).ways
    }

    fn shrink(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        let account = &*self.share.0;
        if !self.settled {
            let mut held = lock(&account.held);
            if self.ways != held.ways {
                // It was given back when it gave way.
                return;
            }
            held.bytes -= bytes;
            held.moved = Instant::now();
        }
        account.room.give_back(bytes);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.empty();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
