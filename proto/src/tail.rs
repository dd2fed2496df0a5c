//! Following what is stored: from where, which entries, and what there is to tell.

use utoipa::IntoParams;

use crate::{Code, Cursor, Failure, Filter, StoredEntry, query::read_parameters};

/// Which entries a tail is to follow, and from where.
#[derive(Debug, Clone, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TailQuery {
    /// Which entries. Without `after` the tail begins at `since`; at `until` it ends.
    #[param(ignore)]
    pub filter: Filter,
    /// Resume after the event with this `id`; `0` is before the first entry. By default the stream begins at `since`, or
    /// else now.
    #[param(value_type = Option<String>, pattern = "^(0|[1-9][0-9]{0,17})$")]
    pub after: Option<Cursor>,
    /// A reader that is more entries behind skips to the newest of them, and is told how many it missed. By default it may
    /// be as far behind as the store goes back.
    #[param(minimum = 1)]
    pub max_lag: Option<u64>,
}

impl TailQuery {
    /// Reads the query string of `GET /logs/stream`.
    ///
    /// # Errors
    /// [`Code::BadQuery`], with the parameter and what it takes.
    pub fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let mut read = TailQuery::default();
        read_parameters(query, ["after", "max_lag"], |parameter, value| read.set(parameter, value))?;
        Ok(read)
    }

    /// Resumes after the entry of this cursor; `0` is before the first.
    ///
    /// # Errors
    /// [`Code::BadQuery`] if it is no cursor.
    pub fn resume_after(&mut self, cursor: &str) -> Result<(), Failure> {
        self.after = Some(Cursor::parse_or_start(cursor)?);
        Ok(())
    }

    /// As [`Filter::set`], for its own parameters too.
    pub(crate) fn set(&mut self, parameter: &str, value: &str) -> Result<bool, Failure> {
        match parameter {
            "after" => self.resume_after(value)?,
            "max_lag" => self.max_lag = Some(parse_max_lag(value)?),
            _ => return self.filter.set(parameter, value),
        }
        Ok(true)
    }
}

/// What a tail has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TailEvent {
    /// An entry that meets the conditions.
    Entry(StoredEntry),
    /// So many entries, whether they meet the conditions or not, are missed: they were deleted, or skipped since the
    /// reader was too far behind.
    Missed(u64),
    /// Everything up to here has been told.
    Reached,
}

fn parse_max_lag(text: &str) -> Result<u64, Failure> {
    let number = text.parse().ok().filter(|max_lag| *max_lag > 0);
    number.ok_or_else(|| Failure::new(Code::BadQuery, "max_lag must be a number of entries, at least 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::TailRequest;

    #[test]
    fn a_question_survives_its_text_and_its_message() {
        let text = "name=event&level=error&transport=rpc&since=2026-01-31T12:00:00Z&until=2026-01-31T12:00:01Z\
                    &contains=text&after=7&max_lag=100";
        let query = TailQuery::parse(Some(text)).expect("within the limits");
        assert_eq!((query.after, query.max_lag), (Some(Cursor::after(7)), Some(100)));
        assert_eq!(query.filter.parameters().count(), Filter::PARAMETERS.len());
        assert_eq!(TailQuery::try_from(TailRequest::from(&query)), Ok(query));
        assert_eq!(TailQuery::parse(None), Ok(TailQuery::default()));
    }

    #[test]
    fn a_tail_may_begin_before_the_first_entry() {
        let after = |text: &str| TailQuery::parse(Some(&format!("after={text}")));
        assert_eq!(after("0").map(|query| query.after), Ok(Some(Cursor::after(0))));
        for text in ["", "-1", "%2B1", "00", "x"] {
            assert_eq!(after(text).map_err(|failure| failure.code), Err(Code::BadQuery), "{text}");
        }
    }

    #[test]
    fn what_is_out_of_its_limits_is_named() {
        for max_lag in ["0", "-1", "many", ""] {
            let failure = TailQuery::parse(Some(&format!("max_lag={max_lag}"))).expect_err(max_lag);
            assert!(failure.message().contains("max_lag"));
        }
        let request = TailRequest { max_lag: Some(0), ..TailRequest::default() };
        assert!(TailQuery::try_from(request).is_err());
    }
}
