//! A body and its parts. A part is skipped over at first and parsed later; a mistake in it is told by its place in the
//! whole.

use serde::Deserialize;
use serde_json::{error::Category, value::RawValue};

use super::words::in_plain_words;
use crate::{Code, Failure};

/// How the refusal of what is no JSON begins.
const NO_JSON: &str = "the body is not JSON that can be read: ";

/// A value, and the body that it stands in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    whole: &'a str,
    text: &'a str,
}

impl<'a> Part<'a> {
    /// The whole of a body.
    ///
    /// # Errors
    /// [`Code::BadJson`] if it is not UTF-8.
    pub(super) fn whole(body: &'a [u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let message =
                format!("the body is not UTF-8 at byte {}: send JSON in UTF-8", error.valid_up_to());
            Failure::new(Code::BadJson, message)
        })?;
        Ok(Part { whole: text, text })
    }

    /// A value in it that was skipped over.
    pub(super) fn value(self, raw: &'a RawValue) -> Self {
        Part { text: raw.get(), ..self }
    }

    /// Its JSON text.
    pub(super) fn text(self) -> &'a str {
        self.text
    }

    /// Reads an object. serde would take an array for a struct too, its elements for the fields in their order.
    ///
    /// # Errors
    /// [`Code::BadJson`] or [`Code::BadField`].
    pub(super) fn parse_object<T: Deserialize<'a>>(self) -> Result<T, Failure> {
        const OTHER_VALUES: [&str; 16] =
            ["[", "\"", "null", "true", "false", "-", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let text = self.text.trim_ascii_start();
        if text.is_empty() {
            return Err(Failure::new(Code::BadJson, "the body is empty: send a JSON object"));
        }
        if text.starts_with('\u{feff}') {
            return Err(Failure::new(
                Code::BadJson,
                "a byte order mark comes first: send JSON in UTF-8 without one",
            ));
        }
        if OTHER_VALUES.iter().any(|start| text.starts_with(start)) {
            return Err(Failure::new(Code::BadField, "an object is expected: send {\"name\": value, …}"));
        }
        self.parse()
    }

    /// Reads any value.
    ///
    /// # Errors
    /// [`Code::BadJson`] or [`Code::BadField`].
    pub(super) fn parse<T: Deserialize<'a>>(self) -> Result<T, Failure> {
        let mut json = serde_json::Deserializer::from_str(self.text);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            self.refusal(error.inner(), &path)
        })?;
        json.end().map_err(|error| self.refusal(&error, "."))?;
        Ok(value)
    }

    fn refusal(self, error: &serde_json::Error, path: &str) -> Failure {
        match error.classify() {
            Category::Data => {
                let text = error.to_string();
                // The field says where it is.
                let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
                let field = if path == "." { String::new() } else { format!("field `{path}`: ") };
                Failure::new(Code::BadField, format!("{field}{what}"))
            }
            Category::Syntax | Category::Eof | Category::Io => {
                let (line, column) = self.place(error.line(), error.column());
                let what = in_plain_words(error);
                Failure::new(Code::BadJson, format!("{NO_JSON}line {line} column {column}: {what}"))
            }
        }
    }

    /// The line and the column in the whole, in characters, of what stands in this part in `line`, with so many bytes of
    /// it up to there.
    fn place(self, line: usize, column_bytes: usize) -> (usize, usize) {
        // A part is a slice of the whole.
        let begin = self.text.as_ptr().addr() - self.whole.as_ptr().addr();
        let breaks = self.text.match_indices('\n').map(|(at, _)| at + 1);
        let own_line = breaks.take(line.saturating_sub(1)).last().unwrap_or_default();
        let before = &self.whole[..begin + own_line];
        let line_begin = before.rfind('\n').map_or(0, |at| at + 1);
        let end = before.len() - line_begin + column_bytes;
        let chars = self.whole[line_begin..].char_indices();
        let column = chars.take_while(|(at, _)| *at < end).count();
        (1 + before.matches('\n').count(), column.max(1))
    }
}

/// What is wrong with a body that is no JSON, and where; `None` if something else was wrong.
pub fn mistake(failure: &Failure) -> Option<&str> {
    failure.message.strip_prefix(NO_JSON)
}
