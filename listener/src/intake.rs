//! What RabbitMQ hands over: subscribes to it, bounds it, and cuts it into batches.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use proto::limits::BODY_BYTES;

use crate::{
    consume::Reason,
    pace::{HELD_BYTES, Pace},
    state::{Held, State, Waiting},
};

/// Most bytes of a batch: half of what the logger takes in one request, since an entry grows on the wire.
const BATCH_BYTES: usize = BODY_BYTES / 2;

/// From this many lost deliveries on, a message is handled alone: if it is what kills the listener, it shall
/// not take its neighbours along to the dead letters.
const SUSPECT_DELIVERIES: i64 = 2;

/// How often it is looked whether the channel is still there, while nothing is subscribed that would say so.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Deliveries, as many at a time as have gathered. All that RabbitMQ hands over are taken at once, since nobody can count
/// what waits inside of lapin. The prefetch bounds them.
pub(crate) struct Intake {
    channel: Channel,
    queue: String,
    /// Most deliveries of a batch.
    limit: usize,
    pace: Pace,
    subscription: Option<Subscription>,
    /// In the order in which they came: what is acknowledged together came together.
    waiting: VecDeque<Held>,
    state: Arc<State>,
}

struct Subscription {
    consumer: lapin::Consumer,
    /// It was cancelled: what was under way then still comes.
    ending: bool,
}

impl Intake {
    /// Takes nothing yet. `prefetch` is the most that may be under way.
    pub(crate) fn new(channel: Channel, queue: &str, prefetch: u16, state: Arc<State>) -> Self {
        Intake {
            channel,
            queue: queue.to_owned(),
            limit: usize::from((prefetch / 2).max(1)),
            pace: Pace::new(prefetch),
            subscription: None,
            waiting: VecDeque::new(),
            state,
        }
    }

    /// Whether nothing waits, and nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        self.subscription.is_none() && self.waiting.is_empty()
    }

    /// Subscribes, with a prefetch of its own: RabbitMQ keeps one for each subscription, for as long as that lasts. Not to
    /// be given up half-way, or the deliveries would come to nobody.
    ///
    /// # Errors
    /// If RabbitMQ refuses, or the connection is lost.
    pub(crate) async fn subscribe(&mut self) -> Result<u16, lapin::Error> {
        let prefetch = self.pace.prefetch();
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions { no_ack: false, ..BasicConsumeOptions::default() };
        let queue = self.queue.as_str().into();
        let consumer = self.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        self.subscription = Some(Subscription { consumer, ending: false });
        self.state.begin_subscription();
        Ok(prefetch)
    }

    /// Takes no more: what has been handed over stays here, and costs no delivery.
    pub(crate) fn end(&mut self) {
        let Some(subscription) = self.subscription.as_mut().filter(|subscription| !subscription.ending)
        else {
            return;
        };
        subscription.ending = true;
        self.state.end_subscription();
        let cancelled = self.channel.basic_cancel(subscription.consumer.tag(), BasicCancelOptions::default());
        // It leaves at once; RabbitMQ's answer ends the consumer's stream, as an error does.
        let _ = cancelled.now_or_never();
    }

    /// As [`Intake::end`], for a reason that lasts: what comes then begins with one delivery at a time.
    pub(crate) fn pause(&mut self, waiting: Waiting) {
        self.end();
        self.pace.begin();
        self.state.set_waiting(Some(waiting));
    }

    /// Waits for a delivery, and takes what has gathered behind it; nothing if nothing more comes.
    ///
    /// # Errors
    /// If the subscription or the connection was lost.
    pub(crate) async fn next(&mut self) -> Result<Vec<Held>, Reason> {
        while self.waiting.is_empty() && self.subscription.is_some() {
            self.take().await?;
        }
        while let Some(taken) = self.take().now_or_never() {
            taken?;
        }
        let len = batch_len(self.waiting.iter().map(|held| &**held), self.limit);
        Ok(self.waiting.drain(..len).collect())
    }

    /// Takes what comes, until nothing more does; says why. After `trouble` no more is asked for.
    pub(crate) async fn gather(&mut self, trouble: impl Future<Output = ()>) -> Reason {
        let mut trouble = std::pin::pin!(trouble.fuse());
        let mut in_trouble = false;
        loop {
            tokio::select! {
                taken = self.take() => if let Err(reason) = taken {
                    return reason;
                },
                () = &mut trouble, if !in_trouble => {
                    in_trouble = true;
                    self.pause(Waiting::Logger);
                }
            }
        }
    }

    /// A batch is settled, and what it had shows how many may be under way from now on.
    pub(crate) fn learn(&mut self, batch: &[Seen]) {
        if batch.iter().any(|seen| seen.is_suspect) {
            if self.pace.prefetch() > 1 {
                self.end();
            }
            return self.pace.begin();
        }
        let largest = batch.iter().map(|seen| seen.bytes).max().unwrap_or_default();
        if self.pace.learn(batch.len(), largest) {
            self.end();
        }
    }

    async fn take(&mut self) -> Result<(), Reason> {
        let Some(subscription) = &mut self.subscription else {
            return Err(lost(&self.channel).await);
        };
        match subscription.consumer.next().await {
            Some(delivery) => {
                let delivery = Held::new(delivery?, &self.state);
                let is_too_much = self.state.held_bytes() > HELD_BYTES;
                // It may stand behind others, for which the prefetch has grown.
                let is_alone_too_late = self.pace.prefetch() > 1 && is_suspect(&delivery);
                self.waiting.push_back(delivery);
                if is_too_much || is_alone_too_late {
                    self.end();
                }
                Ok(())
            }
            None if subscription.ending => {
                self.subscription = None;
                Ok(())
            }
            None => Err("RabbitMQ ended the subscription".into()),
        }
    }
}

/// RabbitMQ has what was not acknowledged, or will find out that it has.
impl Drop for Intake {
    fn drop(&mut self) {
        self.state.end_subscription();
    }
}

/// Of a delivery what the next ones are taken by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    bytes: usize,
    is_suspect: bool,
}

impl Seen {
    pub(crate) fn of(delivery: &Delivery) -> Self {
        Seen { bytes: delivery.data.len(), is_suspect: is_suspect(delivery) }
    }
}

/// Returns once the channel is lost.
async fn lost(channel: &Channel) -> Reason {
    while channel.status().connected() {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    "the channel was lost".into()
}

/// How many of those that wait are a batch: at least one, if any waits.
fn batch_len<'a>(waiting: impl Iterator<Item = &'a Delivery>, limit: usize) -> usize {
    let (mut bytes, mut is_alone) = (0, false);
    let belongs = |(position, delivery): &(usize, &Delivery)| {
        let (first, suspect) = (*position == 0, is_suspect(delivery));
        bytes += delivery.data.len();
        is_alone |= first && suspect;
        first || (bytes <= BATCH_BYTES && !suspect && !is_alone)
    };
    waiting.take(limit).enumerate().take_while(belongs).count()
}

/// RabbitMQ counts what it delivers again; what is new may have the header from its sender.
fn is_suspect(delivery: &Delivery) -> bool {
    if !delivery.redelivered {
        return false;
    }
    let headers = delivery.properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    count.and_then(AMQPValue::as_long_long_int).is_some_and(|count| count >= SUSPECT_DELIVERIES)
}

#[cfg(test)]
mod tests {
    use lapin::{BasicProperties, types::FieldTable};

    use super::*;

    const LIMIT: usize = 4;

    fn of_bytes(bytes: usize) -> Delivery {
        Delivery::mock(1, "logs_topic".into(), "log.INFO".into(), false, vec![0; bytes])
    }

    fn delivered_before(times: i64) -> Delivery {
        let mut headers = FieldTable::default();
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(times));
        let properties = BasicProperties::default().with_headers(headers);
        Delivery { properties, redelivered: true, ..of_bytes(1) }
    }

    fn first_batch(waiting: impl IntoIterator<Item = Delivery>) -> usize {
        batch_len(waiting.into_iter().collect::<Vec<_>>().iter(), LIMIT)
    }

    #[test]
    fn a_batch_is_what_has_gathered_up_to_its_limit() {
        assert_eq!(first_batch([]), 0);
        assert_eq!(first_batch((0..3).map(|_| of_bytes(1))), 3);
        assert_eq!(first_batch((0..9).map(|_| of_bytes(1))), LIMIT);
    }

    #[test]
    fn what_would_make_a_batch_too_large_waits_for_the_next() {
        assert_eq!(first_batch([of_bytes(1), of_bytes(BATCH_BYTES - 1), of_bytes(1)]), 2);
        assert_eq!(first_batch([of_bytes(BATCH_BYTES + 1), of_bytes(1)]), 1, "it has to go some time");
    }

    #[test]
    fn a_suspect_is_alone_wherever_it_stands() {
        assert_eq!(first_batch([delivered_before(2), of_bytes(1)]), 1);
        assert_eq!(first_batch([of_bytes(1), of_bytes(1), delivered_before(2), of_bytes(1)]), 2);
        assert_eq!(first_batch([delivered_before(1), of_bytes(1)]), 2, "once is no suspicion");
        let claimed = Delivery { redelivered: false, ..delivered_before(9) };
        assert_eq!(first_batch([claimed, of_bytes(1)]), 2, "its sender says so, and not RabbitMQ");
    }
}
