//! `GET /status`: how all parts are, as far as the broker sees, for the page and for people.
//!
//! Nobody who asks waits for more than a second, and however many ask, the services are asked twice a second at most.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::State;
use proto::{
    Transport,
    json::{Envelope, FailureData},
    release::PROFILE,
};
use serde::{Deserialize, Serialize};
use service::Json;
use tokio::sync::Mutex;
use transport::{
    Tls, Transports,
    http::{HttpUrl, Probe},
};
use utoipa::ToSchema;

use crate::{App, consumers};

/// How long what a service has said is passed on.
const FRESH: Duration = Duration::from_millis(500);

/// How each part is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    broker: Broker,
    logger: Logger,
    listener: Listener,
    rabbitmq: Rabbitmq,
    /// Whether each transport last found its peer up. Those that dial on demand notice an outage with the next entry, and its
    /// end by themselves.
    #[schema(value_type = BTreeMap<String, bool>)]
    transports: BTreeMap<&'static str, bool>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BrokerStatus)]
struct Broker {
    /// Whether it accepts requests.
    ready: bool,
    /// Whether it is shutting down.
    draining: bool,
    /// The Cargo profile of the build: `release`, or one that is not for measuring.
    profile: &'static str,
}

#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = LoggerStatus)]
struct Logger {
    /// Whether it responded just now.
    reachable: bool,
    /// Whether it can store entries.
    ready: bool,
}

#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = ListenerStatus)]
struct Listener {
    /// Whether it responded just now.
    reachable: bool,
    /// Whether it consumes from RabbitMQ.
    consuming: bool,
    /// What it waits for while it does not consume: `logger`, `rabbitmq` or `room`; `null` if it does not wait, or is
    /// unreachable.
    #[schema(value_type = Option<String>)]
    waiting_for: Option<&'static str>,
    /// Unacknowledged deliveries; `null` if it is unreachable.
    held: Option<u64>,
    /// Whether RabbitMQ rejects dead letters: their queue is full, or RabbitMQ has an alarm.
    dead_letters_refused: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RabbitmqStatus)]
struct Rabbitmq {
    /// Whether it accepts messages.
    reachable: bool,
    /// Messages ready in the queue; `null` if they were not counted lately.
    queue: Option<u32>,
    /// Dead letters; likewise.
    dead_letters: Option<u32>,
    /// Consumers of the queue; likewise.
    consumers: Option<u32>,
    /// Expected number of listeners (`BROKER_LISTENERS`).
    listeners: u32,
}

/// The status of the logger, the listener, RabbitMQ and the broker itself.
#[utoipa::path(
    get, path = "/status",
    responses(
        (status = 200, body = Envelope<Status>, description = "The status of all parts, up or down"),
        (status = 401, body = Envelope<FailureData>, description = "No API key, or an unknown one, where keys are required"),
        (status = 403, body = Envelope<FailureData>, description = "The key lacks the scope `read`, or the origin of the page is not allowed"),
        (status = 429, body = Envelope<FailureData>, description = "Rate limit of the key exceeded: retry later"),
    )
)]
pub async fn status(State(app): State<Arc<App>>) -> Json<Envelope<Status>> {
    let (logger, listener) = app.services.look().await;
    let draining = app.shutdown.has_begun();
    let depths = app.transports.depths();
    let status = Status {
        broker: Broker { ready: !draining, draining, profile: PROFILE },
        logger,
        listener,
        rabbitmq: Rabbitmq {
            reachable: app.transports.reachable(Transport::Rabbitmq),
            queue: depths.map(|depths| depths.queue),
            dead_letters: depths.map(|depths| depths.dead_letters),
            consumers: depths.map(|depths| depths.consumers),
            listeners: app.listeners,
        },
        transports: reachable(&app.transports),
    };
    Json(Envelope::ok(status.in_words(), status))
}

/// Of each transport whether its last word was that its peer is there.
pub(crate) fn reachable(transports: &Transports) -> BTreeMap<&'static str, bool> {
    Transport::ALL.map(|transport| (transport.as_str(), transports.reachable(transport))).into()
}

impl Status {
    fn in_words(&self) -> String {
        let parts = [
            ("logger", self.logger.reachable),
            ("listener", self.listener.reachable),
            ("RabbitMQ", self.rabbitmq.reachable),
        ];
        let silent = parts.into_iter().filter(|(_, reachable)| !reachable).map(|(name, _)| name);
        let mut said = Vec::from([match silent.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "all answer".to_owned(),
            names => format!("no answer: {names}"),
        }]);
        if self.listener.reachable && !self.listener.consuming {
            let waiting = self.listener.waiting_for.map(|what| format!(", waiting for {what}"));
            said.push(format!("the listener is not consuming{}", waiting.unwrap_or_default()));
        }
        if self.listener.dead_letters_refused {
            said.push(
                "dead letters are rejected: if their queue is full, free it with `fourwire dead`".to_owned(),
            );
        }
        let more = self.rabbitmq.consumers.is_some_and(|consumers| consumers > self.rabbitmq.listeners);
        // RabbitMQ counts a consumer that was cancelled until all that it took is acknowledged, and a dead letter waits.
        if more && !self.listener.dead_letters_refused {
            said.push(consumers::ADVICE.to_owned());
        }
        said.join("; ")
    }
}

/// The services behind the broker, and what they said last.
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

    async fn look(&self) -> (Logger, Listener) {
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

/// What a service says at `/readyz`.
#[derive(Debug, Deserialize)]
struct Ready<D> {
    ready: bool,
    detail: D,
}

/// What the logger says besides is its own affair.
#[derive(Debug, Deserialize)]
struct LoggerDetail {}

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
        Logger { reachable: true, ready: said.ready }
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
            held: Some(unacked_deliveries),
            dead_letters_refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_answer_is_named() {
        let mut status = Status {
            broker: Broker { ready: true, draining: false, profile: PROFILE },
            logger: Logger { reachable: true, ready: true },
            listener: Listener { reachable: true, consuming: true, held: Some(0), ..Listener::default() },
            rabbitmq: Rabbitmq {
                reachable: true,
                queue: Some(0),
                dead_letters: Some(0),
                consumers: Some(1),
                listeners: 1,
            },
            transports: BTreeMap::new(),
        };
        assert_eq!(status.in_words(), "all answer");
        status.logger = Logger::default();
        status.rabbitmq.reachable = false;
        assert_eq!(status.in_words(), "no answer: logger, RabbitMQ");
        status.listener = Listener { consuming: false, waiting_for: Some("logger"), ..status.listener };
        let words = status.in_words();
        assert_eq!(words, "no answer: logger, RabbitMQ; the listener is not consuming, waiting for logger");
        status.listener.dead_letters_refused = true;
        status.rabbitmq.consumers = Some(2);
        let words = status.in_words();
        assert!(words.contains("fourwire dead") && !words.contains("BROKER_LISTENERS"), "{words}");
        status.listener.dead_letters_refused = false;
        let words = status.in_words();
        assert!(!words.contains("fourwire dead") && words.contains("BROKER_LISTENERS"), "{words}");
    }

    #[test]
    fn what_a_service_says_besides_is_passed_over() {
        let said = r#"{"ready":true,"detail":{"consuming":true,"held_deliveries":7,"transport":"rpc"}}"#;
        let said: Ready<ListenerDetail> = serde_json::from_str(said).expect("the listener's /readyz");
        assert_eq!(Listener::from(said).held, Some(7));
        let said = r#"{"ready":false,"detail":{"store":false,"draining":false}}"#;
        let said: Ready<LoggerDetail> = serde_json::from_str(said).expect("the logger's /readyz");
        assert!(!Logger::from(said).ready);
    }
}
