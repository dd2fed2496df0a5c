//! How long to wait before the next attempt to connect.

use std::{
    convert::Infallible,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use metrics::Counter;
use proto::Failure;
use tokio::{sync::Notify, time::Instant};

/// The first wait.
const FIRST: Duration = Duration::from_millis(20);

/// The longest wait, before jitter of up to as much again: short enough that every transport is back within a
/// second of its peer.
const LONGEST: Duration = Duration::from_millis(400);

/// How long a peer that is looked for may take to answer, the connection included.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits that double from a first one to a longest, for ever, each with up to as much again of jitter, so that clients
/// that lost the same server do not return in step.
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
        // What it keeps comes before what it tells, here and below.
        if self.failing {
            self.reconnects.increment(1);
        }
        (self.waits, self.failing) = (waits(), false);
        if self.quiet {
            tracing::debug!(peer = self.peer, "connected");
        } else {
            tracing::info!(peer = self.peer, "connected");
        }
    }

    /// An attempt failed, or the connection was lost. Returns how long to wait. Of an outage, the log is told
    /// once.
    pub(crate) fn failed(&mut self, reason: &str) -> Duration {
        let wait = self.waits.next_wait();
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(peer = self.peer, reason, "still not connected");
        } else if self.quiet {
            tracing::debug!(peer = self.peer, reason, "not connected; trying again");
        } else {
            tracing::warn!(peer = self.peer, reason, "not connected; trying again");
        }
        wait
    }
}

/// For clients that dial on demand: after a failed dial, calls are refused at once, with its reason, until the wait is
/// over. So a black hole costs one call its connect timeout, not every call.
#[derive(Debug)]
pub(crate) struct Gate {
    open: AtomicBool,
    closed: Mutex<Closed>,
    /// Told when it closes.
    closing: Notify,
    reconnects: Counter,
}

#[derive(Debug)]
struct Closed {
    waits: Waits,
    until: Instant,
    /// Why the last dial failed; `None` before the first that did.
    why: Option<Failure>,
}

impl Gate {
    pub(crate) fn new(reconnects: Counter) -> Self {
        Gate {
            open: AtomicBool::new(true),
            closed: Mutex::new(Closed { waits: waits(), until: Instant::now(), why: None }),
            closing: Notify::new(),
            reconnects,
        }
    }

    /// Whether the last call found its peer.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Refuses a call while the wait after a failed dial is not over, for the reason of that dial.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.is_open() {
            return Ok(());
        }
        let closed = self.lock();
        match &closed.why {
            Some(why) if Instant::now() < closed.until => Err(why.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// A dial failed.
    pub(crate) fn close(&self, why: &Failure) {
        let mut closed = self.lock();
        // Calls that dialled at the same time count as one failure.
        if self.is_open() || closed.until <= Instant::now() {
            closed.until = Instant::now() + closed.waits.next_wait();
        }
        closed.why = Some(why.clone());
        self.open.store(false, Ordering::Relaxed);
        self.closing.notify_one();
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

    /// While it is closed, looks for `place` as often as a call may dial, so that it opens though nobody calls. While it
    /// is open, sends nothing.
    pub(crate) async fn heal<F>(&self, place: &str, mut probe: impl FnMut() -> F) -> Infallible
    where
        F: Future<Output = Result<(), Failure>>,
    {
        loop {
            self.closing.notified().await;
            while !self.is_open() {
                let until = self.lock().until;
                tokio::time::sleep_until(until).await;
                // A call may have found it meanwhile.
                if self.is_open() {
                    break;
                }
                match tokio::time::timeout(PROBE_TIMEOUT, probe()).await {
                    Ok(Ok(())) => self.reopen(),
                    Ok(Err(failure)) => self.close(&failure),
                    Err(_) => self.close(&Failure::unreachable(place).because("no answer in time")),
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Closed> {
        // Nothing in here can panic half-way, so a poisoned lock still holds a sound state.
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_end() {
        let mut waits = waits();
        for _ in 0..1_000 {
            let wait = waits.next_wait();
            assert!((FIRST..=LONGEST * 2).contains(&wait), "{wait:?}");
        }
    }

    fn refused() -> Failure {
        Failure::unreachable("it").because("nobody listens")
    }

    #[test]
    fn a_closed_gate_refuses_for_the_reason_of_the_last_dial_until_its_wait_is_over() {
        let gate = Gate::new(Counter::noop());
        assert!(gate.check().is_ok());
        gate.close(&refused());
        assert!(!gate.is_open());
        // So that it holds on a busy machine.
        gate.lock().until = Instant::now() + Duration::from_secs(600);
        assert_eq!(gate.check().expect_err("it is closed").cause(), "nobody listens");
        gate.lock().until = Instant::now();
        assert!(gate.check().is_ok(), "the wait is over: one may dial");
        gate.reopen();
        assert!(gate.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_opens_without_a_call_once_its_peer_is_back_and_an_open_one_looks_for_nobody() {
        let gate = Gate::new(Counter::noop());
        let (probes, up) = (Cell::new(0), Cell::new(true));
        let probe = || {
            probes.set(probes.get() + 1);
            let up = up.get();
            async move { if up { Ok(()) } else { Err(refused()) } }
        };
        let outage = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(probes.get(), 0, "nothing is wrong");
            for round in 1..=2 {
                up.set(false);
                gate.close(&refused());
                while probes.get() < 10 * round {
                    tokio::time::sleep(LONGEST).await;
                    assert!(!gate.is_open());
                }
                up.set(true);
                while !gate.is_open() {
                    tokio::time::sleep(FIRST).await;
                }
            }
        };
        tokio::select! {
            never = gate.heal("it", probe) => match never {},
            () = outage => {}
        }
        assert!(gate.check().is_ok());
    }
}
