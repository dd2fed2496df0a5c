//! What `GET /logs` and `GET /logs/{id}` are asked for.

use axum::extract::Query as UrlQuery;
use http::Uri;
use proto::{
    Cursor, Query, QueryDraft, check_query_text,
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
        assert!(query.name.as_ref().is_none_or(|name| name.chars().count() <= NAME_CHARS));
        assert!(query.contains.as_ref().is_none_or(|text| text.chars().count() <= CONTAINS_CHARS));
        assert!((1..=PAGE_ENTRIES).contains(&query.limit), "a page of {}", query.limit);
        assert_eq!(read(written(&query)), Some(query));
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
    check_query_text(uri.query()).inspect_err(check_refusal).ok()?;
    let UrlQuery(draft) = UrlQuery::<QueryDraft>::try_from_uri(&uri).ok()?;
    draft.check().inspect_err(check_refusal).ok()
}

fn written(query: &Query) -> Vec<u8> {
    let Query { name, level, transport, since, until, contains, limit, cursor } = query;
    let fields = [
        ("name", name.clone()),
        ("level", level.map(|level| level.to_string())),
        ("transport", transport.map(|transport| transport.to_string())),
        ("since", since.map(|since| since.to_string())),
        ("until", until.map(|until| until.to_string())),
        ("contains", contains.clone()),
        ("limit", Some(limit.to_string())),
        ("cursor", cursor.map(String::from)),
    ];
    let fields = fields.into_iter().filter_map(|(field, value)| Some((field, value?)));
    let fields = fields.map(|(field, value)| {
        let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("{field}={value}")
    });
    format!("/logs?{}", fields.collect::<Vec<_>>().join("&")).into_bytes()
}
