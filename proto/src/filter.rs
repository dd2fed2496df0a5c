//! Which entries are asked for: the one filter of pages, tails, gRPC and the command.

use utoipa::IntoParams;

use crate::{
    Code, Failure, Level, Time, Transport,
    limits::{CONTAINS_CHARS, NAME_CHARS},
};

/// Which entries are asked for: those that meet every condition that is set. Its descriptions are those of the parameters
/// in `/openapi.json`, and with the feature `clap` those of the flags in `--help`.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[cfg_attr(feature = "clap", derive(clap::Args), command(next_help_heading = "Filters"))]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Exact name.
    #[cfg_attr(feature = "clap", arg(long))]
    #[param(max_length = 256)]
    pub name: Option<String>,

    /// Level.
    #[cfg_attr(feature = "clap", arg(long, value_parser = flag::level()))]
    pub level: Option<Level>,

    /// Transport over which the entry first arrived.
    #[cfg_attr(feature = "clap", arg(long, value_parser = flag::one_of(Transport::ALL, Transport::as_str)))]
    pub transport: Option<Transport>,

    /// Stored at or after this RFC 3339 time, such as 2026-01-31T12:00:00Z.
    #[cfg_attr(
        feature = "clap",
        arg(
            long,
            value_name = "TIME",
            value_parser = flag::time,
            help = "Stored at or after this RFC 3339 time, such as 2026-01-31T12:00:00Z, or within this age, such as 30m or 1h",
        )
    )]
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,

    /// Stored before this RFC 3339 time.
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", value_parser = flag::time))]
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,

    /// Text that the data contains, case-sensitive.
    #[cfg_attr(feature = "clap", arg(long, value_name = "TEXT"))]
    #[param(max_length = 4096)]
    pub contains: Option<String>,
}

impl Filter {
    /// The parameters of the conditions.
    pub(crate) const PARAMETERS: [&str; 6] = ["name", "level", "transport", "since", "until", "contains"];

    /// Sets the condition of a parameter. Returns whether there is one of that name.
    ///
    /// # Errors
    /// [`Code::BadQuery`], with the parameter and what it takes.
    pub(crate) fn set(&mut self, parameter: &str, value: &str) -> Result<bool, Failure> {
        match parameter {
            "name" => self.name = Some(within("name", value, NAME_CHARS)?.to_owned()),
            "level" => self.level = Some(value.parse().map_err(bad_query)?),
            "transport" => self.transport = Some(value.parse().map_err(bad_query)?),
            "since" => self.since = Some(time("since", value)?),
            "until" => self.until = Some(time("until", value)?),
            "contains" => self.contains = Some(within("contains", value, CONTAINS_CHARS)?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The conditions that are set, as parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&'static str, String)> {
        let Filter { name, level, transport, since, until, contains } = self.clone();
        let values = [
            name,
            level.map(|level| level.to_string()),
            transport.map(|transport| transport.to_string()),
            since.map(|since| since.to_string()),
            until.map(|until| until.to_string()),
            contains,
        ];
        std::iter::zip(Filter::PARAMETERS, values).filter_map(|(parameter, value)| Some((parameter, value?)))
    }

    /// Checks the texts of a filter that was not read from parameters.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self) -> Result<(), Failure> {
        self.name.as_deref().map(|text| within("name", text, NAME_CHARS)).transpose()?;
        self.contains.as_deref().map(|text| within("contains", text, CONTAINS_CHARS)).transpose()?;
        Ok(())
    }

    /// Whether every entry meets it.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether no entry can meet it. It is answered with no entry, since it keeps all the limits that are described.
    pub fn is_contradictory(&self) -> bool {
        self.since.zip(self.until).is_some_and(|(since, until)| since > until)
    }
}

/// In characters, as the description at `/openapi.json` counts.
fn within<'a>(parameter: &str, text: &'a str, limit_chars: usize) -> Result<&'a str, Failure> {
    if text.chars().nth(limit_chars).is_some() {
        let message = format!("{parameter} is longer than {limit_chars} characters");
        return Err(Failure::new(Code::BadQuery, message));
    }
    Ok(text)
}

fn time(parameter: &str, text: &str) -> Result<Time, Failure> {
    Time::parse_bound(text).ok_or_else(|| {
        let message = format!(
            "{parameter} is not an RFC 3339 time: send one such as 2026-01-31T12:00:00Z, with + encoded as %2B"
        );
        Failure::new(Code::BadQuery, message)
    })
}

fn bad_query(failure: Failure) -> Failure {
    Failure::new(Code::BadQuery, failure.into_message())
}

/// How the command line takes the values of its flags.
#[cfg(feature = "clap")]
pub mod flag {
    use std::str::FromStr;

    use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

    use crate::{Failure, Level, Time};

    /// Takes the word for one of these, and lists them in `--help`.
    pub fn one_of<T, const N: usize>(
        all: [T; N],
        word: fn(T) -> &'static str,
    ) -> impl TypedValueParser<Value = T>
    where
        T: FromStr<Err = Failure> + Clone + Send + Sync + 'static,
    {
        PossibleValuesParser::new(all.map(word)).try_map(|word| word.parse::<T>())
    }

    /// Takes the word for a level, or `warn`.
    pub fn level() -> impl TypedValueParser<Value = Level> {
        let words = Level::ALL.map(|level| match level {
            Level::Warning => PossibleValue::new(level.as_str()).alias("warn"),
            Level::Info | Level::Error => PossibleValue::new(level.as_str()),
        });
        PossibleValuesParser::new(words).try_map(|word| match word.as_str() {
            "warn" => Ok(Level::Warning),
            word => word.parse::<Level>(),
        })
    }

    /// Takes a bound in time, as it is typed and not encoded for an address, or how long ago that is.
    pub(super) fn time(text: &str) -> Result<Time, &'static str> {
        ago(text).or_else(|| Time::parse_bound(text)).ok_or(
            "expected an RFC 3339 time such as 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00, or an age such as 90s, \
             15m, 2h or 7d",
        )
    }

    fn ago(text: &str) -> Option<Time> {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let microseconds = number.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000)?;
        Time::from_microsecond(Time::now().as_microsecond().checked_sub(microseconds)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_ends_before_it_begins_is_met_by_nothing() {
        let [early, late] =
            ["2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z"].map(|text| Some(text.parse().expect("a time")));
        let filter = |since, until| Filter { since, until, ..Filter::default() };
        assert!(filter(late, early).is_contradictory());
        for (since, until) in [(early, late), (early, early), (late, None), (None, early)] {
            assert!(!filter(since, until).is_contradictory());
        }
    }

    #[test]
    fn each_condition_is_a_parameter_that_is_read_again() {
        let filter = Filter {
            name: Some("event".into()),
            level: Some(Level::Error),
            transport: Some(Transport::Rpc),
            since: Some("2026-01-31T12:00:00Z".parse().expect("a time")),
            until: Some("2026-01-31T12:00:01Z".parse().expect("a time")),
            contains: Some("text".into()),
        };
        let mut again = Filter::default();
        assert!(again.is_empty());
        for (parameter, value) in filter.parameters() {
            assert_eq!(again.set(parameter, &value), Ok(true), "{parameter}");
        }
        assert_eq!(again, filter);
        assert_eq!(again.set("limit", "1"), Ok(false));
    }

    #[test]
    fn a_filter_of_the_command_keeps_the_same_limits() {
        let name = |chars: usize| Filter { name: Some("ж".repeat(chars)), ..Filter::default() };
        assert_eq!(name(NAME_CHARS).check(), Ok(()));
        assert!(name(NAME_CHARS + 1).check().is_err_and(|failure| failure.message().contains("name")));
        let contains = |chars: usize| Filter { contains: Some("ж".repeat(chars)), ..Filter::default() };
        assert_eq!(contains(CONTAINS_CHARS).check(), Ok(()));
        assert!(
            contains(CONTAINS_CHARS + 1).check().is_err_and(|failure| failure.message().contains("contains"))
        );
    }

    #[cfg(feature = "clap")]
    #[test]
    fn a_time_is_expected_as_it_is_typed() {
        let read = flag::time("2026-01-31T13:00:00+01:00");
        assert_eq!(read, Ok("2026-01-31T12:00:00Z".parse().expect("a time")));
        let message = flag::time("noon").expect_err("no time");
        assert!(message.contains("+01:00") && !message.contains('%'));
        let ago = |text| flag::time(text).map(|time| Time::now().as_microsecond() - time.as_microsecond());
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("7d", 604_800), ("0s", 0)] {
            let late = ago(text).expect(text) - seconds * 1_000_000;
            assert!((0..60_000_000).contains(&late), "{text}: {late}");
        }
        for text in ["", "h", "-1h", "1.5h", "1w", "99999999999999999999d", "9223372036854775807d", "1h "] {
            assert!(flag::time(text).is_err(), "{text}");
        }
    }
}
