//! gRPC's messages: a byte that says whether it is compressed, four of length, and Protocol Buffers.

use crate::{
    To,
    annotation::{Annotation, Purpose},
    protobuf,
    reader::Reader,
};

/// The messages that go one way in a call. What is not complete is missing at the end.
pub(crate) fn messages(mut reader: Reader, path: &str, to: To) -> Vec<Annotation> {
    let mut messages = Vec::new();
    while !reader.is_empty() {
        match message(&mut reader, path, to) {
            Some(message) => messages.push(message),
            None => break,
        }
    }
    messages
}

fn message(reader: &mut Reader, path: &str, to: To) -> Option<Annotation> {
    reader.budget.take()?;
    let start = reader.offset();
    let (compressed, len) = (reader.byte()? != 0, reader.length(4)?);
    let how = if compressed { "compressed" } else { "not compressed" };
    let mut parts =
        vec![Annotation::leaf(reader.since(start), Purpose::Framing, format!("{how}, length {len}"))];
    let content = reader.part(len)?;
    let of = protobuf::message_of(path, to);
    if !compressed && let Some(fields) = protobuf::message(content, of, to, 0) {
        parts.extend(fields);
    }
    let name = of.map_or("message", protobuf::short);
    Some(Annotation::of(reader.since(start), format!("{name}, {len} B"), parts).of_kind("element"))
}
