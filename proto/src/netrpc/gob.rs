//! Go's gob, as far as net/rpc needs it: the messages of a stream, the types that it defines, and structs of strings and
//! numbers. Whatever else a value holds is skipped by its type.
//!
//! Everything in here is bounded: messages, types, their definitions, and how deeply they nest. No count is believed
//! that the bytes which are there could not fill.

mod reader;
mod types;
mod write;

use bytes::{Buf, Bytes, BytesMut};

pub(super) use self::write::{Fields, put_definition, put_int, put_message, put_text};
use self::{
    reader::Reader,
    types::{Type, Types},
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
