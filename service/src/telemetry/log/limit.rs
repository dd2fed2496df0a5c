//! Rate limit for log lines of one kind: a client that is refused again and again must not fill a disk.
//!
//! A kind is one place in the code. Of each the first few lines are shown, then one per second, with the number of
//! suppressed ones. Lines at `debug` and below were asked for, and are not limited.
//!
//! Lines that each name another item once would be lost if they were suppressed. Their target ends with [`NAMED`],
//! as in `target: concat!(module_path!(), "::named")`, and many more of them are allowed at once.
//!
//! Lines that an outage repeats for as long as it lasts, such as that of each entry that is refused, have a target that
//! ends with [`REPEATED`]. Another transport or another code is another kind of them: that is a change, and is shown at
//! once. What repeats is shown, and counted, once in [`REPEAT_EVERY`].

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::{Duration, Instant},
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

/// The end of the target of lines that an outage repeats.
const REPEATED: &str = "::repeated";

/// As many of those may come at once: the loss of a connection may have another cause than what follows.
const REPEATED_AT_ONCE: NonZeroU32 = NonZeroU32::new(3).expect("it is not zero");

/// How often one of those is shown after that, and how many were not.
const REPEAT_EVERY: Duration = Duration::from_secs(30);

/// The fields that make another kind of those. Their values are of closed sets.
const CHANGES: [&str; 2] = ["transport", "code"];

/// The limit. Clones share one state, which is as large as there are kinds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limit(Arc<Mutex<HashMap<(Identifier, Changes), Kind>>>);

#[derive(Debug)]
struct Kind {
    limiter: DefaultDirectRateLimiter,
    hidden: Option<Hidden>,
    /// How often it is told how many were hidden; `None`: whenever it is asked.
    tell_every: Option<Duration>,
    told_at: Option<Instant>,
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
    /// What was not shown since it was taken last, of the kinds that it is time for, or of all; nothing while another thread
    /// counts. A thread that panics calls this too, and must not wait for a lock that it may hold itself.
    pub(super) fn take_hidden(&self, of_all: bool) -> Vec<Hidden> {
        let mut kinds = match self.0.try_lock() {
            Ok(kinds) => kinds,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Vec::new(),
        };
        let kinds = kinds.values_mut().filter(|kind| of_all || kind.is_due());
        kinds.filter_map(Kind::take_hidden).collect()
    }

    fn admits(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let key = (metadata.callsite(), Changes::of(event));
        {
            let mut kinds = self.lock();
            let kind = kinds.entry(key.clone()).or_insert_with(|| Kind::of(metadata.target()));
            if kind.limiter.check().is_ok() {
                return true;
            }
            if let Some(hidden) = &mut kind.hidden {
                hidden.lines += 1;
                return false;
            }
        }
        // What is formatted is not ours: it may log, or panic. So nobody waits for it.
        let message = Message::of(event) + &key.1.0;
        if let Some(kind) = self.lock().get_mut(&key) {
            let (level, target) = (*metadata.level(), metadata.target());
            let first = || Hidden { level, target, message, lines: 0 };
            kind.hidden.get_or_insert_with(first).lines += 1;
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Identifier, Changes), Kind>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn of(target: &str) -> Self {
        let tell_every = target.ends_with(REPEATED).then_some(REPEAT_EVERY);
        let quota = match tell_every.and_then(Quota::with_period) {
            Some(quota) => quota.allow_burst(REPEATED_AT_ONCE),
            None if target.ends_with(NAMED) => Quota::per_second(PER_SECOND).allow_burst(NAMED_AT_ONCE),
            None => Quota::per_second(PER_SECOND).allow_burst(AT_ONCE),
        };
        let limiter = DefaultDirectRateLimiter::direct(quota);
        Kind { limiter, hidden: None, tell_every, told_at: None }
    }

    fn is_due(&self) -> bool {
        self.tell_every.zip(self.told_at).is_none_or(|(every, at)| at.elapsed() >= every)
    }

    fn take_hidden(&mut self) -> Option<Hidden> {
        let hidden = self.hidden.take()?;
        self.told_at = Some(Instant::now());
        Some(hidden)
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        *event.metadata().level() > Level::INFO || self.admits(event)
    }
}

/// What makes another kind of a repeated line, in words; empty of any other line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Changes(String);

impl Changes {
    fn of(event: &Event<'_>) -> Self {
        let mut changes = Changes::default();
        if event.metadata().target().ends_with(REPEATED) {
            event.record(&mut changes);
        }
        changes
    }
}

impl Visit for Changes {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if CHANGES.contains(&field.name()) {
            // It fails as a `String` does: never.
            let _ = write!(self.0, ", {}={value:?}", field.name());
        }
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
