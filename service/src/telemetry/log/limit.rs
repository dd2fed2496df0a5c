//! How many lines a second there may be of one kind: whoever is refused again and again must not fill a disk.
//!
//! A kind is one place in the code. Of each the first few are shown, then one a second, and how many were left out.
//! What is logged at `debug` and below somebody has asked for, and gets all of it.

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use governor::{DefaultDirectRateLimiter, Quota};
use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// Lines of one kind that may come at once.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(10).expect("it is not zero");

/// Lines of one kind in each second after that.
const PER_SECOND: NonZeroU32 = NonZeroU32::MIN;

/// The limit. Clones share one state, which is as large as there are places that log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limit(Arc<Mutex<HashMap<Identifier, Kind>>>);

#[derive(Debug)]
struct Kind {
    limiter: DefaultDirectRateLimiter,
    hidden: Option<Hidden>,
}

/// Lines of one kind that were not shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) level: Level,
    pub(super) target: &'static str,
    /// That of the first of them.
    pub(super) message: String,
    pub(super) lines: u64,
}

impl Limit {
    /// What was not shown since this was called last.
    pub(super) fn take_hidden(&self) -> Vec<Hidden> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.values_mut().filter_map(|kind| kind.hidden.take()).collect()
    }

    fn admits(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry(metadata.callsite()).or_insert_with(|| Kind {
            limiter: DefaultDirectRateLimiter::direct(Quota::per_second(PER_SECOND).allow_burst(AT_ONCE)),
            hidden: None,
        });
        if kind.limiter.check().is_ok() {
            return true;
        }
        let hidden = kind.hidden.get_or_insert_with(|| Hidden {
            level: *metadata.level(),
            target: metadata.target(),
            message: Message::of(event),
            lines: 0,
        });
        hidden.lines += 1;
        false
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        *event.metadata().level() > Level::INFO || self.admits(event)
    }
}

/// Finds the message among the fields of an event.
#[derive(Default)]
struct Message(String);

impl Message {
    fn of(event: &Event<'_>) -> String {
        let mut message = Message::default();
        event.record(&mut message);
        message.0
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
