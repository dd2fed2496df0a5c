//! Dead letters: deliveries that can never be stored, in a queue of their own, each with its reason.
//!
//! They wait in a bounded line, so that a full dead-letter queue does not hold up what can be stored. RabbitMQ
//! keeps each original until its copy is confirmed.

use std::{sync::Arc, time::Duration};

use proto::{Code, Failure};
use service::Shutdown;
use spans::TraceId;
use tokio::sync::{mpsc, watch};
use tracing::field::display;
use transport::rabbitmq::AmqpUrl;

use crate::{
    metrics,
    source::DeadLetterQueue,
    state::{State, Unacked},
    traced::entry_id,
};

/// Maximum that wait: half of the default prefetch. Past it nothing is taken any more. Their bytes count among those of all
/// that is unacked.
const LETTERS: usize = 256;

/// Of lines that name a letter each: the log shows many of them.
const NAMED: &str = concat!(module_path!(), "::named");

/// How long a confirm may take before a warning is logged. The wait goes on: a slow confirm still arrives.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// How long to wait before the next attempt.
const WAIT: Duration = Duration::from_millis(500);

/// A delivery that can never be stored, and why.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) delivery: Unacked,
    pub(crate) failure: Failure,
    pub(crate) trace_id: Option<TraceId>,
}

/// The line's end where letters are put in.
#[derive(Debug)]
pub(crate) struct Line {
    letters: mpsc::Sender<Letter>,
    count: watch::Sender<Count>,
}

/// What has happened to the letters.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// How many are in the line or in hand.
    pending: usize,
    /// Whether there was one on this channel that is out of the line and was not acknowledged.
    any_left: bool,
}

impl Line {
    /// Puts one in. Waits for room, if there is none.
    pub(crate) async fn put(&self, mut letter: Letter) {
        // The task that takes them lives as long as this. Counted when it is in, for the wait may be given up.
        if let Ok(place) = self.letters.reserve().await {
            self.count.send_modify(|count| count.pending += 1);
            letter.delivery.set_dead();
            place.send(letter);
        }
    }

    /// Deliveries come on another channel from here on. What is left of the former one RabbitMQ has back.
    pub(crate) fn begin_channel(&self) {
        self.count.send_modify(|count| count.any_left = false);
    }

    /// Whether all that were put in are acknowledged. Only then may what came after them be acknowledged together with
    /// all before it: a letter that was given up must stay in RabbitMQ.
    pub(crate) fn is_acknowledged(&self) -> bool {
        let count = *self.count.borrow();
        count.pending == 0 && !count.any_left
    }

    /// Waits until it is empty.
    pub(crate) async fn emptied(&self) {
        let _ = self.count.subscribe().wait_for(|count| count.pending == 0).await;
    }
}

/// Publishes dead letters, and acknowledges what they are copies of.
#[derive(Debug)]
pub struct DeadLetters {
    queue: DeadLetterQueue,
    told: Told,
}

/// Whether the log has it that the queue takes none.
#[derive(Debug)]
struct Told {
    queue: String,
    state: Arc<State>,
}

impl DeadLetters {
    pub(crate) fn new(amqp_url: AmqpUrl, state: Arc<State>) -> Self {
        let told = Told { queue: amqp_url.queues().dead_letters.clone(), state };
        DeadLetters { queue: DeadLetterQueue::new(amqp_url), told }
    }

    /// The line, and the work on it, which ends when the line is dropped and empty. From `shutdown` on a letter that the
    /// queue does not take is given up: it is still in RabbitMQ.
    pub(crate) fn begin(mut self, shutdown: Shutdown) -> (Line, impl Future<Output = ()>) {
        let (letters, mut taken) = mpsc::channel::<Letter>(LETTERS);
        let count = watch::channel(Count::default()).0;
        let line = Line { letters, count: count.clone() };
        let work = async move {
            while let Some(letter) = taken.recv().await {
                let is_settled = self.publish(&letter, &shutdown).await;
                drop(letter);
                count.send_modify(|count| {
                    count.pending -= 1;
                    count.any_left |= !is_settled;
                });
            }
        };
        (line, work)
    }

    /// Publishes a copy with the reason why it can never be stored, however long that takes, and acknowledges the delivery
    /// once RabbitMQ has confirmed it, and not before. The log has it with its id and its trace, as far as there are such.
    /// Returns whether the delivery is no longer open on its channel: it is acknowledged, or the channel is lost.
    async fn publish(&mut self, letter: &Letter, shutdown: &Shutdown) -> bool {
        let Letter { delivery, failure, trace_id } = letter;
        // What has lost its channel is redelivered.
        while delivery.is_open() {
            match self.attempt(letter, shutdown).await {
                Some(Ok(())) => {
                    self.told.that_it_takes();
                    // Of acknowledgements nothing comes back that another task could take for its own.
                    let acknowledged = delivery.acknowledge(false).await;
                    metrics::dead_letters(failure.code).increment(1);
                    let (entry_id, trace_id) = (entry_id(delivery).map(display), trace_id.map(display));
                    let (code, reason, key) = (failure.code, failure.message(), delivery.key());
                    // Each names another: many of them may come at once.
                    tracing::warn!(target: NAMED, entry_id, trace_id, %code, reason = &*reason, key, "dead letter");
                    return acknowledged.is_ok() || delivery.is_lost();
                }
                Some(Err(refused)) => {
                    self.told.why_not(&refused);
                    if tokio::time::timeout(WAIT, shutdown.begun()).await.is_err() {
                        continue;
                    }
                }
                None => {}
            }
            tracing::info!(
                entry_id = entry_id(delivery).map(display),
                "shutting down: a dead letter stays in its queue"
            );
            break;
        }
        delivery.is_lost()
    }

    /// Publishes one copy. What is slow is told, and waited for all the same: another copy would arrive beside the first.
    /// `None` if that takes until the listener shuts down.
    async fn attempt(&mut self, letter: &Letter, shutdown: &Shutdown) -> Option<Result<(), Failure>> {
        let mut published = std::pin::pin!(self.queue.publish(&letter.delivery, &letter.failure));
        if let Ok(published) = tokio::time::timeout(TELL_AFTER, &mut published).await {
            return Some(published);
        }
        self.told.why_not(&Failure::unknown("RabbitMQ").because("no confirm yet; waiting for it"));
        tokio::select! {
            published = published => Some(published),
            () = shutdown.begun() => None,
        }
    }
}

impl Told {
    fn that_it_takes(&self) {
        if self.state.dead_letters_refused() {
            tracing::info!(queue = self.queue, "dead letters are accepted again");
            self.state.set_dead_letters_refused(false);
        }
    }

    /// Once for each time that it begins.
    fn why_not(&self, refused: &Failure) {
        let (queue, cause) = (&*self.queue, refused.cause());
        if self.state.dead_letters_refused() {
            return tracing::debug!(queue, cause, "still cannot publish a dead letter");
        }
        self.state.set_dead_letters_refused(true);
        let what_to_do = if refused.code == Code::Overloaded {
            "the queue is full: empty it with `fourwire dead`"
        } else {
            "RabbitMQ does not accept it"
        };
        tracing::warn!(
            queue,
            cause,
            what_to_do,
            "cannot publish a dead letter; retrying until it is confirmed"
        );
    }
}
