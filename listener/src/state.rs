//! What `/readyz` and `/metrics` say of the listener, and what it holds.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use lapin::message::Delivery;
use proto::Transport;
use service::health::Readiness;
use tokio::sync::watch;
use transport::Transports;

use crate::metrics;

/// About what a delivery takes in memory besides its body.
const DELIVERY_BYTES: usize = 1024;

/// Why no deliveries are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The logger could store none.
    Logger,
    /// RabbitMQ is not there, or has lost the subscription.
    Rabbitmq,
    /// As much is held as there may be.
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

/// Shared between those who take, hold and settle deliveries, who write it, and the health addresses, which read it.
#[derive(Debug)]
pub(crate) struct State {
    /// `None`: they are being taken.
    waiting: Mutex<Option<Waiting>>,
    held: AtomicUsize,
    held_bytes: AtomicUsize,
    /// How many have been taken, ever.
    taken: AtomicU64,
    dead_letters_refused: AtomicBool,
    dead_letter_queue: String,
    /// How many subscriptions there have been, and the number of the present one; 0: there is none.
    subscriptions: AtomicU64,
    subscription: AtomicU64,
    /// The last one that RabbitMQ does not know, or delivers nothing to.
    lost: watch::Sender<u64>,
    transports: Arc<Transports>,
    transport: Transport,
}

impl State {
    pub(crate) fn new(transports: Arc<Transports>, transport: Transport, dead_letter_queue: String) -> Self {
        State {
            waiting: Mutex::new(Some(Waiting::Logger)),
            held: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            dead_letters_refused: AtomicBool::new(false),
            dead_letter_queue,
            subscriptions: AtomicU64::new(0),
            subscription: AtomicU64::new(0),
            lost: watch::channel(0).0,
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

    /// How the taking of deliveries stands.
    pub(crate) fn intake(&self) -> IntakeState {
        IntakeState {
            subscription: self.subscription(),
            taken: self.taken.load(Ordering::Relaxed),
            held: self.held.load(Ordering::Relaxed),
        }
    }

    /// RabbitMQ does not know that subscription, or delivers nothing to it.
    pub(crate) fn set_lost(&self, subscription: u64) {
        self.lost.send_replace(subscription);
    }

    /// Returns once RabbitMQ does not know the present subscription, or delivers nothing to it.
    pub(crate) async fn lost(&self) {
        let present = |lost: &u64| *lost != 0 && *lost == self.subscription();
        // Its sender lives as long as this.
        let _ = self.lost.subscribe().wait_for(present).await;
    }

    /// Whether the queue of the dead letters takes none.
    pub(crate) fn set_dead_letters_refused(&self, refused: bool) {
        self.dead_letters_refused.store(refused, Ordering::Relaxed);
    }

    pub(crate) fn dead_letters_refused(&self) -> bool {
        self.dead_letters_refused.load(Ordering::Relaxed)
    }

    /// The memory that all held deliveries take, about.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Sets the gauges of the metrics.
    pub(crate) fn set_gauges(&self) {
        let held = (self.held.load(Ordering::Relaxed), self.held_bytes());
        metrics::set_gauges(held, self.waiting().is_none(), self.dead_letters_refused());
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
                "held_deliveries": self.held.load(Ordering::Relaxed),
                "held_bytes": self.held_bytes(),
                "dead_letters_refused": self.dead_letters_refused(),
                "dead_letter_queue": self.dead_letter_queue,
                "transport": self.transport,
                "logger_reachable": self.transports.reachable(self.transport),
            }),
        }
    }
}

/// How the taking of deliveries stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IntakeState {
    /// The number of the subscription; 0: there is none.
    pub(crate) subscription: u64,
    /// How many have been taken, ever.
    pub(crate) taken: u64,
    /// How many are held.
    pub(crate) held: usize,
}

/// A delivery that counts as held until it is let go: acknowledged, or RabbitMQ has it back.
#[derive(Debug)]
pub(crate) struct Held {
    delivery: Delivery,
    state: Arc<State>,
}

impl Held {
    pub(crate) fn new(delivery: Delivery, state: &Arc<State>) -> Self {
        state.taken.fetch_add(1, Ordering::Relaxed);
        state.held.fetch_add(1, Ordering::Relaxed);
        state.held_bytes.fetch_add(delivery.data.len() + DELIVERY_BYTES, Ordering::Relaxed);
        Held { delivery, state: Arc::clone(state) }
    }
}

impl Deref for Held {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.held.fetch_sub(1, Ordering::Relaxed);
        self.state.held_bytes.fetch_sub(self.delivery.data.len() + DELIVERY_BYTES, Ordering::Relaxed);
    }
}
