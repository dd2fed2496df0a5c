//! JSON, as it stands: each member with its name, and where it is.

use crate::{
    To,
    annotation::{Annotation, Cost, Purpose},
    fields::purpose_of,
    reader::{DEPTH, Reader},
    shown::{escaped, plain},
};

/// A document, if it is one.
pub(crate) fn document(mut reader: Reader, to: To) -> Option<Vec<Annotation>> {
    let mut parts = Vec::new();
    value(&mut reader, to, Field::none(), 0, &mut parts)?;
    let start = reader.offset();
    space(&mut reader);
    // The line feed that a service of ours ends JSON with.
    if !reader.since(start).is_empty() {
        parts.push(Annotation::leaf(reader.since(start), Purpose::Framing, "space"));
    }
    reader.is_empty().then_some(parts)
}

/// What a value is called, and where that begins.
struct Field<'a> {
    start: Option<usize>,
    name: &'a [u8],
}

impl Field<'_> {
    fn none() -> Self {
        Field { start: None, name: b"" }
    }

    /// Bytes of the name, in its quotes.
    fn named_bytes(&self) -> usize {
        self.start.map_or(0, |_| self.name.len() + 2)
    }

    fn label(&self) -> String {
        self.start.map(|_| format!("{}: ", plain(self.name))).unwrap_or_default()
    }
}

/// One value, with the name and the comma that belong to it.
fn value(reader: &mut Reader, to: To, field: Field, depth: u32, parts: &mut Vec<Annotation>) -> Option<()> {
    reader.budget.take()?;
    let start = field.start.unwrap_or(reader.offset());
    space(reader);
    match *reader.left().first()? {
        open @ (b'{' | b'[') if depth < DEPTH => {
            reader.take(1)?;
            let close = if open == b'{' { b'}' } else { b']' };
            let cost = Cost::of(Purpose::Names, field.named_bytes());
            let framing = Cost::of(Purpose::Framing, reader.offset() - start - field.named_bytes());
            let text = format!("{}{}", field.label(), char::from(open));
            parts.push(Annotation {
                cost: cost.plus(&framing),
                ..Annotation::leaf(reader.since(start), Purpose::Framing, text)
            });
            members(reader, to, close, depth, parts)?;
            let start = reader.offset();
            reader.take(1)?;
            comma(reader);
            parts.push(Annotation::leaf(
                reader.since(start),
                Purpose::Framing,
                char::from(close).to_string(),
            ));
        }
        _ => {
            let before = reader.offset();
            let content = scalar(reader)?;
            let framing_in = reader.offset() - before - content.len();
            comma(reader);
            let range = reader.since(start);
            let purpose = purpose_of(&String::from_utf8_lossy(field.name), to);
            let names = field.named_bytes();
            let cost = Cost::of(Purpose::Names, names).plus(&Cost::of(purpose, content.len()));
            let cost = cost.plus(&Cost::of(Purpose::Framing, range.len() - names - content.len()));
            let shown = if framing_in > 0 { format!("\"{}\"", plain(content)) } else { plain(content) };
            let text = format!("{}{shown}", field.label());
            parts.push(Annotation { cost, ..Annotation::leaf(range, purpose, escaped(&text)) });
        }
    }
    Some(())
}

fn members(reader: &mut Reader, to: To, close: u8, depth: u32, parts: &mut Vec<Annotation>) -> Option<()> {
    loop {
        let ahead = reader.left().iter().position(|byte| !byte.is_ascii_whitespace())?;
        if reader.left()[ahead] == close {
            if ahead > 0 {
                let start = reader.offset();
                reader.take(ahead)?;
                parts.push(Annotation::leaf(reader.since(start), Purpose::Framing, "space"));
            }
            return Some(());
        }
        let start = reader.offset();
        let mut field = Field::none();
        if close == b'}' {
            space(reader);
            field = Field { start: Some(start), name: string(reader)? };
            space(reader);
            (reader.byte()? == b':').then_some(())?;
        }
        value(reader, to, field, depth + 1, parts)?;
    }
}

fn space(reader: &mut Reader) {
    while reader.left().first().is_some_and(u8::is_ascii_whitespace) {
        reader.take(1);
    }
}

/// The comma behind a value, and the space around it.
fn comma(reader: &mut Reader) {
    let ahead = reader.left().iter().position(|byte| !byte.is_ascii_whitespace());
    if let Some(ahead) = ahead.filter(|ahead| reader.left()[*ahead] == b',') {
        reader.take(ahead + 1);
    }
}

/// A string without its quotes, or a word as it is.
fn scalar<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    if reader.left().first() == Some(&b'"') {
        return string(reader);
    }
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let len = reader.left().iter().position(|byte| !is_of_word(byte)).unwrap_or(reader.left().len());
    (len > 0).then(|| reader.take(len)).flatten()
}

fn string<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    (reader.byte()? == b'"').then_some(())?;
    let mut escaped = false;
    let end = reader.left().iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    let content = reader.take(end)?;
    reader.take(1)?;
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{annotation::covers, reader::Budget};

    fn read(text: &str) -> Option<Vec<Annotation>> {
        document(Reader::new(text.as_bytes(), 0, &Budget::new()), To::Server)
    }

    #[test]
    fn each_member_has_its_bytes_and_each_byte_its_purpose() {
        let text = r#"{"name":"event","data":"a \"b\"","tags":[1, 2],"more":{}}"#;
        let parts = read(text).expect("JSON");
        assert!(covers(&parts, &(0..text.len())), "{parts:?}");
        let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
        assert_eq!(
            texts,
            ["{", "name: \"event\"", "data: \"a \\\"b\\\"\"", "tags: [", "1", "2", "]", "more: {", "}", "}"]
        );
        let name = &parts[1];
        let cost = [Purpose::Names, Purpose::Framing, Purpose::Entry].map(|purpose| name.cost.get(purpose));
        assert_eq!(cost, [6, 4, 5], "the name with its quotes; colon, quotes and comma; the text");
    }

    #[test]
    fn what_is_no_json_is_none() {
        for text in ["", "{", "{\"a\"}", "[1", "\"open", "{} {}", "é"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"[".repeat(100)), None, "too deep");
    }
}
