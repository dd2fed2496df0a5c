//! A page that is asked for, and how it and a tail are read from the query string of an address.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use utoipa::IntoParams;

use crate::{Code, Cursor, Failure, Filter, limits::PAGE_ENTRIES};

/// A page of entries that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Query {
    /// Which entries.
    #[param(ignore)]
    pub filter: Filter,
    /// Entries per page, 1 to 1,000; 100 by default.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub limit: usize,
    /// `next` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[1-9][0-9]{0,17}$")]
    pub cursor: Option<Cursor>,
}

impl Query {
    /// Reads the query string of `GET /logs`.
    ///
    /// # Errors
    /// [`Code::BadQuery`], with the parameter and what it takes.
    pub fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let mut read = Query::default();
        read_parameters(query, ["limit", "cursor"], |parameter, value| {
            match parameter {
                "limit" => read.limit = parse_limit(value)?,
                "cursor" => read.cursor = Some(value.parse()?),
                _ => return read.filter.set(parameter, value),
            }
            Ok(true)
        })?;
        Ok(read)
    }

    /// As a query string, without the `?`.
    pub fn to_query_string(&self) -> String {
        let own = [("limit", Some(self.limit.to_string())), ("cursor", self.cursor.map(String::from))];
        let own = own.into_iter().filter_map(|(parameter, value)| Some((parameter, value?)));
        let mut written = form_urlencoded::Serializer::new(String::new());
        written.extend_pairs(self.filter.parameters().chain(own)).finish()
    }
}

impl Default for Query {
    fn default() -> Self {
        Query { filter: Filter::default(), limit: 100, cursor: None }
    }
}

/// The first page.
impl From<Filter> for Query {
    fn from(filter: Filter) -> Self {
        Query { filter, ..Query::default() }
    }
}

/// Hands each parameter of a query string to `set`, which returns whether it knows it: those of a [`Filter`], and its
/// `own`.
pub(crate) fn read_parameters(
    query: Option<&str>,
    own: [&str; 2],
    mut set: impl FnMut(&str, &str) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let query = query.unwrap_or_default();
    check_utf8(query)?;
    let refusal = |message: String| Err(Failure::new(Code::BadQuery, message));
    let mut seen: Vec<Cow<'_, str>> = Vec::new();
    for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.contains(&parameter) {
            return refusal(format!("duplicate parameter `{parameter}`"));
        }
        if !set(&parameter, &value)? {
            let known = Filter::PARAMETERS.iter().chain(&own).map(|known| format!("`{known}`"));
            let known = known.collect::<Vec<_>>().join(", ");
            return refusal(format!("unknown parameter `{parameter}`, expected one of {known}"));
        }
        seen.push(parameter);
    }
    Ok(())
}

/// Refuses what is not UTF-8: the decoder behind it replaces that, and the search would be for something else.
fn check_utf8(query: &str) -> Result<(), Failure> {
    let is_text = |part: &str| percent_decode_str(part).decode_utf8().is_ok();
    let broken = query.split('&').find(|pair| !is_text(pair));
    broken.map_or(Ok(()), |pair| {
        let parameter = pair.split('=').next().filter(|name| is_text(name));
        let parameter = parameter.map_or_else(String::new, |name| format!(" `{name}`"));
        let message = format!("parameter{parameter} is not UTF-8: percent-encode the bytes of UTF-8");
        Err(Failure::new(Code::BadQuery, message))
    })
}

fn parse_limit(text: &str) -> Result<usize, Failure> {
    let limit = text.parse().ok().filter(|limit| (1..=PAGE_ENTRIES).contains(limit));
    limit.ok_or_else(|| {
        let more = "for more entries send `next` of each response as `cursor` of the next request";
        Failure::new(Code::BadQuery, format!("limit must be a number from 1 to {PAGE_ENTRIES}: {more}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CONTAINS_CHARS, NAME_CHARS};

    #[test]
    fn a_query_without_parameters_is_the_newest_page() {
        assert_eq!(Query::parse(None), Ok(Query::default()));
        assert_eq!(Query::parse(Some("")), Ok(Query::default()));
    }

    #[test]
    fn a_limit_out_of_its_range_says_the_range_and_how_to_read_more() {
        for limit in ["0", "1001", "-1", "many", ""] {
            let failure = Query::parse(Some(&format!("limit={limit}"))).expect_err(limit);
            assert!(failure.message().contains("from 1 to 1000: for more"), "{failure}");
            assert!(failure.message().contains("`cursor`"), "{failure}");
        }
    }

    #[test]
    fn each_parameter_out_of_its_limits_is_named() {
        let (contains, name) = ("ж".repeat(CONTAINS_CHARS + 1), "n".repeat(257));
        for (parameter, value) in [
            ("limit", "0"),
            ("limit", "1001"),
            ("cursor", "%2B5"),
            ("cursor", "005"),
            ("since", "noon"),
            ("since", "2026-01-31T12Z"),
            ("until", "20260131T120000Z"),
            ("contains", contains.as_str()),
            ("level", "INFO"),
            ("name", name.as_str()),
        ] {
            let failure = Query::parse(Some(&format!("{parameter}={value}"))).expect_err(parameter);
            assert_eq!(failure.code, Code::BadQuery);
            assert!(failure.message().contains(parameter), "{failure}");
        }
    }

    #[test]
    fn a_parameter_that_is_unknown_or_given_twice_is_named() {
        for (query, words) in [
            ("colour=red", "unknown parameter `colour`, expected one of `name`, `level`"),
            ("limit=1&limit=2", "duplicate parameter `limit`"),
            ("level=info&level=", "duplicate parameter `level`"),
        ] {
            let failure = Query::parse(Some(query)).expect_err(query);
            assert!(failure.code == Code::BadQuery && failure.message().contains(words), "{failure}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_utf8_is_named() {
        for sound in ["", "contains=%D0%B6&name=a%26b", "contains=100%&name=%zz", "&&"] {
            assert!(Query::parse(Some(sound)).is_ok(), "{sound}");
        }
        for (query, word) in [
            ("contains=%ff", "`contains`"),
            ("level=info&name=a%C3", "`name`"),
            ("contains=%c3&name=%a9", "`contains`"),
            ("%ff=1", "parameter is"),
        ] {
            let failure = Query::parse(Some(query)).expect_err(query);
            assert!(failure.code == Code::BadQuery && failure.message().contains(word), "{failure}");
        }
    }

    #[test]
    fn the_longest_text_is_looked_for() {
        // In characters, as they are described.
        let (name, contains) = ("ж".repeat(NAME_CHARS), "ж".repeat(CONTAINS_CHARS));
        let query =
            Query::parse(Some(&format!("name={name}&contains={contains}"))).expect("as long as allowed");
        assert_eq!((query.filter.name, query.filter.contains), (Some(name), Some(contains)));
    }

    #[test]
    fn a_query_survives_its_text() {
        let filter = Filter {
            name: Some("a b&c=d".into()),
            since: Some("2026-01-31T12:00:00+01:00".parse().expect("a time")),
            contains: Some("ж%".into()),
            ..Filter::default()
        };
        let query = Query { filter, limit: 7, cursor: Some(Cursor::after(9)) };
        let text = query.to_query_string();
        let expected = "name=a+b%26c%3Dd&since=2026-01-31T11%3A00%3A00Z&contains=%D0%B6%25&limit=7&cursor=9";
        assert_eq!((text.as_str(), Query::parse(Some(&text))), (expected, Ok(query)));
    }
}
