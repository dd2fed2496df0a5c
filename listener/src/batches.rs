//! What RabbitMQ has handed over, cut into batches.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{FutureExt, StreamExt};
use lapin::{message::Delivery, types::AMQPValue};
use proto::limits::BODY_BYTES;

use crate::{consume::Reason, state::State};

/// Most bytes of a batch: half of what the logger takes in one request, since an entry grows on the wire.
const BATCH_BYTES: usize = BODY_BYTES / 2;

/// From this many lost deliveries on, a message is handled alone: if it is what kills the listener, it shall
/// not take its neighbours along to the dead letters.
const SUSPECT_DELIVERIES: i64 = 2;

/// Deliveries, as many at a time as have gathered. All that RabbitMQ hands over are taken at once, since nobody can count
/// what waits inside of lapin. The prefetch bounds them.
pub(crate) struct Batches {
    deliveries: lapin::Consumer,
    /// Most deliveries of a batch.
    limit: usize,
    /// In the order in which they came: what is acknowledged together came together.
    waiting: VecDeque<Delivery>,
    /// How many the batch has that is not acknowledged yet.
    in_hand: usize,
    state: Arc<State>,
}

impl Batches {
    pub(crate) fn new(deliveries: lapin::Consumer, limit: usize, state: Arc<State>) -> Self {
        Batches { deliveries, limit, waiting: VecDeque::new(), in_hand: 0, state }
    }

    /// Waits for a delivery, and takes what has gathered behind it.
    pub(crate) async fn next(&mut self) -> Result<Vec<Delivery>, Reason> {
        while self.waiting.is_empty() {
            self.take().await?;
        }
        while let Some(taken) = self.take().now_or_never() {
            taken?;
        }
        let batch: Vec<Delivery> = self.waiting.drain(..batch_len(&self.waiting, self.limit)).collect();
        self.in_hand = batch.len();
        Ok(batch)
    }

    /// Takes what comes, until nothing more does; says why.
    pub(crate) async fn gather(&mut self) -> Reason {
        loop {
            if let Err(reason) = self.take().await {
                return reason;
            }
        }
    }

    /// The batch in hand is acknowledged.
    pub(crate) fn acknowledged(&mut self) {
        self.in_hand = 0;
        self.count();
    }

    async fn take(&mut self) -> Result<(), Reason> {
        let delivery = self.deliveries.next().await.ok_or("RabbitMQ ended the subscription")??;
        self.waiting.push_back(delivery);
        self.count();
        Ok(())
    }

    fn count(&self) {
        self.state.set_held(self.waiting.len() + self.in_hand);
    }
}

/// RabbitMQ has what was not acknowledged, or will find out that it has.
impl Drop for Batches {
    fn drop(&mut self) {
        self.state.set_held(0);
    }
}

/// How many of those that wait are a batch: at least one, if any waits.
fn batch_len(waiting: &VecDeque<Delivery>, limit: usize) -> usize {
    if waiting.front().is_some_and(is_suspect) {
        return 1;
    }
    let mut bytes = 0;
    let belongs = |(position, delivery): &(usize, &Delivery)| {
        bytes += delivery.data.len();
        *position == 0 || (bytes <= BATCH_BYTES && !is_suspect(delivery))
    };
    waiting.iter().take(limit).enumerate().take_while(belongs).count()
}

fn is_suspect(delivery: &Delivery) -> bool {
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
        Delivery { properties: BasicProperties::default().with_headers(headers), ..of_bytes(1) }
    }

    fn first_batch(waiting: impl IntoIterator<Item = Delivery>) -> usize {
        batch_len(&waiting.into_iter().collect(), LIMIT)
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
    }
}
