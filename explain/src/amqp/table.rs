//! The tables of AMQP: names and values of any type. RabbitMQ's letters for the types, where they differ from the
//! specification's.

use super::word;
use crate::{
    annotation::{Annotation, Purpose},
    reader::{DEPTH, Reader},
    shown::{HIDDEN, hex, quoted},
};

/// A table behind its length.
pub(super) fn table(reader: &mut Reader, name: &str, purpose: Purpose, depth: u32) -> Option<Annotation> {
    (depth < DEPTH).then_some(())?;
    reader.budget.take()?;
    let start = reader.offset();
    let len = reader.length(4)?;
    let text = format!("{name}: table of {len} B");
    if len == 0 {
        return Some(Annotation::leaf(reader.since(start), Purpose::Framing, format!("{name}: empty table")));
    }
    let mut parts = vec![Annotation::leaf(reader.since(start), Purpose::Framing, "table length")];
    let mut fields = reader.part(len)?;
    while !fields.is_empty() {
        let start = fields.offset();
        let len = fields.length(1)?;
        let name = word(fields.take(len)?);
        parts.push(value(&mut fields, start, &name, 1 + len, purpose, depth)?);
    }
    Some(Annotation::of(reader.since(start), text, parts))
}

/// A value that begins with the letter of its type. In front of that is its name, with so many bytes from `start`.
fn value(
    reader: &mut Reader,
    start: usize,
    name: &str,
    of_name: usize,
    purpose: Purpose,
    depth: u32,
) -> Option<Annotation> {
    reader.budget.take()?;
    let kind = reader.byte()?;
    let (of_length, text) = match kind {
        b't' => (0, if reader.byte()? == 0 { "false" } else { "true" }.to_owned()),
        b'b' | b'B' => (0, reader.number(1)?.to_string()),
        b's' | b'U' | b'u' => (0, reader.number(2)?.to_string()),
        b'I' | b'i' => (0, reader.number(4)?.to_string()),
        b'l' | b'L' | b'T' => (0, reader.number(8)?.to_string()),
        b'f' => (0, hex(reader.take(4)?)),
        b'd' => (0, hex(reader.take(8)?)),
        b'D' => (0, hex(reader.take(5)?)),
        b'V' => (0, "void".to_owned()),
        b'S' | b'x' => {
            let len = reader.length(4)?;
            let bytes = reader.take(len)?;
            (4, if kind == b'S' { quoted(bytes) } else { hex(bytes) })
        }
        b'F' | b'A' => return nested(reader, start, name, kind, purpose, depth),
        _ => return None,
    };
    let range = reader.since(start);
    let framing = 1 + of_length + usize::from(of_name > 0);
    // The password of the mechanism AMQPLAIN.
    if name.eq_ignore_ascii_case("password") {
        let hidden = start + of_name + 1 + of_length..range.end;
        let leaf = Annotation::framed(range, framing, purpose, format!("{name}: {HIDDEN}"));
        return Some(if hidden.is_empty() { leaf } else { leaf.hiding(hidden, false) });
    }
    Some(Annotation::framed(range, framing, purpose, format!("{name}: {text}")))
}

/// A table or an array within a table.
fn nested(
    reader: &mut Reader,
    start: usize,
    name: &str,
    kind: u8,
    purpose: Purpose,
    depth: u32,
) -> Option<Annotation> {
    let head = Annotation::leaf(reader.since(start), purpose, format!("{name}, type {}", char::from(kind)));
    let inner = if kind == b'F' {
        table(reader, name, purpose, depth + 1)?
    } else {
        array(reader, name, purpose, depth + 1)?
    };
    Some(Annotation::of(reader.since(start), inner.text.clone(), vec![head, inner]))
}

fn array(reader: &mut Reader, name: &str, purpose: Purpose, depth: u32) -> Option<Annotation> {
    (depth < DEPTH).then_some(())?;
    let start = reader.offset();
    let len = reader.length(4)?;
    let mut parts = vec![Annotation::leaf(reader.since(start), Purpose::Framing, "array length")];
    let mut values = reader.part(len)?;
    while !values.is_empty() {
        let start = values.offset();
        parts.push(value(&mut values, start, "element", 0, purpose, depth)?);
    }
    Some(Annotation::of(reader.since(start), format!("{name}: array of {len} B"), parts))
}
