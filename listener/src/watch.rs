//! Asks RabbitMQ about our queues: how many messages are ready, for the metrics, and whether our subscription still
//! works.
//!
//! A subscription is not trusted. When the queue is deleted and redeclared under load, RabbitMQ 3.10 may not notify
//! the subscriber of the old one: either it counts no consumer on the new queue, or it counts one and delivers
//! nothing to it. The first is certain: a message on its way takes no consumer off the count, however slow the link is.
//! The second is a suspicion, which the consumer looks into on its own channel.

use std::{sync::Arc, time::Duration};

use transport::rabbitmq::{AmqpUrl, Depths};

use crate::{
    metrics::Depth,
    source::{QueueWatch, Reason},
    state::{IntakeState, State},
};

/// How often RabbitMQ is asked. Prometheus scrapes every 15 s or so; people who watch a queue drain look more often.
const INTERVAL: Duration = Duration::from_secs(2);

/// Watches for as long as it is polled, on a connection of its own: the one that consumes is closed while the logger is
/// down for long, and just then one wants to know.
pub(crate) async fn keep_watching(amqp_url: AmqpUrl, state: Arc<State>) {
    let queues = amqp_url.queues();
    let gauges = [&queues.entries, &queues.dead_letters].map(|queue| Depth::of(queue));
    loop {
        if let Err(reason) = follow(&amqp_url, &state, &gauges).await {
            tracing::debug!(reason, "queue depths are unknown");
        }
        gauges.iter().for_each(|gauge| gauge.set(None));
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Asks again and again, until there is no answer.
async fn follow(amqp_url: &AmqpUrl, state: &State, gauges: &[Depth; 2]) -> Result<(), Reason> {
    let watch = QueueWatch::open(amqp_url).await?;
    let mut last = None;
    loop {
        let before = state.intake();
        let said = watch.count().await?;
        gauges[0].set(Some(said.queue));
        gauges[1].set(Some(said.dead_letters));
        let look = Look { said, before, after: state.intake() };
        if look.is_forgotten() {
            state.set_lost(before.subscription);
        } else if last.is_some_and(|last| look.is_passed_over_since(&last)) {
            state.suspect(before);
        }
        last = Some(look);
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What RabbitMQ has said, and how we stood before and after.
#[derive(Debug, Clone, Copy)]
struct Look {
    said: Depths,
    before: IntakeState,
    after: IntakeState,
}

impl Look {
    /// Whether it does not know who is subscribed. Where it cannot ask the queue itself it says that there is nothing at all,
    /// so that is no word for it.
    fn is_forgotten(&self) -> bool {
        let subscribed = self.before.subscription;
        subscribed != 0
            && subscribed == self.after.subscription
            && self.said.queue > 0
            && self.said.consumers == 0
    }

    /// Whether messages were ready from one look to the next, and none has come to us, with none unacked: one may be on its
    /// way all the while.
    fn is_passed_over_since(&self, last: &Look) -> bool {
        let all = [last.before, last.after, self.before, self.after];
        let idle = all.iter().all(|look| look.subscription != 0 && look.unacked == 0 && *look == last.before);
        idle && last.said.queue > 0 && self.said.queue > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(queue: u32, consumers: u32, state: IntakeState) -> Look {
        Look { said: Depths { queue, consumers, dead_letters: 0 }, before: state, after: state }
    }

    #[test]
    fn a_subscription_that_is_not_known_is_forgotten() {
        let subscribed = IntakeState { subscription: 7, taken: 3, unacked: 0 };
        assert!(look(1, 0, subscribed).is_forgotten());
        assert!(!look(0, 0, subscribed).is_forgotten(), "it may not have asked the queue");
        assert!(!look(1, 1, subscribed).is_forgotten());
        assert!(!look(1, 0, IntakeState { subscription: 0, ..subscribed }).is_forgotten());
        let another = IntakeState { subscription: 8, ..subscribed };
        assert!(!Look { after: another, ..look(1, 0, subscribed) }.is_forgotten(), "it has just begun");
    }

    #[test]
    fn a_subscription_to_which_nothing_comes_while_messages_wait_is_passed_over() {
        let idle = IntakeState { subscription: 7, taken: 3, unacked: 0 };
        let first = look(1, 1, idle);
        assert!(look(2, 1, idle).is_passed_over_since(&first));
        assert!(!look(0, 1, idle).is_passed_over_since(&first), "they are gone");
        assert!(!look(2, 1, idle).is_passed_over_since(&look(0, 1, idle)), "they have just come");
        for busy in [
            IntakeState { taken: 4, ..idle },
            IntakeState { subscription: 8, ..idle },
            IntakeState { unacked: 1, ..idle },
            IntakeState { subscription: 0, ..idle },
        ] {
            assert!(!look(2, 1, busy).is_passed_over_since(&first), "{busy:?}");
        }
    }
}
