//! The state of the listener, for `/readyz` and the metrics, and the count of its unacked deliveries.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use proto::Transport;
use service::health::Readiness;
use tokio::sync::watch;
use transport::Transports;

use crate::{metrics, source::Delivery};

/// About what a delivery takes in memory besides its body.
const DELIVERY_BYTES: usize = 1024;

/// Why no deliveries are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The logger could store none.
    Logger,
    /// RabbitMQ is not there, or has lost the subscription.
    Rabbitmq,
    /// As much is unacked as may be.
    Room,
}

impl Waiting {
    const fn as_str(self) -> &'static str {
        match self {
            Waiting::Logger => "logger",
            Waiting::Rabbitmq => "rabbitmq",
            Waiting::Room => "room",
        }
    }
}

/// Written by the tasks that take and settle deliveries, read by the health endpoints.
#[derive(Debug)]
pub(crate) struct State {
    /// `None`: they are being taken.
    waiting: Mutex<Option<Waiting>>,
    unacked: AtomicUsize,
    unacked_bytes: AtomicUsize,
    /// How many of them wait among the dead letters.
    unacked_dead: AtomicUsize,
    /// How many have been taken, ever.
    taken: AtomicU64,
    dead_letters_refused: watch::Sender<bool>,
    dead_letter_queue: String,
    /// How many subscriptions there have been, and the number of the present one; 0: there is none.
    subscriptions: AtomicU64,
    subscription: AtomicU64,
    /// The last one that RabbitMQ does not know.
    lost: watch::Sender<u64>,
    /// How the taking stood when messages had been ready for a while, and none had come.
    suspicion: watch::Sender<Option<IntakeState>>,
    transports: Arc<Transports>,
    transport: Transport,
}

impl State {
    pub(crate) fn new(transports: Arc<Transports>, transport: Transport, dead_letter_queue: String) -> Self {
        State {
            waiting: Mutex::new(Some(Waiting::Logger)),
            unacked: AtomicUsize::new(0),
            unacked_bytes: AtomicUsize::new(0),
            unacked_dead: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            dead_letters_refused: watch::channel(false).0,
            dead_letter_queue,
            subscriptions: AtomicU64::new(0),
            subscription: AtomicU64::new(0),
            lost: watch::channel(0).0,
            suspicion: watch::channel(None).0,
            transports,
            transport,
        }
    }

    /// Deliveries are being taken from RabbitMQ, or are not, and why.
    pub(crate) fn set_waiting(&self, waiting: Option<Waiting>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }

    fn waiting(&self) -> Option<Waiting> {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// RabbitMQ has said that there is a subscription now.
    pub(crate) fn begin_subscription(&self) {
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed) + 1;
        self.subscription.store(number, Ordering::Release);
        self.set_waiting(None);
    }

    /// There is none any more, or soon will not be.
    pub(crate) fn end_subscription(&self) {
        self.subscription.store(0, Ordering::Release);
    }

    /// The number of the present subscription; 0: there is none.
    pub(crate) fn subscription(&self) -> u64 {
        self.subscription.load(Ordering::Acquire)
    }

    /// How the taking of deliveries stands. While dead letters are refused, those that wait do not count: they may for
    /// hours, and are of another subscription, for each ends when it has some.
    pub(crate) fn intake(&self) -> IntakeState {
        let (unacked, dead) =
            (self.unacked.load(Ordering::Relaxed), self.unacked_dead.load(Ordering::Relaxed));
        let waiting_dead = if self.dead_letters_refused() { dead } else { 0 };
        IntakeState {
            subscription: self.subscription(),
            taken: self.taken.load(Ordering::Relaxed),
            unacked: unacked.saturating_sub(waiting_dead),
        }
    }

    /// RabbitMQ does not know that subscription.
    pub(crate) fn set_lost(&self, subscription: u64) {
        self.lost.send_replace(subscription);
    }

    /// Returns once RabbitMQ does not know the present subscription.
    pub(crate) async fn lost(&self) {
        let present = |lost: &u64| *lost != 0 && *lost == self.subscription();
        // Its sender lives as long as this.
        let _ = self.lost.subscribe().wait_for(present).await;
    }

    /// Messages have been ready for a while, and none has come: the subscription may be lost, or one is on its way.
    pub(crate) fn suspect(&self, stood: IntakeState) {
        self.suspicion.send_replace(Some(stood));
    }

    /// Returns once that is so, and nothing has come since; says how the taking stands.
    pub(crate) async fn suspicion(&self) -> IntakeState {
        let still = |stood: &Option<IntakeState>| *stood == Some(self.intake());
        // As above.
        let _ = self.suspicion.subscribe().wait_for(still).await;
        self.intake()
    }

    /// Whether the queue of the dead letters takes none.
    pub(crate) fn set_dead_letters_refused(&self, refused: bool) {
        self.dead_letters_refused.send_replace(refused);
    }

    pub(crate) fn dead_letters_refused(&self) -> bool {
        *self.dead_letters_refused.borrow()
    }

    /// Tells each time that they begin to be refused from now on.
    pub(crate) fn refusals(&self) -> Refusals {
        Refusals(self.dead_letters_refused.subscribe())
    }

    /// The memory that all unacked deliveries take, about.
    pub(crate) fn unacked_bytes(&self) -> usize {
        self.unacked_bytes.load(Ordering::Relaxed)
    }

    /// Sets the gauges of the metrics.
    pub(crate) fn set_gauges(&self) {
        let unacked = (self.unacked.load(Ordering::Relaxed), self.unacked_bytes());
        metrics::set_gauges(unacked, self.waiting().is_none(), self.dead_letters_refused());
        self.transports.set_gauges(self.transport);
    }

    pub(crate) fn readiness(&self, draining: bool) -> Readiness {
        let waiting = self.waiting();
        Readiness {
            ready: !draining,
            detail: serde_json::json!({
                "draining": draining,
                "consuming": waiting.is_none(),
                "waiting_for": waiting.map(Waiting::as_str),
                "unacked_deliveries": self.unacked.load(Ordering::Relaxed),
                "unacked_bytes": self.unacked_bytes(),
                "dead_letters_refused": self.dead_letters_refused(),
                "dead_letter_queue": self.dead_letter_queue,
                "transport": self.transport,
                "logger_reachable": self.transports.reachable(self.transport),
                "loggers": self.transports.loggers(),
            }),
        }
    }
}

/// Tells that the dead letters are refused.
#[derive(Debug)]
pub(crate) struct Refusals(watch::Receiver<bool>);

impl Refusals {
    /// Returns once they begin to be. May be given up and called again.
    pub(crate) async fn begin(&mut self) {
        while self.0.changed().await.is_ok() {
            if *self.0.borrow_and_update() {
                return;
            }
        }
        // The state lives as long as the task that takes deliveries.
        std::future::pending().await
    }
}

/// How the taking of deliveries stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IntakeState {
    /// The number of the subscription; 0: there is none.
    pub(crate) subscription: u64,
    /// How many have been taken, ever.
    pub(crate) taken: u64,
    /// How many are unacked, without those that wait among the dead letters for room.
    pub(crate) unacked: usize,
}

/// A delivery that counts as unacked until it is let go: acknowledged, or RabbitMQ has it back.
#[derive(Debug)]
pub(crate) struct Unacked {
    delivery: Delivery,
    is_dead: bool,
    state: Arc<State>,
}

impl Unacked {
    pub(crate) fn new(delivery: Delivery, state: &Arc<State>) -> Self {
        state.taken.fetch_add(1, Ordering::Relaxed);
        state.unacked.fetch_add(1, Ordering::Relaxed);
        state.unacked_bytes.fetch_add(delivery.body().len() + DELIVERY_BYTES, Ordering::Relaxed);
        Unacked { delivery, is_dead: false, state: Arc::clone(state) }
    }

    /// It waits among the dead letters from here on.
    pub(crate) fn set_dead(&mut self) {
        if !std::mem::replace(&mut self.is_dead, true) {
            self.state.unacked_dead.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Deref for Unacked {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

impl Drop for Unacked {
    fn drop(&mut self) {
        self.state.unacked_dead.fetch_sub(usize::from(self.is_dead), Ordering::Relaxed);
        self.state.unacked.fetch_sub(1, Ordering::Relaxed);
        self.state.unacked_bytes.fetch_sub(self.delivery.body().len() + DELIVERY_BYTES, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn state() -> Arc<State> {
        let transports = Transports::new(&transport::Settings {
            endpoints: transport::Endpoints {
                logger_http_url: "http://127.0.0.1:1".parse().expect("a URL"),
                logger_rpc_addr: "127.0.0.1:1".parse().expect("an address"),
                logger_grpc_url: "http://127.0.0.1:1".parse().expect("a URL"),
            },
            amqp_url: None,
            tls: None,
            coalesce: true,
            deadline: Duration::from_secs(1),
            came_by: None,
        });
        Arc::new(State::new(Arc::new(transports), Transport::Http, "logs.dead".to_owned()))
    }

    #[tokio::test]
    async fn dead_letters_that_wait_for_room_do_not_hide_that_nothing_else_is_unacked() {
        let state = state();
        let unacked = || Unacked::new(Delivery::mock(9, false, None), &state);
        let (mut dead, good) = (unacked(), unacked());
        dead.set_dead();
        assert_eq!(state.intake().unacked, 2, "it is about to be published");
        state.set_dead_letters_refused(true);
        assert_eq!(state.intake().unacked, 1);
        drop(good);
        assert_eq!(state.intake().unacked, 0);
        drop(dead);
        state.set_dead_letters_refused(false);
        assert_eq!((state.intake().unacked, state.unacked_bytes()), (0, 0));
    }

    #[tokio::test]
    async fn a_suspicion_holds_until_something_comes() {
        let state = state();
        let suspected = || futures_util::FutureExt::now_or_never(state.suspicion());
        state.begin_subscription();
        let stood = state.intake();
        assert_eq!(suspected(), None);
        state.suspect(stood);
        assert_eq!(suspected(), Some(stood));
        drop(Unacked::new(Delivery::mock(9, false, None), &state));
        assert_eq!(suspected(), None, "it was on its way");
    }

    #[tokio::test]
    async fn each_time_that_dead_letters_begin_to_be_refused_is_told_once() {
        let state = state();
        let mut refusals = state.refusals();
        for _ in 0..2 {
            state.set_dead_letters_refused(true);
            refusals.begin().await;
            assert!(futures_util::FutureExt::now_or_never(refusals.begin()).is_none());
            state.set_dead_letters_refused(false);
            assert!(futures_util::FutureExt::now_or_never(refusals.begin()).is_none());
        }
    }
}
