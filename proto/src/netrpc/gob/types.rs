//! The types that a stream defines, and values that are skipped by them.

use std::{collections::HashMap, mem::size_of, sync::Arc};

use super::{
    BOOL, BYTES, COMPLEX, DEFINITION_BYTES, FIRST_OWN, FLOAT, Fieldset, INT, INTERFACE, NESTING, NotGob,
    STRING, TYPES, UINT, reader::Reader,
};

/// What a stream has defined.
#[derive(Debug, Default)]
pub(super) struct Types {
    pub(super) own: HashMap<i64, Type>,
    defined_bytes: usize,
    pub(super) held_bytes: usize,
    /// Those that the value has defined which is being read, each with the bytes of its definition.
    of_this_value: Vec<(i64, usize)>,
    /// Whether it ended where a type was defined: Go begins a message there.
    goes_on: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Type {
    Struct(Arc<[Field]>),
    /// A slice or an array: on the wire they are the same.
    List(i64),
    Map(i64, i64),
    /// What encodes itself, such as a time: bytes to everybody else.
    Opaque,
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) id: i64,
}

impl Types {
    /// Reads a definition, which begins after its id, the negated one of the type.
    pub(super) fn define(&mut self, negated: i64, reader: &mut Reader<'_>) -> Result<(), NotGob> {
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
        if self.own.contains_key(&id) {
            return Err(NotGob("a type is defined twice"));
        }
        self.held_bytes += defined.held_bytes();
        self.own.insert(id, defined);
        self.of_this_value.push((id, read));
        Ok(())
    }

    /// Reads over the value of a message: where the fields of a struct are, or why it cannot be read to its end. `None`: it
    /// goes on in the next message. It is to be read from its begin then, so nothing of it is kept; it cannot be read more
    /// often than there may be types.
    pub(super) fn walk(&mut self, id: i64, value: &[u8]) -> Option<Result<Fieldset, NotGob>> {
        self.of_this_value.clear();
        self.goes_on = false;
        let walked = self.read_over(id, value);
        if !self.goes_on {
            return Some(walked);
        }
        for (id, bytes) in std::mem::take(&mut self.of_this_value) {
            self.held_bytes -= self.own.remove(&id).map_or(0, |defined| defined.held_bytes());
            self.defined_bytes -= bytes;
        }
        None
    }

    fn read_over(&mut self, id: i64, value: &[u8]) -> Result<Fieldset, NotGob> {
        let (mut reader, mut found) = (Reader(value), Vec::new());
        if let Some(Type::Struct(fields)) = self.own.get(&id).cloned() {
            reader.fields(|number, reader| {
                let field = fields.get(number).ok_or(NotGob("a field that its type does not have"))?;
                let begin = value.len() - reader.0.len();
                self.skip(field.id, reader, 1)?;
                found.push((number, begin..value.len() - reader.0.len()));
                Ok(())
            })?;
        } else {
            // Before what is no struct there is a zero.
            reader.take(1)?;
            self.skip(id, &mut reader, 1)?;
        }
        reader.ends().map(|()| found)
    }

    /// Reads over what is within a value.
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
            self.goes_on = reader.0.is_empty();
            // The length of what follows, which is that of the next message if it is not here.
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
