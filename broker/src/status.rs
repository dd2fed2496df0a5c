//! `GET /status`: how all parts are, as far as the broker sees, for the page and for people.
//!
//! `services.rs` asks the other services.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use proto::{
    Transport,
    json::{Envelope, FailureData},
    release::PROFILE,
};
use serde::Serialize;
use service::Json;
use transport::Transports;
use utoipa::ToSchema;

use crate::{
    App, consumers,
    services::{Listener, Logger, Looks, OneLogger},
};

/// How each part is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    broker: Broker,
    logger: Logger,
    /// Each logger for itself, at most 16.
    loggers: Vec<OneLogger>,
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

/// The status of the loggers, the listener, RabbitMQ and the broker itself.
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
    let Looks { logger, loggers, listener } = app.services.look(&app.transports).await;
    let draining = app.shutdown.has_begun();
    let depths = app.transports.depths();
    let status = Status {
        broker: Broker { ready: !draining, draining, profile: PROFILE },
        logger,
        loggers,
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
        let mut silent: Vec<String> = if self.logger.reachable {
            self.loggers.iter().filter(|logger| !logger.reachable).map(OneLogger::in_words).collect()
        } else {
            vec!["logger".to_owned()]
        };
        let others = [("listener", self.listener.reachable), ("RabbitMQ", self.rabbitmq.reachable)];
        silent.extend(others.iter().filter(|(_, reachable)| !reachable).map(|(name, _)| (*name).to_owned()));
        let mut said = Vec::from([match silent.join(", ") {
            none if none.is_empty() => "all answer".to_owned(),
            names => format!("no answer: {names}"),
        }]);
        let unable = self.loggers.iter().filter(|logger| logger.reachable && !logger.ready);
        let unable: Vec<String> = unable.map(OneLogger::in_words).collect();
        if !unable.is_empty() {
            said.push(format!("cannot store now: {}", unable.join(", ")));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_answer_is_named() {
        let mut status = Status {
            broker: Broker { ready: true, draining: false, profile: PROFILE },
            logger: Logger { reachable: true, ready: true, store: Some("sqlite") },
            loggers: Vec::new(),
            listener: Listener { reachable: true, consuming: true, unacked: Some(0), ..Listener::default() },
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
        let one = |address: &str, reachable| OneLogger {
            logger: address.to_owned(),
            address: address.to_owned(),
            reachable,
            ready: reachable,
            transports: BTreeMap::new(),
            store: None,
        };
        status.loggers = vec![one("one:8082", true), one("two:8082", false), one("three:8082", false)];
        assert_eq!(status.in_words(), "no answer: logger two:8082, logger three:8082");
        status.loggers[1] = OneLogger { ready: false, ..one("two:8082", true) };
        status.loggers.truncate(2);
        assert_eq!(status.in_words(), "all answer; cannot store now: logger two:8082");
        status.loggers.truncate(1);
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
}
