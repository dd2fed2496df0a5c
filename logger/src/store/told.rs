//! What is told of the clock that gives entries their times, and of times ahead of it, by every kind of store.

use proto::Time;

use super::{Vitals, keeper::STEADY};
use crate::{
    clock::{Clock, LEAP, Leap, in_words},
    metrics::ClockLeaps,
};

/// Whose clock it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// This machine's, which one store depends on: its times can be reset.
    Machine,
    /// The database's.
    Database,
}

impl Whose {
    const fn clock(self) -> &'static str {
        match self {
            Whose::Machine => "the clock",
            Whose::Database => "the database's clock",
        }
    }

    /// What to do where the clock is right and the times are ahead: for the log, and shortly for `/readyz`.
    const fn remedy(self) -> (&'static str, &'static str) {
        match self {
            Whose::Machine => (
                ". If the clock is right: stop this logger, run it once with --reset-times, and restart it",
                ": see --reset-times",
            ),
            Whose::Database => ("", ", and later entries get the same"),
        }
    }

    /// Counts a leap, and tells the log.
    pub(super) fn tell(self, leap: Leap, leaps: &ClockLeaps) {
        leaps.leapt(leap.seconds > 0);
        tracing::error!(
            seconds = leap.seconds,
            now = %leap.to,
            "{}: nothing is deleted by age until it has run for an hour without a jump. stored_at never goes back: \
             entries stored ahead of the clock keep theirs",
            self.leapt(leap),
        );
    }

    fn leapt(self, leap: Leap) -> String {
        let direction = if leap.seconds > 0 { "forward" } else { "back" };
        format!("{} has jumped {direction} by {}", self.clock(), in_words(leap.seconds.unsigned_abs()))
    }

    /// Notes what there is to say of the clock, and of the `newest` time in the store. That it is ahead is logged once.
    pub(super) fn note(self, clock: &Clock, newest: Time, vitals: &Vitals) {
        let ahead_us = newest.as_microsecond().saturating_sub(clock.now().as_microsecond());
        let ahead_seconds = u64::try_from(ahead_us / 1_000_000).unwrap_or(0);
        let is_ahead = |seconds| seconds > LEAP.as_secs();
        let (remedy, shortly) = self.remedy();
        let ahead = is_ahead(ahead_seconds).then(|| {
            format!("the newest stored_at lies {} ahead of {}", in_words(ahead_seconds), self.clock())
        });
        if let Some(ahead) = ahead.as_ref().filter(|_| !is_ahead(vitals.ahead_seconds())) {
            tracing::error!(%newest, now = %clock.now(), "{ahead}, and later entries get the same{remedy}");
        }
        let leapt = clock.last_leap().filter(|_| clock.steady_for() < STEADY);
        let leapt = leapt.map(|leap| format!("{}, to {}", self.leapt(leap), leap.to));
        let ahead = ahead.map(|ahead| format!("{ahead}{shortly}"));
        let trouble: Vec<String> = leapt.into_iter().chain(ahead).collect();
        vitals.set_clock(ahead_seconds, (!trouble.is_empty()).then(|| trouble.join("; ")));
    }
}
