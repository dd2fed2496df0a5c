//! Go's gob, as far as net/rpc needs it: the messages of a stream, the types that it defines, and structs of strings and
//! numbers. Whatever else a value holds is skipped by its type.
//!
//! Everything in here is bounded: messages, types, their definitions, and how deeply they nest. No count is believed
//! that the bytes which are there could not fill.

mod reader;
mod types;
mod write;

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

pub(super) use self::write::{Fields, put_definition, put_int, put_message, put_text};
use self::{
    reader::Reader,
    types::{Type, Types},
    write::put_uint,
};

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

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A value.
    Value(Whole),
    /// A message that was longer than the limit, and is skipped.
    TooLong,
}

/// A value that has come as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    id: i64,
    bytes: Bytes,
    /// Of a struct, the fields that are not zero, and where they are; or why it cannot be read to its end.
    fields: Result<Fieldset, NotGob>,
}

/// Numbers of fields, and where in the value they are.
type Fieldset = Vec<(usize, Range<usize>)>;

/// One direction of a stream: takes messages out of what has come, and keeps the types that they define.
#[derive(Debug, Default)]
pub(super) struct Stream {
    types: Types,
    /// Bytes of a message that is too long which are still to come.
    to_skip: usize,
    /// A value of this type of which more is to come: one in which an interface defines a type goes on in a message more.
    begun: Option<(i64, Vec<u8>)>,
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
            if self.begun.as_ref().is_some_and(|(_, begun)| begun.len() + length > limit_bytes) {
                return Err(NotGob("a value of several messages is too long"));
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
            if let Some((id, mut bytes)) = self.begun.take() {
                // Its length stands where that of what follows a definition does.
                put_uint(&mut bytes, u64::try_from(length).expect("a length has 64 bits"));
                bytes.extend_from_slice(&message);
                if let Some(whole) = self.walk(id, bytes.into()) {
                    return Ok(Some(Message::Value(whole)));
                }
                continue;
            }
            let mut reader = Reader(&message);
            let id = reader.int()?;
            if id < 0 {
                self.types.define(id, &mut reader)?;
                reader.ends()?;
            } else if length > limit_bytes {
                return Ok(Some(Message::TooLong));
            } else if let Some(whole) = self.walk(id, message.slice(message.len() - reader.0.len()..)) {
                return Ok(Some(Message::Value(whole)));
            }
        }
    }

    /// Reads over a value; `None` if it goes on in the next message.
    fn walk(&mut self, id: i64, bytes: Bytes) -> Option<Whole> {
        let Some(fields) = self.types.walk(id, &bytes) else {
            self.begun = Some((id, bytes.into()));
            return None;
        };
        Some(Whole { id, bytes, fields })
    }

    /// About what its types take in memory, and what has come of a value, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.types.held_bytes + self.begun.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    /// Whether it is in the middle of a value, or of a message that it skips.
    pub(super) const fn is_within_a_value(&self) -> bool {
        self.to_skip > 0 || self.begun.is_some()
    }

    /// Hands the fields of a struct that are not zero to `take`, by their names. As Go decides it, a struct without any field
    /// can be read as one with some of these names, and one of which no field is known cannot.
    ///
    /// # Errors
    /// If it is no such struct, or cannot be read to its end.
    pub(super) fn read_struct<'a>(
        &self,
        value: &'a Whole,
        names: &[&str],
        mut take: impl FnMut(&str, Value<'a>),
    ) -> Result<(), NotGob> {
        let fields = match self.types.own.get(&value.id) {
            Some(Type::Struct(fields)) => fields,
            Some(Type::List(_) | Type::Map(..) | Type::Opaque) | None => {
                return Err(NotGob("type mismatch: a struct is expected"));
            }
        };
        if !fields.is_empty() && !fields.iter().any(|field| names.contains(&&*field.name)) {
            return Err(NotGob("type mismatch: no field matches"));
        }
        for (number, at) in value.fields.as_ref().map_err(|error| *error)? {
            let field = &fields[*number];
            let mut reader = Reader(&value.bytes[at.clone()]);
            let value = match field.id {
                STRING => Value::Text(reader.bytes()?),
                UINT => Value::Uint(reader.uint()?),
                _ => Value::Other,
            };
            take(&field.name, value);
        }
        Ok(())
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
