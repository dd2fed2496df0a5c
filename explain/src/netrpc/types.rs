//! The types of gob: those that everybody knows, and what a definition says of others.

use std::collections::HashMap;

use crate::shown::plain;

/// The types that need no definition, by their numbers.
pub(super) const BOOL: i64 = 1;
pub(super) const INT: i64 = 2;
pub(super) const UINT: i64 = 3;
pub(super) const FLOAT: i64 = 4;
pub(super) const BYTES: i64 = 5;
pub(super) const TEXT: i64 = 6;
pub(super) const COMPLEX: i64 = 7;

/// Those that definitions are made of.
pub(super) const DEFINITION: i64 = 16;
const ARRAY: i64 = 17;
const COMMON: i64 = 18;
const SLICE: i64 = 19;
const STRUCT: i64 = 20;
const FIELD: i64 = 21;
const FIELDS: i64 = 22;
const MAP: i64 = 23;
const CODED: i64 = 24;

/// A type that was defined.
#[derive(Debug, Clone)]
pub(super) enum Type {
    Struct {
        name: String,
        fields: Vec<(String, i64)>,
    },
    List(i64),
    Map(i64, i64),
    /// Bytes that the type itself can read.
    Coded,
}

/// What was read, as far as definitions need it.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(i64),
    Text(String),
    Fields(HashMap<usize, Value>),
    List(Vec<Value>),
    Other,
}

pub(super) fn built_in() -> HashMap<i64, Type> {
    let of = |name: &str, fields: &[(&str, i64)]| Type::Struct {
        name: name.to_owned(),
        fields: fields.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect(),
    };
    let kinds = [("ArrayT", ARRAY), ("SliceT", SLICE), ("StructT", STRUCT), ("MapT", MAP)];
    let coded = [("GobEncoderT", CODED), ("BinaryMarshalerT", CODED), ("TextMarshalerT", CODED)];
    HashMap::from([
        (DEFINITION, of("wireType", &[&kinds[..], &coded].concat())),
        (ARRAY, of("arrayType", &[("CommonType", COMMON), ("Elem", INT), ("Len", INT)])),
        (COMMON, of("CommonType", &[("Name", TEXT), ("Id", INT)])),
        (SLICE, of("sliceType", &[("CommonType", COMMON), ("Elem", INT)])),
        (STRUCT, of("structType", &[("CommonType", COMMON), ("Field", FIELDS)])),
        (FIELD, of("fieldType", &[("Name", TEXT), ("Id", INT)])),
        (FIELDS, Type::List(FIELD)),
        (MAP, of("mapType", &[("CommonType", COMMON), ("Key", INT), ("Elem", INT)])),
        (CODED, of("gobEncoderType", &[("CommonType", COMMON)])),
    ])
}

impl Value {
    pub(super) fn fields(&self) -> Option<&HashMap<usize, Value>> {
        if let Value::Fields(fields) = self { Some(fields) } else { None }
    }

    pub(super) fn int(&self) -> i64 {
        if let Value::Int(number) = self { *number } else { 0 }
    }

    pub(super) fn text(&self) -> &str {
        if let Value::Text(text) = self { text } else { "" }
    }

    /// The name and the type of a field of a struct. The name is whatever the client has called it: it is shown, and so
    /// escaped and cut.
    pub(super) fn named(&self) -> Option<(String, i64)> {
        let fields = self.fields()?;
        Some((plain(fields.get(&0).map_or("", Value::text).as_bytes()), fields.get(&1).map_or(0, Value::int)))
    }
}

pub(super) fn type_name(id: i64) -> String {
    match id {
        BOOL => "a bool".to_owned(),
        INT => "an int".to_owned(),
        UINT => "a uint".to_owned(),
        FLOAT => "a float".to_owned(),
        BYTES => "bytes".to_owned(),
        TEXT => "a string".to_owned(),
        id => format!("a value of type {id}"),
    }
}
