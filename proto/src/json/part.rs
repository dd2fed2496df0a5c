//! A body and its parts. A part is skipped over at first and parsed later; a mistake in it is told by its place in the
//! whole.

use std::{cell::Cell, fmt};

use serde::Deserialize;
use serde_json::{error::Category, value::RawValue};

use crate::{Code, Failure};

/// A body.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    text: &'a str,
    /// Whether it is a line of a file, whose number its reader knows better.
    is_line: bool,
    /// The last mistake that was looked up. The parts of a batch are read in order, so that the next lies behind it, and
    /// all of them together cost one walk through the body.
    last: Cell<Place>,
}

/// A value, and the body that it stands in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    whole: &'a Whole<'a>,
    text: &'a str,
}

/// The refusal of a JSON value that is not an object where one is expected.
pub fn not_an_object() -> Failure {
    Failure::new(Code::BadField, "expected an object: send {\"name\": value, …}")
}

/// A place in a text.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The bytes before it.
    at: usize,
    line: usize,
    /// The characters of its line before it.
    column: usize,
}

impl<'a> Whole<'a> {
    /// A body as text.
    ///
    /// # Errors
    /// [`Code::BadJson`] if it is not UTF-8.
    pub(super) fn body(bytes: &'a [u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| not_utf8(format_args!("byte {}", error.valid_up_to())))?;
        Ok(Whole { text, is_line: false, last: Cell::new(Place::BEGIN) })
    }

    /// A line of a file as text.
    ///
    /// # Errors
    /// As there.
    pub(super) fn line(bytes: &'a [u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            not_utf8(format_args!("column {}", valid.chars().count() + 1))
        })?;
        Ok(Whole { text, is_line: true, last: Cell::new(Place::BEGIN) })
    }

    /// All of it.
    pub(super) fn part(&'a self) -> Part<'a> {
        Part { whole: self, text: self.text }
    }

    /// The place after so many bytes.
    fn place(&self, at: usize) -> Place {
        let last = self.last.get();
        let from = if last.at <= at { last } else { Place::BEGIN };
        let place = from.forward(self.text, at);
        self.last.set(place);
        place
    }
}

impl Place {
    const BEGIN: Self = Place { at: 0, line: 1, column: 0 };

    /// Goes on in `text` to the place after `at` bytes of it.
    fn forward(self, text: &str, at: usize) -> Self {
        let at = at.clamp(self.at, text.len());
        #[cfg(test)]
        tests::WALKED.with(|walked| walked.set(walked.get() + at - self.at));
        let mut place = Place { at, ..self };
        for byte in &text.as_bytes()[self.at..at] {
            match byte {
                b'\n' => (place.line, place.column) = (place.line + 1, 0),
                // The bytes of a character after its first.
                0x80..=0xbf => {}
                _ => place.column += 1,
            }
        }
        place
    }
}

impl<'a> Part<'a> {
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
            return Err(Failure::new(Code::BadJson, "empty body: send a JSON object"));
        }
        if text.starts_with('\u{feff}') {
            return Err(Failure::new(Code::BadJson, "byte order mark: send JSON in UTF-8 without one"));
        }
        if OTHER_VALUES.iter().any(|start| text.starts_with(start)) {
            return Err(not_an_object());
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
        let text = error.to_string();
        // serde's place is in bytes, and in this part alone.
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        match error.classify() {
            Category::Data if path == "." || what.contains(&format!("`{path}`")) => {
                Failure::new(Code::BadField, what)
            }
            Category::Data => Failure::new(Code::BadField, format!("field `{path}`: {what}")),
            Category::Syntax | Category::Eof | Category::Io => {
                let (line, column) = self.place(error.line(), error.column());
                let place = if self.whole.is_line {
                    format!("column {column}")
                } else {
                    format!("line {line} column {column}")
                };
                Failure::new(Code::BadJson, format!("not valid JSON at {place}: {what}"))
            }
        }
    }

    /// The line and the column in the whole, in characters, of what stands in this part in `line`, with so many bytes of
    /// it up to there.
    fn place(self, line: usize, column_bytes: usize) -> (usize, usize) {
        // A part is a slice of the whole.
        let begin = self.text.as_ptr().addr() - self.whole.text.as_ptr().addr();
        let breaks = self.text.match_indices('\n').map(|(at, _)| at + 1);
        let own_line = breaks.take(line.saturating_sub(1)).last().unwrap_or_default();
        let place = self.whole.place(begin + own_line + column_bytes);
        (place.line, place.column.max(1))
    }
}

fn not_utf8(place: fmt::Arguments<'_>) -> Failure {
    Failure::new(Code::BadJson, format!("not UTF-8 at {place}: send JSON in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        /// How many bytes were walked through to find places.
        pub(super) static WALKED: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn the_places_of_a_batch_of_mistakes_cost_one_walk_through_its_body() {
        let filler = "ж".repeat(1_000);
        let entry = format!("{{\"name\":\"n\",\n\"data\":\"{filler}\\ud800\"}}");
        let body = format!("[{}]", vec![entry; 1_000].join(","));
        WALKED.with(|walked| walked.set(0));
        let batch = super::super::parse_batch(body.as_bytes()).expect("the batch itself is sound");
        for (at, entry) in batch.entries.iter().enumerate() {
            let message = entry.as_ref().expect_err("half of a surrogate pair").message();
            let place = format!("line {} column ", at + 2);
            assert!(message.contains(&place), "{message}");
        }
        let walked = WALKED.with(Cell::get);
        assert!((body.len() / 2..=body.len()).contains(&walked), "{walked} of {} bytes", body.len());
    }

    #[test]
    fn a_place_before_the_last_is_found_too() {
        let whole = Whole::body("a\nжb".as_bytes()).expect("UTF-8");
        let place = |at: usize| (whole.place(at).line, whole.place(at).column);
        assert_eq!(place(5), (2, 2));
        assert_eq!(place(1), (1, 1));
        assert_eq!(place(100), (2, 2), "no further than its end");
    }
}
