//! The health of the store, for `/readyz` and the metrics.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Written by the thread that owns the store. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Vitals(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lost: AtomicBool,
    links: AtomicU64,
    ahead_seconds: AtomicU64,
    clock: Mutex<Option<String>>,
}

impl Vitals {
    /// Whether the store's files were deleted, moved or replaced while it is open.
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// How many names the store's file has besides its own.
    pub fn other_links(&self) -> u64 {
        self.0.links.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// How many seconds the newest entry's time of storing lies ahead of the clock.
    pub fn ahead_seconds(&self) -> u64 {
        self.0.ahead_seconds.load(Ordering::Relaxed)
    }

    /// What is wrong with the clock, or was lately.
    pub fn clock_trouble(&self) -> Option<String> {
        self.0.clock.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_lost(&self, lost: bool) {
        self.0.lost.store(lost, Ordering::Relaxed);
    }

    /// Returns how many there were before.
    pub(super) fn set_links(&self, links: u64) -> u64 {
        self.0.links.swap(links, Ordering::Relaxed)
    }

    pub(super) fn set_clock(&self, ahead_seconds: u64, trouble: Option<String>) {
        self.0.ahead_seconds.store(ahead_seconds, Ordering::Relaxed);
        *self.0.clock.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}
