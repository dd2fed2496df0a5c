//! What `/readyz` and `/metrics` say of the listener.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use proto::Transport;
use service::health::Readiness;
use transport::Transports;

use crate::metrics;

/// Shared between the consumer, which writes it, and the health addresses, which read it.
#[derive(Debug)]
pub(crate) struct State {
    consuming: AtomicBool,
    held: AtomicUsize,
    transports: Arc<Transports>,
    transport: Transport,
}

impl State {
    pub(crate) fn new(transports: Arc<Transports>, transport: Transport) -> Self {
        State { consuming: AtomicBool::new(false), held: AtomicUsize::new(0), transports, transport }
    }

    /// Whether deliveries are being taken from RabbitMQ.
    pub(crate) fn set_consuming(&self, consuming: bool) {
        self.consuming.store(consuming, Ordering::Relaxed);
    }

    /// How many deliveries RabbitMQ has handed over that are not acknowledged yet.
    pub(crate) fn set_held(&self, deliveries: usize) {
        self.held.store(deliveries, Ordering::Relaxed);
    }

    /// Sets the gauges of the metrics.
    pub(crate) fn set_gauges(&self) {
        metrics::set_gauges(self.held.load(Ordering::Relaxed), self.consuming.load(Ordering::Relaxed));
        self.transports.set_gauges(self.transport);
    }

    pub(crate) fn readiness(&self, draining: bool) -> Readiness {
        Readiness {
            ready: !draining,
            detail: serde_json::json!({
                "draining": draining,
                "consuming": self.consuming.load(Ordering::Relaxed),
                "held_deliveries": self.held.load(Ordering::Relaxed),
                "transport": self.transport,
                "logger_reachable": self.transports.reachable(self.transport),
            }),
        }
    }
}
