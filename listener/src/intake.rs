//! The subscription: bounds what is unacked, and cuts it into batches.

use std::{collections::VecDeque, future::Future, sync::Arc};

use futures_util::FutureExt;
use proto::limits::BODY_BYTES;

use crate::{
    pace::{Pace, UNACKED_BYTES},
    source::{Delivery, Reason, Session, Subscription},
    state::{State, Unacked, Waiting},
};

/// Maximum bytes of a batch: half of what the logger takes in one request, since an entry grows on the wire.
const BATCH_BYTES: usize = BODY_BYTES / 2;

/// Lost so often, a message is handled alone: if it is what kills the listener, it shall
/// not dead-letter its neighbours along with it.
const SUSPECT_LOSSES: i64 = 2;

/// Deliveries, in batches of what has arrived. They are taken off the client library at once, since nobody can count what
/// waits inside of it. The prefetch bounds them.
pub(crate) struct Intake {
    session: Session,
    /// Maximum deliveries of a batch.
    limit: usize,
    pace: Pace,
    subscription: Option<Subscription>,
    /// In the order in which they came: what is acknowledged together came together.
    waiting: VecDeque<Unacked>,
    state: Arc<State>,
}

impl Intake {
    /// Takes nothing yet. `prefetch` is the most that may be under way.
    pub(crate) fn new(session: Session, prefetch: u16, state: Arc<State>) -> Self {
        Intake {
            session,
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

    /// Subscribes, and says with which prefetch. Not to be given up half-way.
    ///
    /// # Errors
    /// As [`Session::subscribe`].
    pub(crate) async fn subscribe(&mut self) -> Result<u16, Reason> {
        let prefetch = self.pace.prefetch();
        self.subscription = Some(self.session.subscribe(prefetch).await?);
        self.state.begin_subscription();
        Ok(prefetch)
    }

    /// As [`Subscription::flush`]; never ends without a subscription.
    pub(crate) fn flush(&self) -> impl Future<Output = Result<(), Reason>> + Send + use<> {
        let flushed = self.subscription.as_ref().map(Subscription::flush);
        async move {
            match flushed {
                Some(flushed) => flushed.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Takes no more: what has been delivered stays here, and costs no delivery.
    pub(crate) fn end(&mut self) {
        if let Some(subscription) =
            self.subscription.as_mut().filter(|subscription| !subscription.is_ending())
        {
            self.state.end_subscription();
            subscription.cancel();
        }
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
    pub(crate) async fn next(&mut self) -> Result<Vec<Unacked>, Reason> {
        while self.waiting.is_empty() && self.subscription.is_some() {
            self.take().await?;
        }
        while let Some(taken) = self.take().now_or_never() {
            taken?;
        }
        let len = batch_len(self.waiting.iter().map(|delivery| &**delivery), self.limit);
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
            return Err(self.session.lost().await);
        };
        let Some(delivery) = subscription.next().await? else {
            self.subscription = None;
            return Ok(());
        };
        let delivery = Unacked::new(delivery, &self.state);
        let is_too_much = self.state.unacked_bytes() > UNACKED_BYTES;
        // It may stand behind others, for which the prefetch has grown.
        let is_alone_too_late = self.pace.prefetch() > 1 && is_suspect(&delivery);
        self.waiting.push_back(delivery);
        if is_too_much || is_alone_too_late {
            self.end();
        }
        Ok(())
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
        Seen { bytes: delivery.body().len(), is_suspect: is_suspect(delivery) }
    }
}

/// How many of those that wait are a batch: at least one, if any waits.
fn batch_len<'a>(waiting: impl Iterator<Item = &'a Delivery>, limit: usize) -> usize {
    let (mut bytes, mut is_alone) = (0, false);
    let belongs = |(position, delivery): &(usize, &Delivery)| {
        let (first, suspect) = (*position == 0, is_suspect(delivery));
        bytes += delivery.body().len();
        is_alone |= first && suspect;
        first || (bytes <= BATCH_BYTES && !suspect && !is_alone)
    };
    waiting.take(limit).enumerate().take_while(belongs).count()
}

fn is_suspect(delivery: &Delivery) -> bool {
    delivery.losses() >= SUSPECT_LOSSES
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 4;

    fn of_bytes(bytes: usize) -> Delivery {
        Delivery::mock(bytes, false, None)
    }

    fn delivered_before(times: i64) -> Delivery {
        Delivery::mock(1, true, Some(times))
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
        let claimed = Delivery::mock(1, false, Some(9));
        assert_eq!(first_batch([claimed, of_bytes(1)]), 2, "its sender says so, and not RabbitMQ");
    }
}
