//! Protocol Buffers, as they stand: each field with its name, which the descriptor of `logs.proto` knows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use proto::grpc::FILE_DESCRIPTOR_SET;

use crate::{
    To,
    annotation::{Annotation, Purpose},
    fields::purpose_of,
    reader::{DEPTH, Reader},
    shown::{hex, quoted},
};

/// What a descriptor says of messages and calls.
#[derive(Debug, Default)]
struct Schema {
    /// By their full names, which begin with a dot.
    messages: HashMap<String, BTreeMap<u64, Field>>,
    enums: HashMap<String, BTreeMap<u64, String>>,
    /// What goes in and what comes out, by the path of a call.
    calls: HashMap<String, (String, String)>,
}

#[derive(Debug)]
struct Field {
    name: String,
    kind: Type,
    /// Of a message or an enum.
    of: String,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the build has made it").file;
    let mut schema = Schema::default();
    for file in files {
        let package = format!(".{}", file.package());
        for message in &file.message_type {
            schema.messages.insert(format!("{package}.{}", message.name()), fields(message));
        }
        for one in &file.enum_type {
            let values = one
                .value
                .iter()
                .filter_map(|value| Some((u64::try_from(value.number()).ok()?, value.name().to_owned())));
            schema.enums.insert(format!("{package}.{}", one.name()), values.collect());
        }
        for service in &file.service {
            for call in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), call.name());
                schema.calls.insert(path, (call.input_type().to_owned(), call.output_type().to_owned()));
            }
        }
    }
    schema
});

fn fields(message: &DescriptorProto) -> BTreeMap<u64, Field> {
    let field = |field: &prost_types::FieldDescriptorProto| {
        let (name, of) = (field.name().to_owned(), field.type_name().to_owned());
        Some((u64::try_from(field.number()).ok()?, Field { name, kind: field.r#type(), of }))
    };
    message.field.iter().filter_map(field).collect()
}

/// The full name of the message that goes one way in a call.
pub(crate) fn message_of(path: &str, to: To) -> Option<&'static str> {
    let (input, output) = SCHEMA.calls.get(path)?;
    Some(match to {
        To::Server => input,
        To::Client => output,
    })
}

/// The last part of a full name.
pub(crate) fn short(message: &str) -> &str {
    message.rsplit('.').next().unwrap_or(message)
}

/// The fields of a message; `None` if it is none. Without its name the fields have numbers alone.
pub(crate) fn message(mut reader: Reader, of: Option<&str>, to: To, depth: u32) -> Option<Vec<Annotation>> {
    (depth < DEPTH).then_some(())?;
    let known = of.and_then(|of| SCHEMA.messages.get(of));
    let mut parts = Vec::new();
    while !reader.is_empty() {
        parts.push(field(&mut reader, known, to, depth)?);
    }
    Some(parts)
}

fn field(
    reader: &mut Reader,
    known: Option<&BTreeMap<u64, Field>>,
    to: To,
    depth: u32,
) -> Option<Annotation> {
    reader.budget.take()?;
    let start = reader.offset();
    let tag = varint(reader)?;
    let (number, wire_type) = (tag >> 3, tag & 7);
    let known = known.and_then(|fields| fields.get(&number));
    let name = known.map_or_else(|| format!("field {number}"), |field| field.name.clone());
    let purpose = purpose_of(&name, to);
    let of_tag = reader.offset() - start;
    let value = match wire_type {
        0 => {
            let value = varint(reader)?;
            match known.filter(|field| field.kind == Type::Enum).and_then(|field| SCHEMA.enums.get(&field.of))
            {
                Some(names) => names.get(&value).cloned().unwrap_or_else(|| value.to_string()),
                None => value.to_string(),
            }
        }
        1 => hex(reader.take(8)?),
        5 => hex(reader.take(4)?),
        2 => return text_or_message(reader, start, known, &name, to, depth),
        // Groups, which are no more.
        _ => return None,
    };
    Some(Annotation::framed(reader.since(start), of_tag, purpose, format!("{name}: {value}")))
}

fn text_or_message(
    reader: &mut Reader,
    start: usize,
    known: Option<&Field>,
    name: &str,
    to: To,
    depth: u32,
) -> Option<Annotation> {
    let len = usize::try_from(varint(reader)?).ok()?;
    let head = reader.since(start);
    let content = reader.part(len)?;
    let range = reader.since(start);
    match known.filter(|field| field.kind == Type::Message) {
        Some(field) => {
            let text = format!("{name}: {}, {len} B", short(&field.of));
            let mut parts = vec![Annotation::leaf(head, Purpose::Framing, "tag and length")];
            parts.extend(message(content, Some(&field.of), to, depth + 1)?);
            Some(Annotation::of(range, text, parts).of_kind("element"))
        }
        None => {
            let text = format!("{name}: {}", quoted(content.left()));
            Some(Annotation::framed(range, head.len(), purpose_of(name, to), text))
        }
    }
}

fn varint(reader: &mut Reader) -> Option<u64> {
    /// Ten times seven bits: more than a number has.
    const BYTES: u32 = 10;
    let mut number = 0_u64;
    for at in 0..BYTES {
        let byte = reader.byte()?;
        number |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{annotation::covers, reader::Budget};

    fn read(bytes: &[u8], of: Option<&str>) -> Option<Vec<Annotation>> {
        message(Reader::new(bytes, 0, &Budget::new()), of, To::Server, 0)
    }

    /// The course's two fields.
    #[test]
    fn a_message_has_the_names_of_its_descriptor() {
        let bytes = b"\x0a\x0e\x0a\x05event\x12\x05hello";
        let of = message_of("/logs.LogService/WriteLog", To::Server);
        assert_eq!(of.map(short), Some("LogRequest"));
        let parts = read(bytes, of).expect("a message");
        assert!(covers(&parts, &(0..bytes.len())), "{parts:?}");
        assert_eq!(parts[0].text, "log_entry: Log, 14 B");
        let texts: Vec<_> = parts[0].children.iter().map(|child| child.text.as_str()).collect();
        assert_eq!(texts, ["tag and length", "name: \"event\"", "data: \"hello\""]);
        assert_eq!((parts[0].cost().get(Purpose::Entry), parts[0].cost().get(Purpose::Framing)), (10, 6));
    }

    #[test]
    fn a_field_that_nobody_knows_has_its_number() {
        let parts = read(b"\x9a\x06\x02hi\x08\x96\x01", None).expect("a message");
        assert_eq!((parts[0].text.as_str(), parts[1].text.as_str()), ("field 99: \"hi\"", "field 1: 150"));
        let mode =
            read(b"\x10\x01", message_of("/logs.LogService/WriteBatch", To::Server)).expect("a message");
        assert_eq!(mode[0].text, "mode: EACH");
    }

    #[test]
    fn what_is_no_message_is_none() {
        for bytes in
            [&b"\x0a\x05ev"[..], b"\x0b", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x09\x01"]
        {
            assert_eq!(read(bytes, None), None, "{bytes:?}");
        }
    }
}
