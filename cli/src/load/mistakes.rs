//! What is wrong with a line that is no entry, in words for the author of the file.

use std::fmt;

use proto::{
    Code, Failure,
    json::{in_plain_words, mistake, parse_entry},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

/// The fields of an entry. All are text, but for `data`, which is any value.
const FIELDS: [&str; 5] = ["name", "data", "id", "level", "created_at"];

/// Those that it must have.
const NEEDED: [&str; 2] = ["name", "data"];

/// What the store adds to an entry, and what `tail --json` does.
const ADDED: [&str; 4] = ["transport", "stored_at", "attempts", "cursor"];

/// Where the file seems to be one list.
const OF_A_LIST: &str = "; of a list, jq -c '.[]' makes a line for each entry";

/// The refusal of a line that was read as an entry and is none, with the column of the mistake where it has one.
pub(super) fn explained(line: &[u8], failure: &Failure) -> Failure {
    let Ok(text) = std::str::from_utf8(line) else { return no_text(line) };
    match serde_json::from_str::<Look>(text) {
        Err(error) => no_object(text, &error),
        Ok(look) => match look.mistake() {
            Some(mistake) => Failure::new(Code::BadField, mistake),
            None => a_value(line, failure),
        },
    }
}

/// The refusal of a line with fields that an entry gets when it is stored.
pub(super) fn added(fields: &[&str]) -> Failure {
    let (fields, verb) = match fields {
        [field] => (format!("`{field}`"), "is"),
        fields => (fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", "), "are"),
    };
    let message = format!(
        "{fields} {verb} added when an entry is stored: strip what is added with \
         jq -c '{{id,name,data,level,created_at}}'"
    );
    Failure::new(Code::BadField, message)
}

fn no_text(line: &[u8]) -> Failure {
    let valid = line.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let column = valid.chars().count() + 1;
    Failure::new(Code::BadJson, format!("column {column}: no text in UTF-8: save the file in UTF-8"))
}

fn no_object(text: &str, error: &serde_json::Error) -> Failure {
    if text.starts_with('\u{feff}') {
        return Failure::new(
            Code::BadJson,
            "a byte order mark comes before it: save the file in UTF-8 without one",
        );
    }
    match error.classify() {
        Category::Data => {
            let hint = if text.trim().starts_with('[') { OF_A_LIST } else { "" };
            let message = format!(
                "an entry is an object in one line, such as {{\"name\":\"event\",\"data\":\"hello\"}}{hint}"
            );
            Failure::new(Code::BadField, message)
        }
        Category::Syntax | Category::Eof | Category::Io => {
            // It counts bytes.
            let column = text.char_indices().take_while(|(at, _)| *at < error.column()).count().max(1);
            let hint = hint(text.trim(), error);
            Failure::new(Code::BadJson, format!("column {column}: {}{hint}", in_plain_words(error)))
        }
    }
}

/// What there is to say besides where the line may be a part of JSON that is laid out over several.
fn hint(text: &str, error: &serde_json::Error) -> &'static str {
    let trails = error.to_string().starts_with("trailing characters");
    match error.classify() {
        Category::Eof => "; an entry stands in one line: jq -c . makes one of several",
        Category::Syntax if text.starts_with(']') || (trails && text.ends_with(',')) => OF_A_LIST,
        Category::Syntax if trails => "; each entry stands in a line of its own",
        Category::Syntax | Category::Data | Category::Io => "",
    }
}

/// Of a line whose JSON and fields are well, it is one of the values that cannot be kept.
fn a_value(line: &[u8], failure: &Failure) -> Failure {
    // The place is to count from the beginning of the line, with what is blank before the entry.
    let whole = parse_entry(line).err();
    let told = whole.as_ref().and_then(mistake).and_then(|told| told.strip_prefix("line 1 "));
    match told {
        Some(told) if failure.code == Code::BadJson => Failure::new(Code::BadJson, told),
        Some(_) | None => failure.clone(),
    }
}

/// A look at the fields of an object. Nothing is kept of their values.
#[derive(Default)]
struct Look {
    seen: Vec<&'static str>,
    twice: Option<&'static str>,
    no_text: Option<&'static str>,
    added: Vec<&'static str>,
    unknown: Option<String>,
}

impl Look {
    fn take(&mut self, name: String, value: &str) {
        let one_of = |fields: &[&'static str]| fields.iter().copied().find(|field| *field == name);
        if let Some(field) = one_of(&FIELDS) {
            let text = value.starts_with('"') || (value == "null" && !NEEDED.contains(&field));
            if field != "data" && !text {
                self.no_text.get_or_insert(field);
            }
            match self.seen.contains(&field) {
                true => self.twice = Some(field),
                false => self.seen.push(field),
            }
        } else if let Some(field) = one_of(&ADDED) {
            if !self.added.contains(&field) {
                self.added.push(field);
            }
        } else {
            self.unknown.get_or_insert(name);
        }
    }

    fn mistake(self) -> Option<String> {
        const HAS: &str = "an entry has name and data, and may have id, level and created_at";
        if !self.added.is_empty() {
            return Some(added(&self.added).into_message());
        }
        if let Some(field) = self.unknown {
            return Some(format!("`{field}` is no field of it: {HAS}"));
        }
        if let Some(field) = NEEDED.into_iter().find(|field| !self.seen.contains(field)) {
            return Some(format!("`{field}` is missing: {HAS}"));
        }
        if let Some(field) = self.twice {
            return Some(format!("`{field}` stands in it twice"));
        }
        self.no_text.map(|field| format!("`{field}` must be a text in \"…\""))
    }
}

impl<'de> Deserialize<'de> for Look {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Look::default())
    }
}

impl<'de> Visitor<'de> for Look {
    type Value = Look;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Look, A::Error> {
        while let Some((name, value)) = fields.next_entry::<String, &RawValue>()? {
            self.take(name, value.get());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proto::json::parse_entry;

    use super::*;

    fn told(line: &[u8]) -> (Code, String) {
        let failure = parse_entry(line.trim_ascii()).expect_err("no entry");
        let failure = explained(line, &failure);
        (failure.code, failure.into_message())
    }

    #[test]
    fn a_line_that_is_no_json_is_told_in_plain_words_with_its_column() {
        for (line, words) in [
            (&b"no json"[..], "column 2: no value"),
            (b"{\"name\":event}", "column 9: no value"),
            (b"{\"name\":\"event", "column 14: it ends within a text"),
            (b"{\"name\":\"event\"", "column 15: it ends before the object"),
            (b"{", "column 1: it ends before the object"),
            (b"{\"name\":[1", "column 10: it ends before the list"),
            (b"{\"name\":", "column 8: it ends where a field or a value is missing"),
            (b"{\"name\" \"event\"}", "column 9: a : is missing"),
            (b"{\"name\":\"a\" \"data\":\"b\"}", "column 13: a , or a }"),
            (b"{\"name\":[1 2]}", "column 12: a , or a ]"),
            (b"{name:\"a\"}", "column 2: the name of a field is missing"),
            (b"{\"name\":\"a\",}", "column 13: nothing comes after the last comma"),
            (b"{\"name\":\"a\",\"data\":\"b\"} {", "column 25: more text"),
            (b"{\"name\":\"a\\x\"}", "column 12: after a \\"),
            (b"]", "jq -c '.[]'"),
            (b"  {\"name\":\"a\",\"data\":\"b\"},", "jq -c '.[]'"),
            (b"  {", "jq -c . makes"),
            (b"{\"name\":\"a\",", "jq -c . makes"),
            (b"{\"name\":\"\\u00zz\"}", "four hexadecimal digits"),
            (b"{\"name\":01}", "column 10: no number"),
            (b"{\"name\":\"a\tb\"}", "a control character"),
            ("  {\"имя\": да}".as_bytes(), "column 11: no value"),
            (b"{\"name\":\"\xff\"}", "column 10: no text in UTF-8"),
            ("\u{feff}{}".as_bytes(), "byte order mark"),
            (b"{\"name\":\"\\ud800\",\"data\":\"\"}", "half of a character"),
            ("  {\"name\":\"имя\",\"data\":\"\\ud800\"}".as_bytes(), "column 31: half of a character"),
            (b"{\"name\":\"n\",\"data\":[1e999]}", "column 25: a number beyond all bounds"),
        ] {
            let (code, message) = told(line);
            let shown = String::from_utf8_lossy(line);
            assert_eq!(code, Code::BadJson, "{shown}: {message}");
            assert!(message.contains(words), "{shown}: {message}");
            assert!(
                !["EOF", "expected", "ident", "line 1"].iter().any(|raw| message.contains(raw)),
                "{message}"
            );
        }
    }

    #[test]
    fn a_field_that_does_not_belong_is_named() {
        for (line, words) in [
            ("[]", "such as {\"name\""),
            ("[", "jq -c '.[]'"),
            ("[{\"name\":\"a\",\"data\":1},", "jq -c '.[]'"),
            ("7", "such as {\"name\""),
            ("{\"data\":1}", "`name` is missing"),
            ("{\"name\":\"n\"}", "`data` is missing"),
            ("{\"name\":\"n\",\"data\":1,\"colour\":2}", "`colour` is no field"),
            ("{\"name\":5,\"data\":1}", "`name` must be a text"),
            ("{\"name\":\"n\",\"data\":1,\"id\":7}", "`id` must be a text"),
            ("{\"name\":\"n\",\"name\":\"n\",\"data\":1}", "`name` stands in it twice"),
        ] {
            let (code, message) = told(line.as_bytes());
            assert_eq!(code, Code::BadField, "{line}: {message}");
            assert!(message.contains(words), "{line}: {message}");
        }
    }

    #[test]
    fn what_the_store_has_added_is_to_be_stripped() {
        let line =
            r#"{"cursor":"7","id":null,"name":"n","data":"","stored_at":"","transport":"rpc","attempts":1}"#;
        let (code, message) = told(line.as_bytes());
        assert_eq!(code, Code::BadField);
        assert!(message.starts_with("`cursor`, `stored_at`, `transport`, `attempts` are added"), "{message}");
        assert!(message.ends_with("jq -c '{id,name,data,level,created_at}'"), "{message}");
    }
}
