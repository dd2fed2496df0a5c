//! Go's gob, as far as net/rpc needs it: the messages of a stream, the types that it defines, and structs of strings and
//! numbers. Whatever else a value holds is skipped by its type.
//!
//! Everything in here is bounded: messages, types, their definitions, and how deeply they nest. No count is believed
//! that the bytes which are there could not fill.

use std::{collections::HashMap, mem::size_of, sync::Arc};

use bytes::{Buf, Bytes, BytesMut};

/// Most types that a stream may define, and most bytes that all these definitions may have: a struct of two strings has 43.
const TYPES: usize = 64;
const DEFINITION_BYTES: usize = 16 * 1024;

/// How deeply a value that is skipped may nest.
const NESTING: usize = 32;

/// Longest message that is skipped instead of read; a longer one ends the stream.
const SKIPPED_BYTES: usize = 16 * 1024 * 1024;

/// Most bytes of a length, and so of an id before it is known which message it begins.
const NUMBER_BYTES: usize = 9;

/// The types that every stream knows. Those that it defines begin at [`FIRST_OWN`].
pub(super) const BOOL: i64 = 1;
pub(super) const INT: i64 = 2;
pub(super) const UINT: i64 = 3;
pub(super) const FLOAT: i64 = 4;
pub(super) const BYTES: i64 = 5;
pub(super) const STRING: i64 = 6;
pub(super) const COMPLEX: i64 = 7;
pub(super) const INTERFACE: i64 = 8;
const FIRST_OWN: i64 = 64;

/// The bytes are no gob, or go beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not readable as gob: {0}")]
pub struct NotGob(pub(super) &'static str);

/// A message that holds a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Its type, and the value.
    Value(i64, Bytes),
    /// It was longer than the limit, and is skipped.
    TooLong,
}

/// One direction of a stream: takes messages out of what has come, and keeps the types that they define.
#[derive(Debug, Default)]
pub(super) struct Stream {
    types: Types,
    /// Bytes of a message that is too long which are still to come.
    to_skip: usize,
}

impl Stream {
    /// The next value, of at most `limit_bytes`; `None`: more must come.
    ///
    /// # Errors
    /// If it cannot go on.
    pub(super) fn next(
        &mut self,
        received: &mut BytesMut,
        limit_bytes: usize,
    ) -> Result<Option<Message>, NotGob> {
        loop {
            let skipped = self.to_skip.min(received.len());
            received.advance(skipped);
            self.to_skip -= skipped;
            if self.to_skip > 0 {
                return Ok(None);
            }
            let mut head = Reader(received);
            let Some(length) = head.length()? else { return Ok(None) };
            let before = received.len() - head.0.len();
            if length == 0 {
                return Err(NotGob("an empty message"));
            }
            if length > SKIPPED_BYTES {
                return Err(NotGob("a message is too long"));
            }
            if length > limit_bytes.max(DEFINITION_BYTES) {
                // Its id shows what it is: without a definition nothing that follows could be read.
                if head.0.len() < NUMBER_BYTES {
                    return Ok(None);
                }
                if head.int()? < 0 {
                    return Err(NotGob("a definition is too long"));
                }
                received.advance(before);
                self.to_skip = length;
                return Ok(Some(Message::TooLong));
            }
            if head.0.len() < length {
                return Ok(None);
            }
            received.advance(before);
            let message = received.split_to(length).freeze();
            let mut reader = Reader(&message);
            let id = reader.int()?;
            if id < 0 {
                self.types.define(id, &mut reader)?;
                reader.ends()?;
            } else if length > limit_bytes {
                return Ok(Some(Message::TooLong));
            } else {
                let value = message.slice(message.len() - reader.0.len()..);
                return Ok(Some(Message::Value(id, value)));
            }
        }
    }

    /// About what its types take in memory, in bytes.
    pub(super) const fn held_bytes(&self) -> usize {
        self.types.held_bytes
    }

    /// Whether it is in the middle of a message that it skips.
    pub(super) const fn is_skipping(&self) -> bool {
        self.to_skip > 0
    }

    /// Whether a value of the type can be read as a struct with some fields of these names, as Go decides it: one without
    /// any field can, and one of which no field is known cannot.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn fits(&self, id: i64, names: &[&str]) -> Result<(), NotGob> {
        match self.types.own.get(&id) {
            Some(Type::Struct(fields)) => {
                let fits = fields.is_empty() || fields.iter().any(|field| names.contains(&&*field.name));
                if fits { Ok(()) } else { Err(NotGob("type mismatch: no field matches")) }
            }
            Some(Type::List(_) | Type::Map(..) | Type::Opaque) | None => {
                Err(NotGob("type mismatch: a struct is expected"))
            }
        }
    }

    /// Hands the fields of a struct that are not zero to `take`, by their names.
    ///
    /// # Errors
    /// If it is no struct, or cannot be read to its end.
    pub(super) fn read_struct<'a>(
        &mut self,
        id: i64,
        value: &'a [u8],
        mut take: impl FnMut(&str, Value<'a>),
    ) -> Result<(), NotGob> {
        let Some(Type::Struct(fields)) = self.types.own.get(&id).cloned() else {
            return Err(NotGob("type mismatch: a struct is expected"));
        };
        let mut reader = Reader(value);
        reader.fields(|number, reader| {
            let field = fields.get(number).ok_or(NotGob("a field that its type does not have"))?;
            let value = match field.id {
                STRING => Value::Text(reader.bytes()?),
                UINT => Value::Uint(reader.uint()?),
                other => {
                    self.types.skip(other, reader, 1)?;
                    Value::Other
                }
            };
            take(&field.name, value);
            Ok(())
        })?;
        reader.ends()
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A string, in which Go allows any bytes.
    Text(&'a [u8]),
    /// A number without a sign.
    Uint(u64),
    /// Anything else. It was skipped.
    Other,
}

/// What a stream has defined.
#[derive(Debug, Default)]
struct Types {
    own: HashMap<i64, Type>,
    defined_bytes: usize,
    held_bytes: usize,
}

#[derive(Debug, Clone)]
enum Type {
    Struct(Arc<[Field]>),
    /// A slice or an array: on the wire they are the same.
    List(i64),
    Map(i64, i64),
    /// What encodes itself, such as a time: bytes to everybody else.
    Opaque,
}

#[derive(Debug, Clone)]
struct Field {
    name: Box<str>,
    id: i64,
}

impl Types {
    /// Reads a definition, which begins after its id, the negated one of the type.
    fn define(&mut self, negated: i64, reader: &mut Reader<'_>) -> Result<(), NotGob> {
        let id =
            negated.checked_neg().filter(|id| *id >= FIRST_OWN).ok_or(NotGob("a type id of Go's own"))?;
        if self.own.len() == TYPES {
            return Err(NotGob("too many types"));
        }
        // Inside of a value more follows.
        let allowed = reader.0.len().min(DEFINITION_BYTES - self.defined_bytes);
        let mut definition = Reader(&reader.0[..allowed]);
        let defined = Type::read(&mut definition)?;
        let read = allowed - definition.0.len();
        reader.take(read)?;
        self.defined_bytes += read;
        self.held_bytes += defined.held_bytes();
        match self.own.insert(id, defined) {
            None => Ok(()),
            Some(_) => Err(NotGob("a type is defined twice")),
        }
    }

    /// Reads over a value.
    fn skip(&mut self, id: i64, reader: &mut Reader<'_>, depth: usize) -> Result<(), NotGob> {
        if depth > NESTING {
            return Err(NotGob("a value nests too deeply"));
        }
        match id {
            BOOL | INT | UINT | FLOAT => reader.uint().map(drop),
            BYTES | STRING => reader.bytes().map(drop),
            COMPLEX => reader.uint().and_then(|_| reader.uint()).map(drop),
            INTERFACE => self.skip_interface(reader),
            _ => {
                let defined = self.own.get(&id).cloned().ok_or(NotGob("an unknown type"))?;
                self.skip_own(&defined, reader, depth + 1)
            }
        }
    }

    fn skip_own(&mut self, defined: &Type, reader: &mut Reader<'_>, depth: usize) -> Result<(), NotGob> {
        match defined {
            Type::Struct(fields) => reader.fields(|number, reader| {
                let field = fields.get(number).ok_or(NotGob("a field that its type does not have"))?;
                self.skip(field.id, reader, depth)
            }),
            Type::List(element) => {
                for _ in 0..reader.count()? {
                    self.skip(*element, reader, depth)?;
                }
                Ok(())
            }
            Type::Map(key, element) => {
                for _ in 0..reader.count()? {
                    self.skip(*key, reader, depth)?;
                    self.skip(*element, reader, depth)?;
                }
                Ok(())
            }
            Type::Opaque => reader.bytes().map(drop),
        }
    }

    /// The name of a type, definitions that are new, its id, and the value with its length. Without a name it is nil.
    fn skip_interface(&mut self, reader: &mut Reader<'_>) -> Result<(), NotGob> {
        if reader.bytes()?.is_empty() {
            return Ok(());
        }
        loop {
            let id = reader.int()?;
            if id >= 0 {
                break;
            }
            self.define(id, reader)?;
            // The length of what follows.
            reader.uint()?;
        }
        reader.bytes().map(drop)
    }
}

impl Type {
    /// Go's `wireType`: of its fields one is set, by the kind of the type.
    fn read(reader: &mut Reader<'_>) -> Result<Self, NotGob> {
        let mut read = None;
        reader.fields(|kind, reader| {
            let mut ids = [0; 2];
            let mut fields = Vec::new();
            reader.fields(|number, reader| match (kind, number) {
                // Its own name and id.
                (_, 0) => reader.fields(|number, reader| match number {
                    0 => reader.bytes().map(drop),
                    1 => reader.int().map(drop),
                    _ => Err(NotGob("a type with more than a name and an id")),
                }),
                (0 | 1, 1) | (3, 1 | 2) => {
                    ids[number - 1] = reader.int()?;
                    Ok(())
                }
                (0, 2) => reader.int().map(drop),
                (2, 1) => {
                    let count = reader.count()?;
                    // Each takes three bytes at least: a count alone must not take memory.
                    fields.reserve(count.min(reader.0.len() / 3));
                    for _ in 0..count {
                        fields.push(Field::read(reader)?);
                    }
                    Ok(())
                }
                _ => Err(NotGob("a definition of an unknown form")),
            })?;
            let [first, second] = ids;
            read = Some(match kind {
                0 | 1 if first != 0 => Type::List(first),
                2 => Type::Struct(fields.into()),
                3 if first != 0 && second != 0 => Type::Map(first, second),
                4..=6 => Type::Opaque,
                _ => return Err(NotGob("a definition of an unknown kind")),
            });
            Ok(())
        })?;
        read.ok_or(NotGob("a definition of nothing"))
    }

    fn held_bytes(&self) -> usize {
        let fields: usize = match self {
            Type::Struct(fields) => fields.iter().map(|field| size_of::<Field>() + field.name.len()).sum(),
            Type::List(_) | Type::Map(..) | Type::Opaque => 0,
        };
        size_of::<(i64, Type)>() + fields
    }
}

impl Field {
    fn read(reader: &mut Reader<'_>) -> Result<Self, NotGob> {
        let (mut name, mut id) = (None, 0);
        reader.fields(|number, reader| {
            match number {
                0 => name = str::from_utf8(reader.bytes()?).ok(),
                1 => id = reader.int()?,
                _ => return Err(NotGob("a field with more than a name and a type")),
            }
            Ok(())
        })?;
        match name {
            Some(name) if id > 0 => Ok(Field { name: name.into(), id }),
            Some(_) | None => Err(NotGob("a field without a name or a type")),
        }
    }
}

/// What is left of some bytes.
#[derive(Debug, Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn ends(&self) -> Result<(), NotGob> {
        if self.0.is_empty() { Ok(()) } else { Err(NotGob("bytes after a value")) }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], NotGob> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(NotGob("a value is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Below 128 a byte, otherwise the negated count of the bytes that follow, the highest first.
    fn uint(&mut self) -> Result<u64, NotGob> {
        let first = self.take(1)?[0];
        if first < 0x80 {
            return Ok(first.into());
        }
        let count = usize::from(first.wrapping_neg());
        if count >= NUMBER_BYTES {
            return Err(NotGob("a number of more than 8 bytes"));
        }
        Ok(self.take(count)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Its lowest bit says whether the others are complemented.
    fn int(&mut self) -> Result<i64, NotGob> {
        let number = self.uint()?;
        let shifted = (number >> 1).cast_signed();
        Ok(if number & 1 == 1 { !shifted } else { shifted })
    }

    /// The length of a message; `None` where more of it must come.
    fn length(&mut self) -> Result<Option<usize>, NotGob> {
        let needed = match self.0.first() {
            None => return Ok(None),
            Some(first @ 0x80..) => usize::from(first.wrapping_neg()) + 1,
            Some(_) => 1,
        };
        if needed <= NUMBER_BYTES && self.0.len() < needed {
            return Ok(None);
        }
        usize::try_from(self.uint()?).map(Some).map_err(|_| NotGob("a message is too long"))
    }

    /// A count of things, each of which takes a byte at least.
    fn count(&mut self) -> Result<usize, NotGob> {
        let count = self.uint()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.0.len())
            .ok_or(NotGob("a count of more than there is"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], NotGob> {
        let count = self.count()?;
        self.take(count)
    }

    /// The fields of a struct that are not zero: each by how much its number is above the last, until a zero.
    fn fields(&mut self, mut read: impl FnMut(usize, &mut Self) -> Result<(), NotGob>) -> Result<(), NotGob> {
        let mut next = 0_usize;
        loop {
            let delta = self.uint()?;
            if delta == 0 {
                return Ok(());
            }
            let number = usize::try_from(delta - 1).ok().and_then(|above| next.checked_add(above));
            let number =
                number.filter(|number| *number < usize::MAX).ok_or(NotGob("a field out of range"))?;
            read(number, self)?;
            next = number + 1;
        }
    }
}

/// Writes a number without a sign.
pub(super) fn put_uint(out: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        out.push(u8::try_from(number).expect("below 128"));
        return;
    }
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let count = u8::try_from(bytes.len() - zeros).expect("at most 8");
    out.push(count.wrapping_neg());
    out.extend_from_slice(&bytes[zeros..]);
}

/// Writes a number with a sign.
pub(super) fn put_int(out: &mut Vec<u8>, number: i64) {
    let shifted = (number << 1).cast_unsigned();
    put_uint(out, if number < 0 { !shifted } else { shifted });
}

/// Writes a string.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uint(out, u64::try_from(text.len()).expect("a length has 64 bits"));
    out.extend_from_slice(text.as_bytes());
}

/// Writes a message with what `put` writes, and its length before it.
pub(super) fn put_message(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    put(out);
    let mut length = Vec::with_capacity(NUMBER_BYTES);
    put_uint(&mut length, u64::try_from(out.len() - begin).expect("a length has 64 bits"));
    out.splice(begin..begin, length);
}

/// Writes the definition of a struct.
pub(super) fn put_definition(out: &mut Vec<u8>, id: i64, name: &str, fields: &[(&str, i64)]) {
    const STRUCT: u64 = 3;
    put_message(out, |out| {
        put_int(out, -id);
        put_uint(out, STRUCT);
        // Its own name, unless it has none, and id.
        put_uint(out, 1);
        Fields::new(out).text(0, name).int(1, id).end();
        if !fields.is_empty() {
            put_uint(out, 1);
            put_uint(out, u64::try_from(fields.len()).expect("a few"));
            for (name, id) in fields {
                Fields::new(out).text(0, name).int(1, *id).end();
            }
        }
        out.extend([0, 0]);
    });
}

/// Writes a struct, field by field in the order of their numbers. What is zero is left out.
pub(super) struct Fields<'a> {
    out: &'a mut Vec<u8>,
    next: u64,
}

impl<'a> Fields<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Fields { out, next: 0 }
    }

    fn begin(&mut self, number: u64) {
        put_uint(self.out, number + 1 - self.next);
        self.next = number + 1;
    }

    pub(super) fn text(mut self, number: u64, text: &str) -> Self {
        if !text.is_empty() {
            self.begin(number);
            put_text(self.out, text);
        }
        self
    }

    pub(super) fn uint(mut self, number: u64, value: u64) -> Self {
        if value != 0 {
            self.begin(number);
            put_uint(self.out, value);
        }
        self
    }

    fn int(mut self, number: u64, value: i64) -> Self {
        if value != 0 {
            self.begin(number);
            put_int(self.out, value);
        }
        self
    }

    pub(super) fn end(self) {
        self.out.push(0);
    }
}
