//! The services behind the broker, and how they are.
//!
//! Nobody who asks waits for more than a second, and however many ask, the services are asked twice a second at most.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use transport::{
    Tls,
    http::{HttpUrl, Probe},
};
use utoipa::ToSchema;

/// How long what a service has said is passed on.
const FRESH: Duration = Duration::from_millis(500);

/// The logger and the listener, and what they said last.
#[derive(Debug)]
pub(crate) struct Services {
    logger: Probe,
    listener: Probe,
    /// Locked while they are asked: whoever comes meanwhile gets the same answer.
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    logger: Logger,
    listener: Listener,
}

impl Services {
    pub(crate) fn new(logger: &HttpUrl, listener: &HttpUrl, tls: Option<&Tls>) -> Self {
        let (logger, listener) = (Probe::new(logger, tls), Probe::new(listener, tls));
        Services { logger, listener, seen: Mutex::default() }
    }

    /// What they say, or have said just now.
    pub(crate) async fn look(&self) -> (Logger, Listener) {
        let mut seen = self.seen.lock().await;
        if let Some(seen) = seen.as_ref().filter(|seen| seen.at.elapsed() < FRESH) {
            return (seen.logger, seen.listener);
        }
        let (logger, listener) = tokio::join!(
            self.logger.ask::<Ready<LoggerDetail>>(),
            self.listener.ask::<Ready<ListenerDetail>>()
        );
        let (logger, listener) =
            (logger.map(Logger::from).unwrap_or_default(), listener.map(Listener::from).unwrap_or_default());
        *seen = Some(Seen { at: Instant::now(), logger, listener });
        (logger, listener)
    }
}

#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = LoggerStatus)]
pub(crate) struct Logger {
    /// Whether it responded just now.
    pub(crate) reachable: bool,
    /// Whether it can store entries.
    pub(crate) ready: bool,
    /// The kind of its store: `sqlite`, `postgres` or `nothing`; `null` if it does not say.
    #[schema(value_type = Option<String>)]
    pub(crate) store: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = ListenerStatus)]
pub(crate) struct Listener {
    /// Whether it responded just now.
    pub(crate) reachable: bool,
    /// Whether it consumes from RabbitMQ.
    pub(crate) consuming: bool,
    /// What it waits for while it does not consume: `logger`, `rabbitmq` or `room`; `null` if it does not wait, or is
    /// unreachable.
    #[schema(value_type = Option<String>)]
    pub(crate) waiting_for: Option<&'static str>,
    /// Unacknowledged deliveries; `null` if it is unreachable.
    pub(crate) unacked: Option<u64>,
    /// Whether RabbitMQ rejects dead letters: their queue is full, or RabbitMQ has an alarm.
    pub(crate) dead_letters_refused: bool,
}

/// What a service says at `/readyz`.
#[derive(Debug, Deserialize)]
struct Ready<D> {
    ready: bool,
    detail: D,
}

/// What the logger says besides is its own affair.
#[derive(Debug, Deserialize)]
struct LoggerDetail {
    /// What an older logger does not say.
    #[serde(default)]
    store_kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ListenerDetail {
    consuming: bool,
    /// By its name of today, and by that of an older listener.
    #[serde(alias = "held_deliveries")]
    unacked_deliveries: u64,
    /// What an older listener does not say.
    #[serde(default)]
    waiting_for: Option<String>,
    #[serde(default)]
    dead_letters_refused: bool,
}

impl From<Ready<LoggerDetail>> for Logger {
    fn from(said: Ready<LoggerDetail>) -> Self {
        let known = |word: String| ["sqlite", "postgres", "nothing"].into_iter().find(|known| *known == word);
        Logger { reachable: true, ready: said.ready, store: said.detail.store_kind.and_then(known) }
    }
}

impl From<Ready<ListenerDetail>> for Listener {
    fn from(said: Ready<ListenerDetail>) -> Self {
        let ListenerDetail { consuming, unacked_deliveries, waiting_for, dead_letters_refused } = said.detail;
        let known = |word: String| ["logger", "rabbitmq", "room"].into_iter().find(|known| *known == word);
        let waiting_for = waiting_for.and_then(known);
        Listener {
            reachable: true,
            consuming,
            waiting_for,
            unacked: Some(unacked_deliveries),
            dead_letters_refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_besides_is_passed_over() {
        let said = r#"{"ready":true,"detail":{"consuming":true,"held_deliveries":7,"transport":"rpc"}}"#;
        let said: Ready<ListenerDetail> = serde_json::from_str(said).expect("the listener's /readyz");
        assert_eq!(Listener::from(said).unacked, Some(7));
        let said = r#"{"ready":false,"detail":{"store":false,"draining":false}}"#;
        let said: Ready<LoggerDetail> = serde_json::from_str(said).expect("the logger's /readyz");
        assert!(!Logger::from(said).ready);
    }
}
