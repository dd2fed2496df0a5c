//! A moment as every entry has it: whole microseconds, and all that RFC 3339 can write.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, civil::DateTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MICROS: i64 = 1_000_000;

/// A moment in whole microseconds since 1970, from the first of the year 0 to the last of the year 9999, in UTC. It has the
/// four digits of a year that RFC 3339 gives it. jiff's own type ends 26 hours earlier, so that every moment can be
/// told in every time zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// 0000-01-01T00:00:00Z.
    pub const MIN: Time = Time(-62_167_219_200 * MICROS);

    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Time = Time(253_402_300_800 * MICROS - 1);

    /// The beginning of 1970.
    pub const UNIX_EPOCH: Time = Time(0);

    /// Now, by the clock of this machine, whatever it says.
    pub fn now() -> Self {
        let us = |distance: Duration| i64::try_from(distance.as_micros()).unwrap_or(i64::MAX);
        let us = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => us(after),
            Err(before) => -us(before.duration()),
        };
        Time(us).clamp(Time::MIN, Time::MAX)
    }

    /// So many microseconds after the beginning of 1970; `None` out of the range.
    pub fn from_microsecond(microsecond: i64) -> Option<Self> {
        (Time::MIN.0..=Time::MAX.0).contains(&microsecond).then_some(Time(microsecond))
    }

    /// The microseconds since the beginning of 1970.
    pub const fn as_microsecond(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 time; what is finer than a microsecond is cut off. `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        Read::of(text).map(|read| read.time)
    }

    /// Reads an RFC 3339 time as a bound: the first moment that is not before it. `None` if it is none.
    pub fn parse_bound(text: &str) -> Option<Self> {
        let Read { time, cut } = Read::of(text)?;
        Some(if cut { Time(time.0 + 1).min(Time::MAX) } else { time })
    }
}

/// A time that was read, and whether something finer than a microsecond was cut off.
struct Read {
    time: Time,
    cut: bool,
}

impl Read {
    fn of(text: &str) -> Option<Self> {
        let (date_and_time, fraction, offset) = split(text)?;
        // A leap second is the one before it, as everywhere where days have 86,400 seconds.
        let civil: DateTime = date_and_time.parse().ok()?;
        let seconds = civil.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0)).as_secs();
        let (kept, cut) = fraction.split_at_checked(6).unwrap_or((fraction, ""));
        let mut micros = kept.bytes().fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
        for _ in kept.len()..6 {
            micros *= 10;
        }
        let time = Time::from_microsecond((seconds - offset_seconds(offset)) * MICROS + micros)?;
        Some(Read { time, cut: cut.bytes().any(|digit| digit != b'0') })
    }
}

/// The date and time, the digits of the fraction, and the offset of a text that is laid out as RFC 3339 has it:
/// `2026-01-31T12:00:00`, with a fraction or without, then `Z` or an offset. Whether there is such a day and hour is for
/// the parser.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (date_and_time, rest) = text.split_at_checked("0000-00-00T00:00:00".len())?;
    let (fraction, offset) = match rest.strip_prefix('.') {
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            rest.split_at_checked(digits).filter(|(fraction, _)| !fraction.is_empty())?
        }
        None => ("", rest),
    };
    let is_offset = || is_like(offset, b"+00:00") && offset[1..3] <= *"23" && offset[4..6] <= *"59";
    let sound = is_like(date_and_time, b"0000-00-00T00:00:00") && (is_like(offset, b"Z") || is_offset());
    sound.then_some((date_and_time, fraction, offset))
}

/// Whether each byte is of the kind that stands in its place in `layout`.
fn is_like(text: &str, layout: &[u8]) -> bool {
    text.len() == layout.len()
        && text.bytes().zip(layout).all(|(byte, place)| match place {
            b'0' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't' | b' '),
            b'Z' => matches!(byte, b'Z' | b'z'),
            b'+' => matches!(byte, b'+' | b'-'),
            separator => byte == *separator,
        })
}

/// How far an offset that is laid out as one is from UTC.
fn offset_seconds(offset: &str) -> i64 {
    let number = |at: std::ops::Range<usize>| offset.get(at).and_then(|digits| digits.parse().ok());
    let (hours, minutes): (i64, i64) = (number(1..3).unwrap_or(0), number(4..6).unwrap_or(0));
    let seconds = hours * 3_600 + minutes * 60;
    if offset.starts_with('-') { -seconds } else { seconds }
}

/// What is finer than a microsecond is cut off, and what is out of the range becomes its end.
impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        let floor = time.as_nanosecond().div_euclid(1_000);
        Time(i64::try_from(floor).unwrap_or(i64::MAX)).clamp(Time::MIN, Time::MAX)
    }
}

impl From<Time> for SystemTime {
    fn from(time: Time) -> Self {
        let distance = Duration::from_micros(time.0.unsigned_abs());
        if time.0 < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// 9999-12-30T22:00:00Z, behind which jiff's own type ends.
        const JIFF_ENDS: i64 = 253_402_207_200 * MICROS;
        if let Ok(time) = Timestamp::from_microsecond(self.0) {
            return fmt::Display::fmt(&time, f);
        }
        let beyond = self.0 - JIFF_ENDS;
        let (seconds, micros) = (beyond / MICROS, beyond % MICROS);
        let hours = 22 + seconds / 3_600;
        let (day, hour, minute) = (30 + hours / 24, hours % 24, seconds / 60 % 60);
        write!(f, "9999-12-{day}T{hour:02}:{minute:02}:{:02}", seconds % 60)?;
        let digits = format!("{micros:06}");
        match f.precision() {
            Some(0) => {}
            Some(places) => write!(f, ".{}", digits.get(..places.min(6)).unwrap_or(&digits))?,
            None if micros == 0 => {}
            None => write!(f, ".{}", digits.trim_end_matches('0'))?,
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        Time::parse(text).ok_or(NoTime)
    }
}

/// A text that is no RFC 3339 time of the years 0 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct NoTime;

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_read_in_the_one_layout_of_rfc_3339() {
        for time in [
            "2026-01-31T12Z",
            "2026-01-31T12:00Z",
            "20260131T120000Z",
            "2026-01-31T120000Z",
            "2026-01-31T12:00:00Z[UTC]",
            "2026-01-31T12:00:00+01:00[Europe/Berlin]",
            "2026-01-31T12:00:00+01",
            "2026-01-31T12:00:00+0100",
            "2026-01-31T12:00:00+01:00:00",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+01:60",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00+1:000",
            "2026-01-31T12:00:00,5Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00 Z",
            "+002026-01-31T12:00:00Z",
            " 2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00Z ",
            "2026-02-30T12:00:00Z",
            "2026-01-31T25:00:00Z",
            "2026-01-31T24:00:00Z",
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-00:01",
            "2026-01-31T12:00:0жZ",
            "",
        ] {
            assert_eq!((Time::parse(time), Time::parse_bound(time)), (None, None), "{time}");
        }
        for (time, read) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31t12:00:00z", "2026-01-31T12:00:00Z"),
            ("2026-01-31 12:00:00.5Z", "2026-01-31T12:00:00.5Z"),
            ("2026-01-31T12:00:00.123456789-05:30", "2026-01-31T17:30:00.123456Z"),
            ("2026-01-31T12:00:00.1234567890123456789Z", "2026-01-31T12:00:00.123456Z"),
            ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00+23:59", "2026-01-30T12:01:00Z"),
            ("2026-06-30T23:59:60Z", "2026-06-30T23:59:59Z"),
            ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-30T21:59:59.999999Z", "9999-12-30T21:59:59.999999Z"),
            ("9999-12-30T22:00:00.000001Z", "9999-12-30T22:00:00.000001Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59.9999999999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(Time::parse(time).map(|time| time.to_string()).as_deref(), Some(read), "{time}");
        }
    }

    #[test]
    fn a_bound_is_the_first_moment_that_is_not_before_it() {
        for (text, bound) in [
            ("2026-01-31T12:00:00.0000000Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00.0000001Z", "2026-01-31T12:00:00.000001Z"),
            ("9999-12-31T23:59:59.9999991Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(Time::parse_bound(text), Time::parse(bound), "{text}");
        }
    }

    #[test]
    fn a_time_is_shown_with_as_many_places_as_are_asked_for() {
        for time in ["2026-01-31T12:00:00.5Z", "9999-12-31T12:00:00.5Z"] {
            let shown = Time::parse(time).expect("a time");
            assert_eq!(format!("{shown:.6}"), time.replace(".5Z", ".500000Z"));
            assert_eq!(format!("{shown:.0}"), time.replace(".5Z", "Z"));
        }
    }

    #[test]
    fn the_ends_of_the_range_are_readable() {
        for time in [Time::MIN, Time::MAX, Time::UNIX_EPOCH] {
            assert_eq!(Time::from_microsecond(time.as_microsecond()), Some(time));
            assert_eq!(Time::parse(&time.to_string()), Some(time));
        }
        assert_eq!(Time::from_microsecond(Time::MIN.0 - 1), None);
        assert_eq!(Time::from_microsecond(Time::MAX.0 + 1), None);
        assert_eq!(Time::from(Timestamp::MIN), Time::MIN);
        assert_eq!(Time::from(Timestamp::MAX).to_string(), "9999-12-30T22:00:00.999999Z");
    }

    proptest! {
        #[test]
        fn every_time_survives_its_text_and_its_json(micros in Time::MIN.0..=Time::MAX.0) {
            let time = Time(micros);
            prop_assert_eq!(Time::parse(&time.to_string()), Some(time));
            let json = serde_json::to_string(&time).expect("a string");
            prop_assert_eq!(serde_json::from_str::<Time>(&json).expect("its own"), time);
        }
    }
}
