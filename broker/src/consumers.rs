//! Whether the queue in RabbitMQ is ours alone: another stack on the same virtual host takes half of the entries to a store
//! of its own, and nobody is told.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use transport::Transports;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long more than are expected may take from the queue before that is told: a listener whose connection was cut is there
/// twice until RabbitMQ misses its heartbeats, for 10 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// Warns in the log, once for each time that it begins.
pub(crate) async fn watch(transports: &Transports, expected: u32) -> Infallible {
    let mut strangers = Strangers::default();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let consumers = transports.depths().map(|depths| depths.consumers);
        if strangers.are_news(consumers.filter(|consumers| *consumers > expected).is_some(), Instant::now()) {
            let consumers = consumers.unwrap_or_default();
            tracing::warn!(consumers, expected, "{}", ADVICE);
        }
    }
}

/// What the log and `/status` say.
pub(crate) const ADVICE: &str = "the queue has more consumers than BROKER_LISTENERS: if one belongs to another stack, \
    entries end up in its store; give that stack its own virtual host or RABBITMQ_QUEUE (while dead letters are rejected, \
    RabbitMQ counts a consumer twice)";

/// Since when there are more than expected, and whether that was told.
#[derive(Debug, Default)]
struct Strangers {
    since: Option<Instant>,
    told: bool,
}

impl Strangers {
    fn are_news(&mut self, there: bool, now: Instant) -> bool {
        if !there {
            *self = Strangers::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let news = !self.told && now.duration_since(since) >= PATIENCE;
        self.told |= news;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told_of_once_they_stay_and_once() {
        let (mut strangers, begun) = (Strangers::default(), Instant::now());
        for (after_s, there, news) in [
            (0, true, false),
            (15, true, false),
            (20, true, true),
            (25, true, false),
            (30, false, false),
            (35, true, false),
            (50, true, false),
            (55, true, true),
        ] {
            assert_eq!(strangers.are_news(there, begun + Duration::from_secs(after_s)), news, "{after_s}");
        }
    }
}
