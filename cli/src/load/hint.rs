//! What to do about a line that is not an entry, where the whole file looks like something else.

use std::collections::BTreeMap;

use proto::{Code, Failure};
use serde::de::IgnoredAny;

/// The fields that the store adds to an entry, and `tail --json` to a line.
const ADDED: [&str; 4] = ["transport", "stored_at", "attempts", "cursor"];

/// How to make a file of lines out of other JSON.
const LAYOUT: &str = "; one JSON object per line: `jq -c .` puts each object on a line, `jq -c '.[]'` each element of an array";

/// The refusal of a line, with a hint where one would help.
pub(super) fn added_to(failure: Failure, line: &[u8]) -> Failure {
    if failure.code == Code::BadField && has_added_field(line) {
        return stored_entry();
    }
    if is_part_of_a_value(line.trim_ascii()) {
        let hinted = format!("{}{LAYOUT}", failure.happened());
        return failure.reworded(hinted);
    }
    failure
}

/// The refusal of an entry with fields that it gets when it is stored.
pub(super) fn stored_entry() -> Failure {
    let message = format!(
        "this is a stored entry ({} are added by the store): strip it with jq -c '{{id,name,data,level,created_at}}'",
        ADDED.map(|field| format!("`{field}`")).join(", ")
    );
    Failure::new(Code::BadField, message)
}

fn has_added_field(line: &[u8]) -> bool {
    let fields: Option<BTreeMap<String, IgnoredAny>> = serde_json::from_slice(line).ok();
    fields.is_some_and(|fields| ADDED.iter().any(|added| fields.contains_key(*added)))
}

/// Whether it may be a part of JSON that is laid out over several lines, or of an array.
fn is_part_of_a_value(line: &[u8]) -> bool {
    let breaks_off = || serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof());
    line.starts_with(b"[") || line.starts_with(b"]") || line.ends_with(b",") || breaks_off()
}

#[cfg(test)]
mod tests {
    use proto::json::parse_line;

    use super::*;

    fn told(line: &[u8]) -> (Code, String) {
        let failure = added_to(parse_line(line).expect_err("not an entry"), line);
        (failure.code, failure.into_message())
    }

    #[test]
    fn a_line_that_is_no_json_is_told_with_its_column() {
        for (line, words) in [
            (&b"no json"[..], "column 2: expected ident"),
            (b"{\"name\":event}", "column 9: expected value"),
            (b"{\"name\":\"event", "column 14: EOF while parsing a string"),
            (b"{\"name\":\"event\"", "column 15: EOF while parsing an object"),
            (b"{", "column 1: EOF while parsing an object"),
            (b"{\"name\":", "column 8: EOF while parsing a value"),
            (b"{\"name\" \"event\"}", "column 9: expected `:`"),
            (b"{\"name\":\"a\" \"data\":\"b\"}", "column 13: expected `,` or `}`"),
            (b"{name:\"a\"}", "column 2: key must be a string"),
            (b"{\"name\":\"a\",}", "column 13: trailing comma"),
            (b"{\"name\":\"a\",\"data\":\"b\"} {", "column 25: trailing characters"),
            (b"{\"name\":\"a\\x\"}", "column 12: invalid escape"),
            (b"{\"name\":\"\\u00zz\"}", "invalid escape"),
            (b"{\"name\":\"a\tb\"}", "control character"),
            ("  {\"имя\": да}".as_bytes(), "unknown field `имя`"),
            (b"{\"name\":\"\xff\"}", "not UTF-8 at column 10"),
            ("{\"name\":\"имя".as_bytes(), "column 12: EOF"),
            ("\u{feff}{}".as_bytes(), "byte order mark"),
            (b"{\"name\":\"\\ud800\",\"data\":\"\"}", "hex escape"),
            ("  {\"name\":\"имя\",\"data\":\"\\ud800\"}".as_bytes(), "column 31: "),
            (b"{\"name\":\"n\",\"data\":[1e999]}", "column 25: number out of range"),
        ] {
            let (_, message) = told(line);
            let shown = String::from_utf8_lossy(line);
            assert!(message.contains(words) && !message.contains("line 1"), "{shown}: {message}");
        }
    }

    #[test]
    fn a_field_that_does_not_belong_is_named() {
        for (line, words) in [
            ("7", "expected an object"),
            ("{\"data\":1}", "missing field `name`"),
            ("{\"name\":\"n\"}", "missing field `data`"),
            ("{\"name\":\"n\",\"data\":1,\"colour\":2}", "unknown field `colour`"),
            ("{\"name\":5,\"data\":1}", "field `name`: invalid type"),
            ("{\"name\":\"n\",\"data\":1,\"id\":7}", "field `id`: invalid type"),
            ("{\"name\":\"n\",\"name\":\"n\",\"data\":1}", "duplicate field `name`"),
        ] {
            let (code, message) = told(line.as_bytes());
            assert_eq!(code, Code::BadField, "{line}: {message}");
            assert!(message.starts_with(words) && !message.contains("`transport`"), "{line}: {message}");
        }
    }

    #[test]
    fn json_that_is_laid_out_otherwise_gets_a_hint() {
        for line in [
            "[",
            "]",
            "[]",
            "[{\"name\":\"a\",\"data\":1},",
            "  {\"name\":\"a\",\"data\":\"b\"},",
            "  {",
            "{\"name\":\"a\",",
        ] {
            assert!(told(line.as_bytes()).1.ends_with(LAYOUT), "{line}");
        }
        assert!(!told(b"{\"name\":5}").1.contains("jq"));
    }

    #[test]
    fn what_the_store_has_added_is_to_be_stripped() {
        for line in [
            r#"{"cursor":"7","id":null,"name":"n","data":"","stored_at":"","transport":"rpc","attempts":1}"#,
            r#"{"name":"n","data":"","stored_at":""}"#,
        ] {
            let (code, message) = told(line.as_bytes());
            assert_eq!(code, Code::BadField);
            assert!(message.contains("`stored_at`"), "{message}");
            assert!(message.ends_with("jq -c '{id,name,data,level,created_at}'"), "{message}");
        }
    }
}
