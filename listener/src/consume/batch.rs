//! Settles a batch: what can be stored is stored and acknowledged, the rest goes to the dead letters.

use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use proto::{Failure, LogEntry, rabbitmq::parse_message};
use tokio::time::timeout;

use super::Consumer;
use crate::{
    dead_letters::{Letter, Line},
    hand_over::Positioned,
    intake::{Intake, Seen},
    metrics,
    source::{Delivery, Reason},
    state::Unacked,
    traced::BatchSpans,
};

/// How long a batch may be kept while the logger is down. RabbitMQ closes the channel of a delivery that is
/// not acknowledged within 30 minutes.
const HOLD_LIMIT: Duration = Duration::from_secs(600);

impl Consumer {
    /// Brings every delivery of a batch to where it may be acknowledged: stored, or in the line of the dead letters.
    pub(super) async fn take_care_of(
        &mut self,
        batch: Vec<Unacked>,
        intake: &mut Intake,
        line: &Line,
    ) -> Result<(), Reason> {
        let seen: Vec<Seen> = batch.iter().map(|delivery| Seen::of(delivery)).collect();
        #[cfg(feature = "faults")]
        let on_receipt = crate::faults::Fault::AckOnReceipt.is_on();
        #[cfg(not(feature = "faults"))]
        let on_receipt = false;
        if on_receipt {
            acknowledge(&batch, true).await?;
        }
        let spans = BatchSpans::of(&batch, &self.amqp_url.queues().entries);
        let (entries, mut dead) = self.decode(&batch);
        // That of a batch before.
        let _ = self.hand_over.trouble().now_or_never();
        let stored = spans.hand_over.around(self.hand_over.store(entries));
        let refused = tokio::select! {
            // RabbitMQ has the batch back: the next consumer settles it.
            reason = intake.gather(self.hand_over.trouble()) => return Err(reason),
            refused = timeout(HOLD_LIMIT, stored) => refused,
        };
        let Ok(refused) = refused else {
            let (entries, _) = self.decode(&batch);
            self.unsettled = entries.into_iter().find(|(at, _)| has_own_id(&batch[*at]));
            return Err("the batch was not settled within 10 minutes: it is returned to RabbitMQ".into());
        };
        dead.extend(refused);
        dead.sort_by_key(|(position, _)| *position);
        let (mut stored, mut letters) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut dead = dead.into_iter().peekable();
        for (position, delivery) in batch.into_iter().enumerate() {
            match dead.next_if(|(at, _)| *at == position) {
                Some((_, failure)) => {
                    let trace_id = spans.dead(position, &failure);
                    letters.push(Letter { delivery, failure, trace_id });
                }
                None => stored.push(delivery),
            }
        }
        drop(spans);
        // In one frame, unless there is one before them that may not be acknowledged yet.
        let all = letters.is_empty() && line.is_acknowledged();
        if !on_receipt {
            acknowledge(&stored, all).await?;
        }
        // What is not acknowledged is redelivered, and counted then.
        metrics::stored().increment(stored.len() as u64);
        drop(stored);
        let any_dead = !letters.is_empty();
        let put = async {
            for letter in letters {
                line.put(letter).await;
            }
        };
        tokio::select! {
            reason = intake.gather(std::future::pending()) => return Err(reason),
            () = put => {}
        }
        intake.learn(&seen);
        if any_dead && self.state.dead_letters_refused() {
            // Those that wait take up the prefetch: another subscription has one of its own.
            intake.end();
        }
        Ok(())
    }

    fn decode(&mut self, batch: &[Unacked]) -> (Vec<Positioned<LogEntry>>, Vec<Positioned<Failure>>) {
        let (mut entries, mut dead) = (Vec::new(), Vec::new());
        for (position, delivery) in batch.iter().enumerate() {
            let key = delivery.key();
            match parse_message(delivery.body(), delivery.message_id(), key, Timestamp::now()) {
                Ok(message) => {
                    if message.level_is_assumed {
                        self.tell_of_level(key);
                    }
                    entries.push((position, message.entry));
                }
                Err(failure) => dead.push((position, failure)),
            }
        }
        (entries, dead)
    }

    fn tell_of_level(&mut self, key: &str) {
        self.assumed_levels.increment(1);
        // Logged once; the metric counts them.
        if !std::mem::replace(&mut self.told_of_levels, true) {
            tracing::warn!(key, "unknown level in a routing key: such messages are stored as info");
        }
    }
}

/// Whether the entry of a delivery will have the same id when it is delivered again.
fn has_own_id(delivery: &Delivery) -> bool {
    delivery.message_id().is_some()
}

/// Acknowledges deliveries: in one frame, if none that came before the last of them is to be left.
async fn acknowledge(batch: &[Unacked], all: bool) -> Result<(), Reason> {
    // A channel's deliveries come in order, so the last stands for all before it.
    let single = if all { batch.len().saturating_sub(1) } else { 0 };
    for delivery in &batch[single..] {
        delivery.acknowledge(all).await?;
    }
    Ok(())
}
