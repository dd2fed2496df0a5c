//! Where deliveries go that can never be stored: a queue of their own, each with its reason.
//!
//! They wait in a bounded line of their own, so that a queue of dead letters which takes none, since it is full, does not
//! hold up what can be stored. RabbitMQ has each until its copy is confirmed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use lapin::{
    BasicProperties, Channel, Connection,
    message::Delivery,
    options::{BasicAckOptions, ConfirmSelectOptions},
    types::{AMQPValue, ShortString},
};
use proto::{
    Code, Failure,
    rabbitmq::{DEAD_AT_HEADER, DEAD_CODE_HEADER, DEAD_REASON_HEADER},
};
use service::Shutdown;
use spans::TraceId;
use tokio::sync::{mpsc, watch};
use tracing::field::display;
use transport::rabbitmq::{self, AmqpUrl};

use crate::{
    metrics,
    state::{Held, State},
    traced::entry_id,
};

/// Most that wait: half of the default prefetch. Past it nothing is taken any more. Their bytes count among those of all
/// that is held.
const LETTERS: usize = 256;

/// Of lines that name a letter each: the log shows many of them.
const NAMED: &str = concat!(module_path!(), "::named");

/// How long one attempt may take, and how long to wait before the next.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_millis(500);

/// How long an acknowledgement may take to leave.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// A delivery that can never be stored, and why.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) held: Held,
    pub(crate) failure: Failure,
    pub(crate) trace_id: Option<TraceId>,
}

/// The line's end where letters are put in.
#[derive(Debug)]
pub(crate) struct Line {
    letters: mpsc::Sender<Letter>,
    count: watch::Sender<Count>,
}

/// What has become of the letters.
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
            letter.held.set_dead();
            place.send(letter);
        }
    }

    /// Deliveries come on another channel from here on. What is left of the former one RabbitMQ has back.
    pub(crate) fn begin_channel(&self) {
        self.count.send_modify(|count| count.any_left = false);
    }

    /// Whether all that were put in are acknowledged. Only then may what came after them be acknowledged together with
    /// all before it: a letter that was given up is in RabbitMQ for as long as nobody acknowledges it.
    pub(crate) fn is_acknowledged(&self) -> bool {
        let count = *self.count.borrow();
        count.pending == 0 && !count.any_left
    }

    /// Waits until it is empty.
    pub(crate) async fn emptied(&self) {
        let _ = self.count.subscribe().wait_for(|count| count.pending == 0).await;
    }
}

/// Publishes dead letters, on a connection of its own: while RabbitMQ is short of memory it stops reading from
/// connections that publish, and acknowledgements must go on.
#[derive(Debug)]
pub struct DeadLetters {
    amqp_url: AmqpUrl,
    open: Option<(Connection, Channel)>,
    state: Arc<State>,
}

impl DeadLetters {
    pub(crate) fn new(amqp_url: AmqpUrl, state: Arc<State>) -> Self {
        DeadLetters { amqp_url, open: None, state }
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
        let Letter { held, failure, trace_id } = letter;
        let queue = self.amqp_url.queues().dead_letters.clone();
        // What has lost its channel comes again.
        while held.acker.usable() {
            let attempt = tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt(held, failure)).await;
            let attempt =
                attempt.unwrap_or_else(|_| Err(Failure::unknown("RabbitMQ").because("no confirm in time")));
            let Err(refused) = attempt else {
                self.tell_that_it_takes(&queue);
                // Of acknowledgements nothing comes back that another task could take for its own.
                let acknowledged = held.acker.ack(BasicAckOptions { multiple: false });
                let acknowledged = tokio::time::timeout(ACK_TIMEOUT, acknowledged).await;
                metrics::dead_letters(failure.code).increment(1);
                let (entry_id, trace_id) = (entry_id(held).map(display), trace_id.map(display));
                let (code, reason, key) = (failure.code, &failure.message, held.routing_key.as_str());
                // Each names another: many of them may come at once.
                tracing::warn!(target: NAMED, entry_id, trace_id, %code, reason, key, "dead letter");
                return matches!(acknowledged, Ok(Ok(true))) || held.acker.poisoned();
            };
            self.tell_why_not(&queue, &refused);
            let waited = tokio::time::timeout(WAIT, shutdown.begun()).await;
            if waited.is_ok() {
                tracing::info!(
                    entry_id = entry_id(held).map(display),
                    "a dead letter stays where it came from"
                );
                return held.acker.poisoned();
            }
        }
        held.acker.poisoned()
    }

    fn tell_that_it_takes(&self, queue: &str) {
        if self.state.dead_letters_refused() {
            tracing::info!(queue, "the dead letters are taken again");
            self.state.set_dead_letters_refused(false);
        }
    }

    /// Once for each time that it begins.
    fn tell_why_not(&self, queue: &str, refused: &Failure) {
        let cause = refused.cause();
        if self.state.dead_letters_refused() {
            return tracing::debug!(queue, cause, "still cannot publish a dead letter");
        }
        self.state.set_dead_letters_refused(true);
        let what_to_do = match refused.code == Code::Overloaded {
            true => "the queue is full: make room in it, by `fourwire dead`",
            false => "RabbitMQ does not take it",
        };
        tracing::warn!(
            queue,
            cause,
            what_to_do,
            "cannot publish a dead letter; trying again until it can be"
        );
    }

    async fn attempt(&mut self, delivery: &Delivery, failure: &Failure) -> Result<(), Failure> {
        // Put back when it is confirmed, and not if this is given up: nothing else may be in flight on the channel.
        let (connection, channel) = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let properties = explained(&delivery.properties, failure);
        let (exchange, key) = (self.amqp_url.queues().dead_letters.as_str(), delivery.routing_key.as_str());
        let published =
            rabbitmq::publish_confirmed(&channel, exchange, key, &delivery.data, properties).await;
        // A nack is an answer: the channel is as good as before.
        if published.is_ok() || published.as_ref().is_err_and(|refused| refused.code == Code::Overloaded) {
            self.open = Some((connection, channel));
        }
        published
    }

    async fn connect(&self) -> Result<(Connection, Channel), Failure> {
        let lost = |error| Failure::unreachable("RabbitMQ").because(error);
        let connection = rabbitmq::connect(&self.amqp_url, "fourwire listener, dead letters").await?;
        let channel = connection.create_channel().await.map_err(lost)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(lost)?;
        Ok((connection, channel))
    }
}

/// The properties of the delivery, and why and since when it is dead.
fn explained(properties: &BasicProperties, failure: &Failure) -> BasicProperties {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    let ours = [
        (DEAD_CODE_HEADER, text(failure.code.as_str())),
        (DEAD_REASON_HEADER, text(&failure.message)),
        (DEAD_AT_HEADER, AMQPValue::Timestamp(now)),
    ];
    let ours: BTreeMap<ShortString, AMQPValue> =
        ours.into_iter().map(|(name, value)| (name.into(), value)).collect();
    rabbitmq::kept(properties, ours)
}
