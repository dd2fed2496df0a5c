//! The wall clock, and whether it can be trusted.
//!
//! Every entry gets its time, and retention by age depends on it. It may be wrong: set by hand, by a machine with
//! an empty battery, or by a restored virtual machine. So it is compared with the time since boot, which nobody can
//! set, and which keeps running while the machine is suspended.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use proto::Time;

/// A difference between the two of more than this is a leap. Far more than a leap second or what a time server corrects
/// at once, and far less than the hours in which retention counts.
pub(crate) const LEAP: Duration = Duration::from_secs(60);

/// How often the two are read until nothing came in between.
const READS: u32 = 5;

/// How long reading both may take. A process that is held up in between would see a leap that was none.
const READ_WITHIN: Duration = Duration::from_millis(10);

/// The clock, as it was last read.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    last: Reading,
    /// Since when it has run without a leap, by the time since the start of the machine.
    steady_since: Duration,
    leapt: Option<Leap>,
}

/// What both said at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Microseconds since 1970.
    pub(crate) wall_us: i64,
    /// The time since the machine was started.
    pub(crate) running: Duration,
}

/// How far the wall clock has leapt in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leap {
    /// Forward, or back if negative.
    pub(crate) seconds: i64,
    /// What the clock said after it.
    pub(crate) to: Time,
}

#[derive(Debug)]
enum Source {
    System,
    #[cfg(test)]
    Hand(std::sync::Arc<std::sync::Mutex<Reading>>),
}

impl Clock {
    /// That of this machine.
    pub(crate) fn system() -> Self {
        Self::of(Source::System)
    }

    /// That of another machine, which [`Clock::tell`] is told of. It is compared with how long this one runs.
    pub(crate) fn told(now: Time) -> Self {
        let mut clock = Self::of(Source::System);
        clock.last.wall_us = now.as_microsecond();
        clock
    }

    /// One that is set by hand.
    #[cfg(test)]
    pub(crate) fn by_hand(reading: std::sync::Arc<std::sync::Mutex<Reading>>) -> Self {
        Self::of(Source::Hand(reading))
    }

    fn of(source: Source) -> Self {
        let last = source.read();
        Clock { source, last, steady_since: last.running, leapt: None }
    }

    /// Reads it; returns the leap that it has made since it was last read.
    pub(crate) fn read(&mut self) -> Option<Leap> {
        let now = self.source.read();
        self.note(now)
    }

    /// What the other machine's clock says now; returns the leap that it has made since this was last told.
    pub(crate) fn tell(&mut self, now: Time) -> Option<Leap> {
        let running = self.source.read().running;
        self.note(Reading { wall_us: now.as_microsecond(), running })
    }

    fn note(&mut self, now: Reading) -> Option<Leap> {
        let ran =
            i128::try_from(now.running.saturating_sub(self.last.running).as_micros()).unwrap_or(i128::MAX);
        let leapt_us = i128::from(now.wall_us) - i128::from(self.last.wall_us) - ran;
        self.last = now;
        if leapt_us.unsigned_abs() <= LEAP.as_micros() {
            return None;
        }
        let seconds =
            i64::try_from(leapt_us / 1_000_000).unwrap_or(if leapt_us > 0 { i64::MAX } else { i64::MIN });
        let leap = Leap { seconds, to: self.now() };
        (self.steady_since, self.leapt) = (now.running, Some(leap));
        Some(leap)
    }

    /// What it said when it was last read.
    pub(crate) fn now(&self) -> Time {
        let end = if self.last.wall_us < 0 { Time::MIN } else { Time::MAX };
        Time::from_microsecond(self.last.wall_us).unwrap_or(end)
    }

    /// For how long it has been seen to run without a leap.
    pub(crate) fn steady_for(&self) -> Duration {
        self.last.running.saturating_sub(self.steady_since)
    }

    /// Its last leap.
    pub(crate) fn last_leap(&self) -> Option<Leap> {
        self.leapt
    }
}

impl Source {
    fn read(&self) -> Reading {
        match self {
            Source::System => read_system(),
            #[cfg(test)]
            Source::Hand(reading) => *reading.lock().expect("nobody panics with it"),
        }
    }
}

fn read_system() -> Reading {
    // A system without this clock has one that stands still while it is suspended: then that looks like a leap.
    let running = || {
        let time =
            clock_gettime(ClockId::CLOCK_BOOTTIME).or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC));
        time.map_or(Duration::ZERO, Duration::from)
    };
    let mut reads = 0;
    loop {
        let before = running();
        let wall_us = Time::now().as_microsecond();
        let after = running();
        reads += 1;
        if after.saturating_sub(before) <= READ_WITHIN || reads == READS {
            return Reading { wall_us, running: after };
        }
    }
}

/// A distance of time for people: in the largest unit of which there are two.
pub(crate) fn in_words(seconds: u64) -> String {
    for (unit, name) in [(365 * 86_400, "years"), (86_400, "days"), (3_600, "hours"), (60, "minutes")] {
        if seconds >= 2 * unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} seconds")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn by_hand() -> (Arc<Mutex<Reading>>, Clock) {
        let reading = Arc::new(Mutex::new(Reading {
            wall_us: 1_800_000_000_000_000,
            running: Duration::from_secs(100),
        }));
        (Arc::clone(&reading), Clock::by_hand(reading))
    }

    /// Lets both go on by so many seconds.
    fn pass(reading: &Mutex<Reading>, wall: i64, running: u64) {
        let mut reading = reading.lock().expect("nobody panics with it");
        reading.wall_us += wall * 1_000_000;
        reading.running += Duration::from_secs(running);
    }

    #[test]
    fn a_suspend_is_no_leap_and_neither_is_what_a_time_server_corrects() {
        let (reading, mut clock) = by_hand();
        for (wall, running) in [(1, 1), (8 * 3_600, 8 * 3_600), (3, 1), (0, 1), (61, 1), (0, 60)] {
            pass(&reading, wall, running);
            assert_eq!(clock.read(), None, "{wall} {running}");
        }
        assert_eq!(clock.steady_for(), Duration::from_secs(1 + 8 * 3_600 + 1 + 1 + 1 + 60));
        assert_eq!(clock.last_leap(), None);
    }

    #[test]
    fn a_leap_is_noticed_both_ways_and_once() {
        let (reading, mut clock) = by_hand();
        for (wall, seconds) in [(365 * 86_400 + 1, 365 * 86_400), (-30 * 86_400 + 1, -30 * 86_400), (62, 61)]
        {
            pass(&reading, wall, 1);
            assert_eq!(clock.read().map(|leap| leap.seconds), Some(seconds));
            assert_eq!(clock.steady_for(), Duration::ZERO);
            pass(&reading, 5, 5);
            assert_eq!(clock.read(), None);
            assert_eq!(clock.steady_for(), Duration::from_secs(5));
        }
    }

    #[test]
    fn the_machines_own_clock_does_not_leap() {
        let mut clock = Clock::system();
        for _ in 0..1_000 {
            assert_eq!(clock.read(), None);
        }
        assert!(clock.now() > Time::UNIX_EPOCH);
    }

    #[test]
    fn a_distance_is_told_in_the_largest_unit() {
        for (seconds, words) in [
            (90, "90 seconds"),
            (7_199, "119 minutes"),
            (8 * 3_600, "8 hours"),
            (366 * 86_400, "366 days"),
            (730 * 86_400, "2 years"),
        ] {
            assert_eq!(in_words(seconds), words);
        }
    }
}
