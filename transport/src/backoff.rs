//! How long to wait before the next attempt to connect.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use proto::Failure;

/// The first wait.
const FIRST: Duration = Duration::from_millis(20);

/// The longest wait, before jitter of up to as much again: short enough that every transport is back within a
/// second of its peer.
const LONGEST: Duration = Duration::from_millis(400);

/// Waits that double from 20 ms to 400 ms, for ever, each with up to as much again of jitter, so that clients
/// who lost the same server do not return in step.
fn waits() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST)
        .with_max_delay(LONGEST)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

/// The next of `waits`, which never end.
fn next(waits: &mut ExponentialBackoff) -> Duration {
    waits.next().unwrap_or(LONGEST)
}

/// The attempts of a supervisor to connect to `peer`: how long to wait between them, and what the log is told.
pub(crate) struct Attempts {
    peer: &'static str,
    waits: ExponentialBackoff,
    failing: bool,
}

impl Attempts {
    pub(crate) fn new(peer: &'static str) -> Self {
        Attempts { peer, waits: waits(), failing: false }
    }

    /// An attempt went well.
    pub(crate) fn succeeded(&mut self) {
        tracing::info!(peer = self.peer, "connected");
        *self = Attempts::new(self.peer);
    }

    /// An attempt failed, or the connection was lost. Returns how long to wait. Of an outage, the log is told
    /// once.
    pub(crate) fn failed(&mut self, reason: &str) -> Duration {
        if self.failing {
            tracing::debug!(peer = self.peer, reason, "still not connected");
        } else {
            tracing::warn!(peer = self.peer, reason, "not connected; trying again");
        }
        self.failing = true;
        next(&mut self.waits)
    }
}

/// For clients that dial on demand: after a failed dial, calls are refused at once until the wait is over.
/// So a black hole costs one call its connect timeout, not every call.
#[derive(Debug)]
pub(crate) struct Gate {
    open: AtomicBool,
    closed: Mutex<Closed>,
}

#[derive(Debug)]
struct Closed {
    waits: ExponentialBackoff,
    until: Instant,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Gate {
            open: AtomicBool::new(true),
            closed: Mutex::new(Closed { waits: waits(), until: Instant::now() }),
        }
    }

    /// Whether the last call found its peer.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Refuses a call while the wait after a failed dial is not over.
    pub(crate) fn check(&self, place: &str) -> Result<(), Failure> {
        if !self.is_open() && Instant::now() < self.lock().until {
            return Err(Failure::unreachable(place).because("waiting to dial again"));
        }
        Ok(())
    }

    /// A dial failed.
    pub(crate) fn close(&self) {
        let mut closed = self.lock();
        // Calls that dialled at the same time count as one failure.
        if self.is_open() || closed.until <= Instant::now() {
            closed.until = Instant::now() + next(&mut closed.waits);
        }
        self.open.store(false, Ordering::Relaxed);
    }

    /// The peer answered.
    pub(crate) fn reopen(&self) {
        if !self.is_open() {
            self.lock().waits = waits();
            self.open.store(true, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Closed> {
        // Nothing in here can panic half-way, so a poisoned lock still holds a sound state.
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_end() {
        let mut waits = waits();
        for _ in 0..1_000 {
            let wait = next(&mut waits);
            assert!((FIRST..=LONGEST * 2).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn a_closed_gate_refuses_until_its_wait_is_over() {
        let gate = Gate::new();
        assert!(gate.check("it").is_ok());
        gate.close();
        assert!(!gate.is_open());
        assert!(gate.check("it").is_err());
        gate.lock().until = Instant::now();
        assert!(gate.check("it").is_ok(), "the wait is over: one may dial");
        gate.reopen();
        assert!(gate.is_open());
    }
}
