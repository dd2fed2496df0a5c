//! How one of several loggers stands with the calls of one transport: how many are in flight, and whether it gets new
//! ones.
//!
//! One that refuses, or is silent, gets none until it has answered a ping. Otherwise the one that fails fastest would always
//! have fewest calls in flight, and draw them all.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use proto::{Code, Direct};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

/// A logger that has answered nothing for so long, while it had something to answer, gets no new calls. Far above what a
/// commit takes, far below the deadline.
const SILENCE: Duration = Duration::from_secs(1);

/// How often a logger that gets no calls is asked, and how long it may take to answer.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How it stands.
#[derive(Debug)]
pub(super) struct Standing {
    logger: Arc<str>,
    direct: Direct,
    /// What moments are counted from, in microseconds.
    epoch: Instant,
    in_flight: AtomicUsize,
    /// When it last answered, or when the first of the calls in flight began.
    heard: AtomicU64,
    /// When it last answered; 0: never.
    answered: AtomicU64,
    /// Since when it gets no calls; 0: it gets them.
    out: AtomicU64,
    /// Whether that was worth a line in the log: then its end is, too.
    is_unusual: AtomicBool,
    /// Told when it gets no more.
    going_out: Notify,
}

/// What a logger has said to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Something that shows that it works.
    Answer,
    /// That something is certainly not stored, or there was nobody to say anything.
    Refusal(Code),
    /// Nothing.
    Nothing,
}

/// A call in flight. Dropped before it has ended, nobody waited for its answer any longer.
#[derive(Debug)]
pub(super) struct Call<'a> {
    standing: &'a Standing,
    begun: u64,
}

impl Standing {
    pub(super) fn new(logger: Arc<str>, direct: Direct) -> Self {
        Standing {
            logger,
            direct,
            epoch: Instant::now(),
            in_flight: AtomicUsize::new(0),
            heard: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            out: AtomicU64::new(0),
            is_unusual: AtomicBool::new(false),
            going_out: Notify::new(),
        }
    }

    /// How many calls are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// When it last answered, in microseconds; the more, the later.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Whether it gets no new calls, as far as was noticed.
    pub(super) fn is_out(&self) -> bool {
        self.out.load(Relaxed) != 0
    }

    /// Whether it gets new calls. That it is silent is noticed here.
    pub(super) fn takes_calls(&self) -> bool {
        if self.is_silent() {
            self.take_out("it is silent", false);
        }
        !self.is_out()
    }

    /// Begins a call.
    pub(super) fn begin(&self) -> Call<'_> {
        let begun = self.now();
        if self.in_flight() == 0 {
            self.heard.store(begun, Relaxed);
        }
        // Who sees it counted also sees when it began.
        self.in_flight.fetch_add(1, Release);
        Call { standing: self, begun }
    }

    /// Asks it, for as long as it gets no calls, whether it could store an entry; sends nothing otherwise.
    pub(super) async fn probe<F>(&self, ping: impl Fn() -> F) -> Infallible
    where
        F: Future<Output = bool>,
    {
        loop {
            self.going_out.notified().await;
            let mut ticks = interval_at(Instant::now() + PROBE_INTERVAL, PROBE_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.is_out() {
                ticks.tick().await;
                if self.is_out() && timeout(PROBE_TIMEOUT, ping()).await == Ok(true) {
                    self.put_back();
                }
            }
        }
    }

    /// It could store an entry just now.
    pub(super) fn put_back(&self) {
        // What it does comes before what it tells, here and below.
        self.hear();
        if self.out.swap(0, Relaxed) == 0 {
            return;
        }
        let (logger, transport) = (&*self.logger, self.direct);
        if self.is_unusual.swap(false, Relaxed) {
            tracing::info!(logger, %transport, "the logger gets calls again");
        } else {
            tracing::debug!(logger, %transport, "the logger gets calls again");
        }
    }

    /// It could store none, and says so. An overload comes and goes with its callers.
    pub(super) fn refused(&self, code: Code) {
        self.take_out(code.as_str(), code == Code::Overloaded);
    }

    fn take_out(&self, reason: &str, is_usual: bool) {
        if self.out.compare_exchange(0, self.now(), Relaxed, Relaxed).is_err() {
            return;
        }
        self.is_unusual.store(!is_usual, Relaxed);
        self.going_out.notify_one();
        let (logger, transport) = (&*self.logger, self.direct);
        if is_usual {
            tracing::debug!(logger, %transport, reason, "the logger gets no calls until it answers a ping");
        } else {
            tracing::warn!(logger, %transport, reason, "the logger gets no calls until it answers a ping");
        }
    }

    /// It has answered something, which says that it is there, and not that it could store an entry.
    pub(super) fn hear(&self) {
        let now = self.now();
        self.heard.store(now, Relaxed);
        self.answered.store(now, Relaxed);
    }

    fn is_silent(&self) -> bool {
        if self.in_flight.load(Acquire) == 0 {
            return false;
        }
        let heard = Duration::from_micros(self.heard.load(Relaxed));
        self.epoch.elapsed().saturating_sub(heard) > SILENCE
    }

    /// In microseconds, and never 0.
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).map_or(u64::MAX, |micros| micros.max(1))
    }
}

impl Call<'_> {
    /// The logger has said that.
    pub(super) fn ended(self, said: Said) {
        let Call { standing, begun } = self;
        match said {
            Said::Answer => {
                standing.hear();
                // Of what was sent before, an answer says nothing of what comes now: one that is shutting down ends its
                // calls.
                if standing.is_out() && standing.out.load(Relaxed) <= begun {
                    standing.put_back();
                }
            }
            Said::Refusal(code) => standing.refused(code),
            Said::Nothing => {}
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // The last that waited for a silent logger is the last to notice.
        if self.standing.is_silent() {
            self.standing.take_out("it is silent", false);
        }
        self.standing.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn standing() -> Standing {
        Standing::new("logger:8082".into(), Direct::Http)
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_refuses_gets_no_calls_and_one_that_answers_does() {
        let standing = standing();
        let call = standing.begin();
        assert_eq!(standing.in_flight(), 1);
        call.ended(Said::Answer);
        assert!(standing.takes_calls() && standing.in_flight() == 0);
        standing.begin().ended(Said::Nothing);
        assert!(standing.takes_calls(), "a connection may break");
        standing.begin().ended(Said::Refusal(Code::Draining));
        assert!(!standing.takes_calls());
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(!standing.takes_calls(), "time alone does not put it back");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_a_refusal_brings_nobody_back_and_what_was_sent_after_it_does() {
        let standing = standing();
        tokio::time::advance(MOMENT).await;
        let before = standing.begin();
        tokio::time::advance(MOMENT).await;
        standing.begin().ended(Said::Refusal(Code::Draining));
        before.ended(Said::Answer);
        assert!(!standing.takes_calls());
        tokio::time::advance(MOMENT).await;
        // Where all others are out too, it gets calls anyway.
        standing.begin().ended(Said::Answer);
        assert!(standing.takes_calls());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_nothing_for_a_second_gets_no_calls_and_one_with_nothing_to_answer_does() {
        let standing = standing();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(standing.takes_calls(), "it had nothing to answer");
        let (first, second) = (standing.begin(), standing.begin());
        tokio::time::advance(SILENCE - MOMENT).await;
        assert!(standing.takes_calls());
        second.ended(Said::Answer);
        tokio::time::advance(SILENCE).await;
        assert!(standing.takes_calls(), "it has answered another");
        tokio::time::advance(MOMENT).await;
        assert!(!standing.takes_calls());
        drop(first);
        assert!(!standing.takes_calls() && standing.in_flight() == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn that_one_is_silent_is_noticed_though_nobody_calls_after_the_deadline() {
        for ended in [true, false] {
            let standing = standing();
            let call = standing.begin();
            tokio::time::advance(SILENCE + MOMENT).await;
            if ended {
                call.ended(Said::Nothing)
            } else {
                drop(call)
            }
            assert!(standing.is_out(), "{ended}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_out_is_asked_four_times_a_second_until_it_says_yes_and_another_is_not() {
        let (standing, asked, well) = (standing(), Cell::new(0), Cell::new(false));
        let ping = || {
            asked.set(asked.get() + 1);
            let well = well.get();
            async move { well }
        };
        let outage = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(asked.get(), 0, "nothing is wrong");
            for round in 1..=2 {
                well.set(false);
                asked.set(0);
                standing.begin().ended(Said::Refusal(Code::Unavailable));
                tokio::time::sleep(Duration::from_secs(10) + MOMENT).await;
                assert_eq!(asked.get(), 40, "{round}");
                assert!(!standing.takes_calls());
                well.set(true);
                tokio::time::sleep(PROBE_INTERVAL).await;
                assert!(standing.takes_calls());
                tokio::time::sleep(Duration::from_secs(10)).await;
                assert_eq!(asked.get(), 41, "{round}");
            }
        };
        tokio::select! {
            never = standing.probe(ping) => match never {},
            () = outage => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_that_is_not_answered_is_given_up() {
        let (standing, asked) = (standing(), Cell::new(0));
        let ping = || {
            asked.set(asked.get() + 1);
            std::future::pending()
        };
        standing.begin().ended(Said::Refusal(Code::Unavailable));
        let waited = tokio::time::timeout(Duration::from_secs(10), standing.probe(ping)).await;
        assert!(waited.is_err() && !standing.takes_calls());
        assert!((9..=10).contains(&asked.get()), "{}", asked.get());
    }
}
