//! Rate limit for log lines of one kind: a client that is refused again and again must not fill a disk.
//!
//! A kind is one place in the code. Of each the first few lines are shown, then one per second, with the number of
//! suppressed ones. Lines at `debug` and below were asked for, and are not limited.
//!
//! Lines that each name another item once would be lost if they were suppressed. Their target ends with [`NAMED`],
//! as in `target: concat!(module_path!(), "::named")`, and many more of them are allowed at once.

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
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

/// The end of the target of lines that each name another thing.
const NAMED: &str = "::named";

/// As many of those may come at once: their kinds are few, and so are about 300 bytes of each.
const NAMED_AT_ONCE: NonZeroU32 = NonZeroU32::new(1_000).expect("it is not zero");

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
    /// What was not shown since the last call; nothing while another thread counts. A thread that panics calls this too,
    /// and must not wait for a lock that it may hold itself.
    pub(super) fn take_hidden(&self) -> Vec<Hidden> {
        let mut kinds = match self.0.try_lock() {
            Ok(kinds) => kinds,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Vec::new(),
        };
        kinds.values_mut().filter_map(|kind| kind.hidden.take()).collect()
    }

    fn admits(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        {
            let mut kinds = self.lock();
            let kind = kinds.entry(metadata.callsite()).or_insert_with(|| Kind::of(metadata.target()));
            if kind.limiter.check().is_ok() {
                return true;
            }
            if let Some(hidden) = &mut kind.hidden {
                hidden.lines += 1;
                return false;
            }
        }
        // What is formatted is not ours: it may log, or panic. So nobody waits for it.
        let message = Message::of(event);
        if let Some(kind) = self.lock().get_mut(&metadata.callsite()) {
            let (level, target) = (*metadata.level(), metadata.target());
            let first = || Hidden { level, target, message, lines: 0 };
            kind.hidden.get_or_insert_with(first).lines += 1;
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn of(target: &str) -> Self {
        let at_once = if target.ends_with(NAMED) { NAMED_AT_ONCE } else { AT_ONCE };
        let quota = Quota::per_second(PER_SECOND).allow_burst(at_once);
        Kind { limiter: DefaultDirectRateLimiter::direct(quota), hidden: None }
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
