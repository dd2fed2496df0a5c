//! Following what is stored: from where, which entries, and what there is to tell.

use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::{Code, Cursor, Failure, Query, QueryDraft, StoredEntry, read::parse_cursor_or_start};

/// Which entries a tail is to follow, and from where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TailQuery {
    /// The conditions that all must be met. Its `limit` and `cursor` are for pages, and not looked at. Without `after`
    /// the tail begins at `since`; at `until` it ends.
    pub filter: Query,
    /// The entry after which the tail begins; `None`: at `since`, or else now.
    pub after: Option<Cursor>,
    /// A reader that is more entries behind is told how many it misses, and goes on with the newest of them; `None`: it
    /// may be as far behind as the store goes back.
    pub max_lag: Option<u64>,
}

/// The parameters of `GET /logs/stream` and of `TailLogs` as they came, not yet looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TailDraft {
    /// Entries of exactly this name.
    #[param(max_length = 256)]
    pub name: Option<String>,
    /// `info`, `warning` or `error`.
    #[param(value_type = Option<crate::Level>)]
    pub level: Option<String>,
    /// `http`, `rpc`, `rabbitmq` or `grpc`.
    #[param(value_type = Option<crate::Transport>)]
    pub transport: Option<String>,
    /// Stored at this RFC 3339 time or later: the stream begins there, unless `after` is given.
    #[param(format = DateTime)]
    pub since: Option<String>,
    /// Stored before this RFC 3339 time: the stream ends there.
    #[param(format = DateTime)]
    pub until: Option<String>,
    /// Whose data holds this text, letter case and all.
    #[param(max_length = 4096)]
    pub contains: Option<String>,
    /// The `id` of an event: the stream goes on after it. `0` is before the first entry; left out: from now.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})$")]
    pub after: Option<String>,
    /// A reader that is more entries behind is told how many it misses; left out: it may be as far behind as it likes.
    #[param(value_type = Option<u64>, minimum = 1)]
    pub max_lag: Option<String>,
}

impl TailDraft {
    /// The one way to a valid question for a tail.
    ///
    /// # Errors
    /// [`Code::BadQuery`], with the parameter and what it takes.
    pub fn check(self) -> Result<TailQuery, Failure> {
        let TailDraft { name, level, transport, since, until, contains, after, max_lag } = self;
        let draft = QueryDraft { name, level, transport, since, until, contains, limit: None, cursor: None };
        Ok(TailQuery {
            filter: draft.check()?,
            after: after.as_deref().map(parse_cursor_or_start).transpose()?,
            max_lag: max_lag.as_deref().map(parse_max_lag).transpose()?,
        })
    }
}

impl From<&TailQuery> for TailDraft {
    fn from(query: &TailQuery) -> Self {
        let filter = &query.filter;
        TailDraft {
            name: filter.name.clone(),
            level: filter.level.map(|level| level.to_string()),
            transport: filter.transport.map(|transport| transport.to_string()),
            since: filter.since.map(|since| since.to_string()),
            until: filter.until.map(|until| until.to_string()),
            contains: filter.contains.clone(),
            after: query.after.map(String::from),
            max_lag: query.max_lag.map(|max_lag| max_lag.to_string()),
        }
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
    number.ok_or_else(|| Failure::new(Code::BadQuery, "max_lag takes a number of entries of at least 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_survives_its_text() {
        let draft = TailDraft {
            name: Some("event".into()),
            level: Some("error".into()),
            transport: Some("rpc".into()),
            since: Some("2026-01-31T12:00:00Z".into()),
            until: Some("2026-01-31T12:00:01Z".into()),
            contains: Some("text".into()),
            after: Some("7".into()),
            max_lag: Some("100".into()),
        };
        let query = draft.clone().check().expect("within the limits");
        assert_eq!((query.after, query.max_lag), (Some(Cursor::after(7)), Some(100)));
        assert_eq!(TailDraft::from(&query), draft);
        assert_eq!(TailDraft::default().check(), Ok(TailQuery::default()));
    }

    #[test]
    fn a_tail_may_begin_before_the_first_entry() {
        let after = |text: &str| TailDraft { after: Some(text.into()), ..TailDraft::default() }.check();
        assert_eq!(after("0").map(|query| query.after), Ok(Some(Cursor::after(0))));
        for text in ["", "-1", "+1", "00", "x"] {
            assert_eq!(after(text).map_err(|failure| failure.code), Err(Code::BadQuery), "{text}");
        }
    }

    #[test]
    fn what_is_out_of_its_limits_is_named() {
        for max_lag in ["0", "-1", "many", ""] {
            let draft = TailDraft { max_lag: Some(max_lag.into()), ..TailDraft::default() };
            assert!(draft.check().expect_err(max_lag).message().contains("max_lag"));
        }
        let draft = TailDraft { level: Some("INFO".into()), ..TailDraft::default() };
        assert_eq!(draft.check().expect_err("levels are lower case").code, Code::BadQuery);
    }
}
