//! How long to wait before the next attempt to connect.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use metrics::Counter;
use proto::Failure;

/// The first wait.
const FIRST: Duration = Duration::from_millis(20);

/// The longest wait, before jitter of up to as much again: short enough that every transport is back within a
/// second of its peer.
const LONGEST: Duration = Duration::from_millis(400);

/// Waits that double from a first one to a longest, for ever, each with up to as much again of jitter, so that clients
/// who lost the same server do not return in step.
#[derive(Debug)]
pub struct Waits {
    waits: ExponentialBackoff,
    longest: Duration,
}

impl Waits {
    /// From the beginning.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times()
            .build();
        Waits { waits, longest }
    }

    /// The next one.
    pub fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.longest)
    }
}

/// From 20 ms to 400 ms.
fn waits() -> Waits {
    Waits::new(FIRST, LONGEST)
}

/// The attempts of a supervisor to connect to `peer`: how long to wait between them, and what the log is told.
pub(crate) struct Attempts {
    peer: &'static str,
    waits: Waits,
    failing: bool,
    reconnects: Counter,
    /// One of many to the same peer: what each meets is no news.
    quiet: bool,
}

impl Attempts {
    pub(crate) fn new(peer: &'static str, reconnects: Counter) -> Self {
        Attempts { peer, waits: waits(), failing: false, reconnects, quiet: false }
    }

    /// Of which the log has lines at `debug` alone, and which nothing counts.
    pub(crate) fn quiet(peer: &'static str) -> Self {
        Attempts { quiet: true, ..Attempts::new(peer, Counter::noop()) }
    }

    /// Whether the last one failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing
    }

    /// An attempt went well.
    pub(crate) fn succeeded(&mut self) {
        match self.quiet {
            true => tracing::debug!(peer = self.peer, "connected"),
            false => tracing::info!(peer = self.peer, "connected"),
        }
        if self.failing {
            self.reconnects.increment(1);
        }
        (self.waits, self.failing) = (waits(), false);
    }

    /// An attempt failed, or the connection was lost. Returns how long to wait. Of an outage, the log is told
    /// once.
    pub(crate) fn failed(&mut self, reason: &str) -> Duration {
        match (self.failing, self.quiet) {
            (true, _) => tracing::debug!(peer = self.peer, reason, "still not connected"),
            (false, true) => tracing::debug!(peer = self.peer, reason, "not connected; trying again"),
            (false, false) => tracing::warn!(peer = self.peer, reason, "not connected; trying again"),
        }
        self.failing = true;
        self.waits.next_wait()
    }
}

/// For clients that dial on demand: after a failed dial, calls are refused at once until the wait is over.
/// So a black hole costs one call its connect timeout, not every call.
#[derive(Debug)]
pub(crate) struct Gate {
    open: AtomicBool,
    closed: Mutex<Closed>,
    reconnects: Counter,
}

#[derive(Debug)]
struct Closed {
    waits: Waits,
    until: Instant,
}

impl Gate {
    pub(crate) fn new(reconnects: Counter) -> Self {
        Gate {
            open: AtomicBool::new(true),
            closed: Mutex::new(Closed { waits: waits(), until: Instant::now() }),
            reconnects,
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
            closed.until = Instant::now() + closed.waits.next_wait();
        }
        self.open.store(false, Ordering::Relaxed);
    }

    /// The peer answered.
    pub(crate) fn reopen(&self) {
        if self.is_open() {
            return;
        }
        let mut closed = self.lock();
        closed.waits = waits();
        // Of those that saw it closed at the same time, one has opened it.
        if !self.open.swap(true, Ordering::Relaxed) {
            self.reconnects.increment(1);
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
            let wait = waits.next_wait();
            assert!((FIRST..=LONGEST * 2).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn a_closed_gate_refuses_until_its_wait_is_over() {
        let gate = Gate::new(Counter::noop());
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
