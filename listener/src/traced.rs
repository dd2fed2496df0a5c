//! The spans of a batch: one for each message, in the trace that it was published in, and one for the hand-over.
//!
//! A batch belongs to as many traces as it has messages, and a span to one alone. So the hand-over is a part of the
//! first message that is recorded, with links to the others, and each of these has a link to the hand-over. The trace
//! of a message that came alone is whole.

use proto::Failure;
use spans::{KeyValue, Span, SpanKind, attribute};

use crate::{source::Delivery, state::Unacked};

/// The spans of one batch. They end when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct BatchSpans {
    /// Around what is done with all of them.
    pub(crate) hand_over: Span,
    /// In the order of the batch; empty while traces are off.
    messages: Vec<Span>,
}

impl BatchSpans {
    /// Begins them.
    pub(crate) fn of(batch: &[Unacked], queue: &str) -> Self {
        if !spans::is_on() {
            return BatchSpans::default();
        }
        let messages: Vec<Span> = batch.iter().map(|delivery| message(delivery, queue)).collect();
        let mut recorded = messages.iter().filter(|span| span.is_recorded());
        // If none is, the decision of one is passed on, so that no other is made.
        let Some(first) = recorded.next().or(messages.first()) else { return BatchSpans::default() };
        let others: Vec<&Span> = recorded.collect();
        let hand_over = first.part("hand over", SpanKind::Internal, &others);
        hand_over.note(|| [attribute::number("messaging.batch.message_count", batch.len())]);
        others.into_iter().for_each(|message| message.link(&hand_over));
        BatchSpans { hand_over, messages }
    }

    /// Marks a message that can never be stored, and says which trace it belongs to.
    pub(crate) fn dead(&self, position: usize, failure: &Failure) -> Option<spans::TraceId> {
        let message = self.messages.get(position)?;
        message.fail(failure.code.as_str());
        message.trace_id()
    }
}

fn message(delivery: &Delivery, queue: &str) -> Span {
    let publisher = spans::extract(|name| delivery.header(name));
    let span = Span::entering("process logs.entries", SpanKind::Consumer, publisher);
    span.note(|| {
        [
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.destination.name", queue.to_owned()),
            KeyValue::new("messaging.operation.type", "process"),
        ]
    });
    if let Some(id) = entry_id(delivery) {
        span.note(|| attribute::entries(id, 1));
    }
    span
}

/// The entry's id, if the message says it where it can be seen.
pub(crate) fn entry_id(delivery: &Delivery) -> Option<uuid::Uuid> {
    uuid::Uuid::try_parse(delivery.message_id()?).ok()
}
