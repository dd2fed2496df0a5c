//! The services behind the broker, and how they are.
//!
//! No request waits for more than a second, and however many there are, the services are asked at most twice a second.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use transport::{
    Asked, LoggerState, Tls, Transports,
    http::{HttpUrl, Probe},
};
use utoipa::ToSchema;

/// How long what a service has said is passed on.
const FRESH: Duration = Duration::from_millis(500);

/// The loggers and the listener, and what they said last.
#[derive(Debug)]
pub(crate) struct Services {
    listener: Probe,
    /// Locked while they are asked: requests that come meanwhile get the same answer.
    seen: Mutex<Option<(Instant, Looks)>>,
}

/// What they said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Looks {
    /// All loggers as one.
    pub(crate) logger: Logger,
    /// Each for itself.
    pub(crate) loggers: Vec<OneLogger>,
    pub(crate) listener: Listener,
}

impl Services {
    pub(crate) fn new(listener: &HttpUrl, tls: Option<&Tls>) -> Self {
        Services { listener: Probe::new(listener, tls), seen: Mutex::default() }
    }

    /// What they say, or have said just now.
    pub(crate) async fn look(&self, transports: &Transports) -> Looks {
        let mut seen = self.seen.lock().await;
        if let Some((_, looks)) = seen.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return looks.clone();
        }
        let (loggers, listener) = tokio::join!(
            transports.ask_loggers::<Ready<LoggerDetail>>(),
            self.listener.ask::<Ready<ListenerDetail>>()
        );
        let loggers: Vec<OneLogger> = loggers.into_iter().map(OneLogger::from).collect();
        let listener = listener.map(Listener::from).unwrap_or_default();
        let looks = Looks { logger: Logger::of(&loggers), loggers, listener };
        *seen = Some((Instant::now(), looks.clone()));
        looks
    }
}

#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = LoggerStatus)]
pub(crate) struct Logger {
    /// Whether it, or one of several, responded just now.
    pub(crate) reachable: bool,
    /// Whether it, or one of several, can store entries.
    pub(crate) ready: bool,
    /// The kind of the store: `sqlite`, `postgres` or `nothing`; `null` if it does not say.
    #[schema(value_type = Option<String>)]
    pub(crate) store: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = OneLoggerStatus)]
pub(crate) struct OneLogger {
    /// Its host and port for HTTP in the settings, as in the label `logger` of the metrics; where the name has several
    /// addresses, a number with it.
    pub(crate) logger: String,
    /// Its host and port for HTTP, or the IP address that is meant.
    pub(crate) address: String,
    /// Whether it responded just now.
    pub(crate) reachable: bool,
    /// Whether it can store entries.
    pub(crate) ready: bool,
    /// Whether it gets calls over each direct transport, as far as was last noticed.
    #[schema(value_type = BTreeMap<String, bool>)]
    pub(crate) transports: BTreeMap<&'static str, bool>,
    #[serde(skip)]
    pub(crate) store: Option<&'static str>,
}

impl OneLogger {
    pub(crate) fn in_words(&self) -> String {
        format!("logger {}", self.address)
    }
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

impl From<Asked<Ready<LoggerDetail>>> for OneLogger {
    fn from(asked: Asked<Ready<LoggerDetail>>) -> Self {
        let Asked { state: LoggerState { label, address, transports }, answer } = asked;
        let said = answer.ok();
        let known = |word: &String| ["sqlite", "postgres", "nothing"].into_iter().find(|known| known == word);
        OneLogger {
            logger: label,
            address,
            reachable: said.is_some(),
            ready: said.as_ref().is_some_and(|said| said.ready),
            transports,
            store: said.as_ref().and_then(|said| said.detail.store_kind.as_ref()).and_then(known),
        }
    }
}

impl Logger {
    /// All of them as one: what any can do.
    fn of(loggers: &[OneLogger]) -> Self {
        Logger {
            reachable: loggers.iter().any(|logger| logger.reachable),
            ready: loggers.iter().any(|logger| logger.ready),
            store: loggers.iter().find_map(|logger| logger.store),
        }
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
    use proto::Failure;

    use super::*;

    #[test]
    fn what_a_service_says_besides_is_passed_over() {
        let said = r#"{"ready":true,"detail":{"consuming":true,"held_deliveries":7,"transport":"rpc"}}"#;
        let said: Ready<ListenerDetail> = serde_json::from_str(said).expect("the listener's /readyz");
        assert_eq!(Listener::from(said).unacked, Some(7));
        let said = r#"{"ready":false,"detail":{"store":false,"draining":false}}"#;
        let said: Ready<LoggerDetail> = serde_json::from_str(said).expect("the logger's /readyz");
        assert!(!said.ready && said.detail.store_kind.is_none());
    }

    #[test]
    fn of_several_loggers_any_is_enough() {
        let one = |said: Option<&str>| {
            let state = LoggerState {
                label: "logger:8082".to_owned(),
                address: "logger:8082".to_owned(),
                transports: BTreeMap::new(),
            };
            let answer = said.map(|said| serde_json::from_str(said).expect("a /readyz"));
            OneLogger::from(Asked { state, answer: answer.ok_or(Failure::unreachable("it")) })
        };
        let well = r#"{"ready":true,"detail":{"store_kind":"postgres"}}"#;
        let unready = r#"{"ready":false,"detail":{"store_kind":"another"}}"#;
        let of = |all: &[Option<&str>]| {
            let Logger { reachable, ready, store } =
                Logger::of(&all.iter().map(|said| one(*said)).collect::<Vec<_>>());
            (reachable, ready, store)
        };
        assert_eq!(of(&[None, Some(unready), Some(well)]), (true, true, Some("postgres")));
        assert_eq!(of(&[None, Some(unready)]), (true, false, None));
        assert_eq!(of(&[None, None]), (false, false, None));
    }
}
