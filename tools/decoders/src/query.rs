//! What `GET /logs` and `GET /logs/{id}` are asked for.

use http::Uri;
use proto::{
    Cursor, Query,
    limits::{CONTAINS_CHARS, NAME_CHARS, PAGE_ENTRIES},
    parse_entry_id,
};

use crate::entry::check_refusal;

/// Any bytes as what stands behind `?`, as a cursor, and as an id.
///
/// # Panics
/// If an accepted query is out of its limits, or it, a cursor or an id is another one after it was written out
/// and read again; or if a refusal is not one.
pub fn query(bytes: &[u8]) {
    if let Some(query) = read([b"/logs?", bytes].concat()) {
        let Query { filter, limit, .. } = &query;
        assert!(filter.name.as_ref().is_none_or(|name| name.chars().count() <= NAME_CHARS));
        assert!(filter.contains.as_ref().is_none_or(|text| text.chars().count() <= CONTAINS_CHARS));
        assert!((1..=PAGE_ENTRIES).contains(limit), "a page of {limit}");
        let written = format!("/logs?{}", query.to_query_string());
        assert_eq!(read(written.into_bytes()), Some(query));
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    match text.parse::<Cursor>() {
        Ok(cursor) => {
            assert!(cursor.sequence() > 0, "a page that begins below all entries");
            assert_eq!(String::from(cursor), text);
        }
        Err(failure) => check_refusal(&failure),
    }
    match parse_entry_id(text) {
        Ok(id) => assert_eq!(parse_entry_id(&id.to_string()), Ok(id)),
        Err(failure) => check_refusal(&failure),
    }
}

/// As the logger's server does it; `None` for what it refuses.
fn read(path_and_query: Vec<u8>) -> Option<Query> {
    let uri = Uri::try_from(path_and_query).ok()?;
    Query::parse(uri.query()).inspect_err(check_refusal).ok()
}
