//! MessagePack, as it stands. What it does not say of itself, the names of positions, a [`Shape`] says.

use rmp::Marker;

use crate::{
    To,
    annotation::{Annotation, Purpose},
    fields::purpose_of,
    reader::{DEPTH, Reader},
    shown::{hex, quoted},
};

/// What the positions of a value are called, and what is in them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Whatever it is.
    Any,
    /// An array with a name for each position.
    Fields(&'static [(&'static str, &'static Shape)]),
    /// An array of as many as there are.
    Each(&'static Shape),
    /// A map of one, or the name alone: which of them it is, and what comes with it.
    OneOf(&'static [(&'static str, &'static Shape)]),
}

/// Where a value stands: what it is called, which way it goes, how deep it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) to: To,
    pub(crate) depth: u32,
}

impl<'a> Place<'a> {
    fn inner<'b>(self, name: &'b str) -> Place<'b> {
        Place { name, to: self.to, depth: self.depth + 1 }
    }

    fn label(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!("{}: ", self.name) }
    }
}

/// One value; `None` if it is none.
pub(crate) fn value(reader: &mut Reader, place: Place, shape: &Shape) -> Option<Annotation> {
    reader.budget.take()?;
    let (start, label) = (reader.offset(), place.label());
    let purpose = purpose_of(place.name, place.to);
    let leaf = |reader: &Reader, framing: usize, text: String| {
        Some(Annotation::framed(reader.since(start), framing, purpose, format!("{label}{text}")))
    };
    match Marker::from_u8(reader.byte()?) {
        Marker::FixPos(number) => leaf(reader, 0, number.to_string()),
        Marker::FixNeg(number) => leaf(reader, 0, number.to_string()),
        Marker::Null => leaf(reader, 0, "nil".into()),
        Marker::True => leaf(reader, 0, "true".into()),
        Marker::False => leaf(reader, 0, "false".into()),
        Marker::U8 => unsigned(reader, 1).and_then(|text| leaf(reader, 1, text)),
        Marker::U16 => unsigned(reader, 2).and_then(|text| leaf(reader, 1, text)),
        Marker::U32 => unsigned(reader, 4).and_then(|text| leaf(reader, 1, text)),
        Marker::U64 => unsigned(reader, 8).and_then(|text| leaf(reader, 1, text)),
        Marker::I8 => signed(reader, 1).and_then(|text| leaf(reader, 1, text)),
        Marker::I16 => signed(reader, 2).and_then(|text| leaf(reader, 1, text)),
        Marker::I32 => signed(reader, 4).and_then(|text| leaf(reader, 1, text)),
        Marker::I64 => signed(reader, 8).and_then(|text| leaf(reader, 1, text)),
        Marker::F32 => bytes(reader, 0, 4, hex).and_then(|(_, text)| leaf(reader, 1, text)),
        Marker::F64 => bytes(reader, 0, 8, hex).and_then(|(_, text)| leaf(reader, 1, text)),
        Marker::FixStr(len) => {
            let (_, text) = bytes(reader, 0, len.into(), quoted)?;
            leaf(reader, 1, text)
        }
        Marker::Str8 => sized(reader, 1, quoted).and_then(|(framing, text)| leaf(reader, framing, text)),
        Marker::Str16 => sized(reader, 2, quoted).and_then(|(framing, text)| leaf(reader, framing, text)),
        Marker::Str32 => sized(reader, 4, quoted).and_then(|(framing, text)| leaf(reader, framing, text)),
        Marker::Bin8 => sized(reader, 1, hex).and_then(|(framing, text)| leaf(reader, framing, text)),
        Marker::Bin16 => sized(reader, 2, hex).and_then(|(framing, text)| leaf(reader, framing, text)),
        Marker::Bin32 => sized(reader, 4, hex).and_then(|(framing, text)| leaf(reader, framing, text)),
        Marker::FixArray(len) => array(reader, start, len.into(), place, shape),
        Marker::Array16 => reader.length(2).and_then(|len| array(reader, start, len, place, shape)),
        Marker::Array32 => reader.length(4).and_then(|len| array(reader, start, len, place, shape)),
        Marker::FixMap(len) => map(reader, start, len.into(), place, shape),
        Marker::Map16 => reader.length(2).and_then(|len| map(reader, start, len, place, shape)),
        Marker::Map32 => reader.length(4).and_then(|len| map(reader, start, len, place, shape)),
        // No service of ours sends one.
        Marker::Reserved
        | Marker::Ext8
        | Marker::Ext16
        | Marker::Ext32
        | Marker::FixExt1
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16 => None,
    }
}

fn unsigned(reader: &mut Reader, bytes: usize) -> Option<String> {
    reader.number(bytes).map(|number| number.to_string())
}

fn signed(reader: &mut Reader, bytes: usize) -> Option<String> {
    let (number, unused) = (reader.number(bytes)?, 64 - 8 * bytes);
    Some(((number << unused).cast_signed() >> unused).to_string())
}

/// So many bytes behind a length that took so many; says how many in front are framing, the marker among them.
fn bytes(
    reader: &mut Reader,
    of_length: usize,
    len: usize,
    shown: fn(&[u8]) -> String,
) -> Option<(usize, String)> {
    Some((1 + of_length, shown(reader.take(len)?)))
}

fn sized(reader: &mut Reader, of_length: usize, shown: fn(&[u8]) -> String) -> Option<(usize, String)> {
    let len = reader.length(of_length)?;
    bytes(reader, of_length, len, shown)
}

fn array(reader: &mut Reader, start: usize, len: usize, place: Place, shape: &Shape) -> Option<Annotation> {
    (place.depth < DEPTH).then_some(())?;
    let head = reader.since(start);
    if let Some(leaf) = numbers(reader, start, len, place) {
        return Some(leaf);
    }
    if len == 0 {
        return Some(Annotation::leaf(head, Purpose::Framing, format!("{}empty array", place.label())));
    }
    let text = format!("{}array of {len}", place.label());
    let mut parts = vec![Annotation::leaf(head, Purpose::Framing, "array header")];
    for at in 0..len {
        let (name, shape) = match shape {
            Shape::Fields(fields) => {
                fields.get(at).map_or(("", &Shape::Any), |(name, shape)| (*name, *shape))
            }
            Shape::Each(shape) => ("", *shape),
            Shape::Any | Shape::OneOf(_) => ("", &Shape::Any),
        };
        let each = value(reader, place.inner(name), shape)?;
        parts.push(if matches!(shape, Shape::Each(_)) { each.of_kind("element") } else { each });
    }
    Some(Annotation::of(reader.since(start), text, parts))
}

/// An array of one-byte numbers alone, as tarpc writes the id of a trace.
fn numbers(reader: &mut Reader, start: usize, len: usize, place: Place) -> Option<Annotation> {
    const AT_LEAST: usize = 8;
    let elements = reader.left().get(..len).filter(|_| len >= AT_LEAST)?;
    let head = reader.offset() - start;
    // A number above 127 has a marker in front of it.
    let (mut left, mut read, mut all) = (reader.left(), 0, Vec::new());
    for _ in 0..elements.len() {
        match left {
            [number @ 0..=0x7f, rest @ ..] => {
                all.push(*number);
                left = rest;
                read += 1;
            }
            [0xcc, number, rest @ ..] => {
                all.push(*number);
                left = rest;
                read += 2;
            }
            _ => return None,
        }
    }
    reader.take(read)?;
    let text = format!("{}{len} numbers, {}", place.label(), hex(&all));
    Some(Annotation::framed(reader.since(start), head, purpose_of(place.name, place.to), text))
}

fn map(reader: &mut Reader, start: usize, len: usize, place: Place, shape: &Shape) -> Option<Annotation> {
    (place.depth < DEPTH).then_some(())?;
    let mut parts =
        vec![Annotation::leaf(reader.since(start), Purpose::Framing, format!("map header, {len}"))];
    let mut text = None;
    for _ in 0..len {
        let before = reader.offset();
        let key = key(reader)?;
        let name = String::from_utf8_lossy(key);
        let of_framing = reader.offset() - before - key.len();
        parts.push(Annotation::framed(reader.since(before), of_framing, Purpose::Names, quoted(key)));
        let shape = match shape {
            Shape::OneOf(names) => {
                names.iter().find(|(of, _)| *of == name).map_or(&Shape::Any, |(_, shape)| *shape)
            }
            Shape::Any | Shape::Fields(_) | Shape::Each(_) => &Shape::Any,
        };
        text.get_or_insert_with(|| format!("{}{}", place.label(), crate::shown::plain(key)));
        parts.push(value(reader, place.inner(""), shape)?);
    }
    let text = text.unwrap_or_else(|| format!("{}empty map", place.label()));
    Some(Annotation::of(reader.since(start), text, parts))
}

fn key<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = match reader.byte()? {
        marker @ 0xa0..=0xbf => usize::from(marker & 0x1f),
        0xd9 => reader.length(1)?,
        _ => return None,
    };
    reader.take(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Budget;

    fn read(bytes: &[u8], shape: &Shape) -> Option<Annotation> {
        let budget = Budget::new();
        let mut reader = Reader::new(bytes, 0, &budget);
        let place = Place { name: "", to: To::Server, depth: 0 };
        value(&mut reader, place, shape).filter(|_| reader.is_empty())
    }

    #[test]
    fn positions_are_called_as_the_shape_says() {
        const SHAPE: Shape =
            Shape::OneOf(&[("Write", &Shape::Fields(&[("name", &Shape::Any), ("id", &Shape::Any)]))]);
        let read = read(b"\x81\xa5Write\x92\xa5event\xcc\xff", &SHAPE).expect("MessagePack");
        assert!(read.is_sound());
        let array = &read.children[2];
        let texts: Vec<_> = array.children.iter().map(|child| child.text.as_str()).collect();
        assert_eq!(texts, ["array header", "name: \"event\"", "id: 255"]);
        assert_eq!((read.cost().get(Purpose::Entry), read.cost().get(Purpose::Names)), (5, 5));
    }

    #[test]
    fn numbers_have_their_value_and_many_of_one_byte_are_one_line() {
        assert_eq!(read(b"\xd1\xff\xfe", &Shape::Any).expect("one").text, "-2");
        assert_eq!(read(b"\xce\x00\x01\x00\x00", &Shape::Any).expect("one").text, "65536");
        let mut trace = vec![0xdc, 0, 16];
        trace.extend([0; 14]);
        trace.extend([0xcc, 200, 7]);
        let trace = read(&trace, &Shape::Any).expect("one");
        assert_eq!(trace.text, format!("16 numbers, {}c807", "00".repeat(14)));
        assert!(trace.is_sound());
    }

    #[test]
    fn what_is_cut_off_too_deep_or_no_message_pack_is_none() {
        for bytes in
            [&b""[..], b"\xa5even", b"\x92\x01", b"\x81\xa1a", b"\xc1", b"\xdf\xff\xff\xff\xff", &[0x91; 100]]
        {
            assert_eq!(read(bytes, &Shape::Any), None, "{bytes:?}");
        }
    }
}
