//! Go's net/rpc: gob, a stream of values each way, each type of which is defined once before its first use.

mod types;

use std::{collections::HashMap, ops::Range};

use self::types::{
    BOOL, BYTES, COMPLEX, DEFINITION, FLOAT, INT, TEXT, Type, UINT, Value, built_in, type_name,
};

use crate::{
    To,
    annotation::{Annotation, Purpose, unread},
    fields::purpose_of,
    reader::{Budget, DEPTH, Reader},
    shown::{hex, quoted},
};

/// Most types of a stream.
const TYPES: usize = 1_024;

/// What went one way on a connection.
pub(crate) fn annotate(bytes: &[u8], to: To, budget: &Budget) -> Vec<Annotation> {
    let mut stream = Stream { to, types: built_in() };
    let (mut messages, rest) = Reader::new(bytes, 0, budget).all(|reader| stream.message(reader));
    messages.extend(rest.map(unread));
    messages
}

struct Stream {
    to: To,
    types: HashMap<i64, Type>,
}

/// What a value is called, where it begins with what stands in front of it, and what it is for.
struct Place<'a> {
    name: &'a str,
    start: usize,
    depth: u32,
    /// `None`: by its name.
    purpose: Option<Purpose>,
}

impl Stream {
    fn message(&mut self, reader: &mut Reader) -> Option<Annotation> {
        reader.budget.take()?;
        let start = reader.offset();
        let len = usize::try_from(uint(reader)?).ok()?;
        let mut parts =
            vec![Annotation::leaf(reader.since(start), Purpose::Framing, format!("length {len}"))];
        let mut content = reader.part(len)?;
        let range = reader.since(start);
        let of_id = content.offset();
        let id = int(&mut content)?;
        if id < 0 {
            let id = id.checked_neg()?;
            let text = format!("type definition {id}");
            parts.push(Annotation::leaf(content.since(of_id), Purpose::Framing, text.clone()));
            let place = Place { name: "", start: content.offset(), depth: 0, purpose: Some(Purpose::Names) };
            let (told, value) = self.value(&mut content, DEFINITION, place)?;
            parts.extend(told.children);
            let name = self.define(id, &value)?;
            return Some(Annotation::of(range, format!("{text}: {name}"), parts).of_kind("definition"));
        }
        let (name, is_struct) = match self.types.get(&id) {
            Some(Type::Struct { name, .. }) => (name.clone(), true),
            _ => (type_name(id), false),
        };
        parts.push(Annotation::leaf(content.since(of_id), Purpose::Framing, format!("type id {id}")));
        if !is_struct {
            let zero = content.offset();
            (content.byte()? == 0).then_some(())?;
            parts.push(Annotation::leaf(
                content.since(zero),
                Purpose::Framing,
                "0: a single value, no struct",
            ));
        }
        let place = Place { name: "", start: content.offset(), depth: 0, purpose: None };
        let (told, _) = self.value(&mut content, id, place)?;
        content.is_empty().then_some(())?;
        parts.extend(if is_struct { told.children } else { vec![told] });
        Some(Annotation::of(range, name, parts).of_kind("value"))
    }

    /// Keeps a definition; says what it is called.
    fn define(&mut self, id: i64, value: &Value) -> Option<String> {
        (self.types.len() < TYPES).then_some(())?;
        let (kind, of) = value.fields()?.iter().next()?;
        let field = |at| of.fields().and_then(|fields| fields.get(&at));
        let number = |at| field(at).map_or(0, Value::int);
        let common = field(0).and_then(Value::fields);
        let name = common.and_then(|common| common.get(&0)).map_or("", Value::text).to_owned();
        let told = if name.is_empty() { "without a name".to_owned() } else { quoted(name.as_bytes()) };
        let defined = match kind {
            0 | 1 => Type::List(number(1)),
            2 => {
                let fields = match field(1) {
                    Some(Value::List(fields)) => fields.iter().filter_map(Value::named).collect(),
                    _ => Vec::new(),
                };
                Type::Struct { name: told.clone(), fields }
            }
            3 => Type::Map(number(1), number(2)),
            _ => Type::Coded,
        };
        self.types.insert(id, defined);
        Some(told)
    }

    fn value(&self, reader: &mut Reader, id: i64, place: Place) -> Option<(Annotation, Value)> {
        reader.budget.take()?;
        (place.depth < DEPTH).then_some(())?;
        let Place { name, start, purpose, .. } = place;
        let of_place = reader.offset() - start;
        let label = if name.is_empty() { String::new() } else { format!("{name}: ") };
        let purpose = purpose.unwrap_or_else(|| match name {
            "ServiceMethod" => Purpose::Headers,
            "Seq" => Purpose::Ids,
            name => purpose_of(name, self.to),
        });
        let leaf = |range: Range<usize>, framing: usize, text: String, value: Value| {
            Some((Annotation::framed(range, framing, purpose, format!("{label}{text}")), value))
        };
        match id {
            BOOL => {
                let is = uint(reader)? != 0;
                leaf(reader.since(start), of_place, is.to_string(), Value::Other)
            }
            INT => {
                let number = int(reader)?;
                leaf(reader.since(start), of_place, number.to_string(), Value::Int(number))
            }
            UINT => {
                let number = uint(reader)?;
                leaf(reader.since(start), of_place, number.to_string(), Value::Other)
            }
            FLOAT => {
                // Its bytes are in reverse, so that small ones are short.
                let number = f64::from_bits(uint(reader)?.swap_bytes());
                leaf(reader.since(start), of_place, number.to_string(), Value::Other)
            }
            COMPLEX => {
                let [real, imaginary] =
                    [uint(reader)?, uint(reader)?].map(|part| f64::from_bits(part.swap_bytes()));
                leaf(reader.since(start), of_place, format!("{real} + {imaginary}i"), Value::Other)
            }
            TEXT | BYTES => {
                let len = usize::try_from(uint(reader)?).ok()?;
                let framing = reader.offset() - start;
                let bytes = reader.take(len)?;
                let shown = if id == TEXT { quoted(bytes) } else { hex(bytes) };
                let value = Value::Text(String::from_utf8_lossy(bytes).into_owned());
                leaf(reader.since(start), framing, shown, value)
            }
            _ => self.composed(reader, self.types.get(&id)?, Place { purpose: place.purpose, ..place }),
        }
    }

    fn composed(&self, reader: &mut Reader, of: &Type, place: Place) -> Option<(Annotation, Value)> {
        let Place { name, start, depth, purpose } = place;
        let inner = |name, start| Place { name, start, depth: depth + 1, purpose };
        let mut parts = Vec::new();
        if reader.offset() > start {
            parts.push(Annotation::leaf(reader.since(start), Purpose::Framing, "field number delta"));
        }
        let length = |reader: &mut Reader, parts: &mut Vec<Annotation>| {
            let start = reader.offset();
            let len = usize::try_from(uint(reader)?).ok()?;
            parts.push(Annotation::leaf(reader.since(start), Purpose::Framing, format!("count {len}")));
            Some(len)
        };
        let value = match of {
            Type::Struct { fields, .. } => {
                let (mut at, mut read) = (0_usize, HashMap::new());
                loop {
                    let start = reader.offset();
                    let step = usize::try_from(uint(reader)?).ok()?;
                    if step == 0 {
                        parts.push(Annotation::leaf(
                            reader.since(start),
                            Purpose::Framing,
                            "0: end of the struct",
                        ));
                        break;
                    }
                    at = at.checked_add(step)?;
                    let (name, id) = fields.get(at - 1)?;
                    let (told, value) = self.value(reader, *id, inner(name, start))?;
                    parts.push(told);
                    read.insert(at - 1, value);
                }
                Value::Fields(read)
            }
            Type::List(element) => {
                let len = length(reader, &mut parts)?;
                let mut all = Vec::new();
                for _ in 0..len {
                    let (told, value) = self.value(reader, *element, inner("", reader.offset()))?;
                    parts.push(told.of_kind("element"));
                    all.push(value);
                }
                Value::List(all)
            }
            Type::Map(key, element) => {
                for _ in 0..length(reader, &mut parts)? {
                    for id in [key, element] {
                        parts.push(self.value(reader, *id, inner("", reader.offset()))?.0);
                    }
                }
                Value::Other
            }
            Type::Coded => {
                let len = length(reader, &mut parts)?;
                let start = reader.offset();
                let text = hex(reader.take(len)?);
                if len > 0 {
                    parts.push(Annotation::leaf(reader.since(start), purpose_of(name, self.to), text));
                }
                Value::Other
            }
        };
        let name = if name.is_empty() { "value" } else { name };
        Some((Annotation::of(reader.since(start), name, parts), value))
    }
}

/// Below 128 one byte; otherwise how many follow, negated, and these.
fn uint(reader: &mut Reader) -> Option<u64> {
    match reader.byte()? {
        small @ 0..=0x7f => Some(small.into()),
        negated => {
            let bytes = usize::from(negated.wrapping_neg());
            (bytes <= 8).then(|| reader.number(bytes)).flatten()
        }
    }
}

/// The lowest bit says whether the others are complemented.
fn int(reader: &mut Reader) -> Option<i64> {
    let number = uint(reader)?;
    let half = (number >> 1).cast_signed();
    Some(if number & 1 == 0 { half } else { !half })
}

#[cfg(test)]
mod tests;
