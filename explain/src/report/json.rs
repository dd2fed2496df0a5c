//! As JSON: a line for each unit, and one with the sums.

use std::collections::BTreeMap;

use serde::{Serialize, ser::SerializeMap};
use strum::VariantArray;

use super::{Show, hexadecimal, parts};
use crate::{Annotation, Cost, Explained, Purpose, To, Unit, Wire};

#[derive(Serialize)]
struct UnitLine<'a> {
    part: &'a str,
    at_us: u64,
    connection: u32,
    to: To,
    #[serde(flatten)]
    annotation: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    offset: usize,
    bytes: usize,
    text: &'a str,
    #[serde(skip_serializing_if = "Purposes::is_empty")]
    purposes: Purposes,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Told<'a>>,
}

/// How many bytes of each purpose; those that there are.
struct Purposes(Cost);

impl Purposes {
    fn is_empty(&self) -> bool {
        self.0.total() == 0
    }
}

impl Serialize for Purposes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for purpose in Purpose::VARIANTS.iter().filter(|purpose| self.0.get(**purpose) > 0) {
            map.serialize_entry(purpose, &self.0.get(*purpose))?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Sums<'a> {
    wire: Wire,
    sums: BTreeMap<&'a str, BTreeMap<&'static str, Purposes>>,
}

/// As lines of JSON: all units, whatever repeats.
pub fn json(explained: &Explained, show: Show) -> String {
    let mut out = String::new();
    let parts = parts(explained);
    for part in &parts {
        for unit in &part.units {
            let annotation = told(explained, unit, &unit.annotation, show);
            let at_us = explained.recording.chunks[unit.chunk].at_us;
            let (connection, to) = (unit.connection, unit.to);
            put(&mut out, &UnitLine { part: part.name, at_us, connection, to, annotation });
        }
    }
    let both = |units: &[&Unit]| {
        let cost = |to| Explained::cost(units.iter().copied(), to);
        [To::Server, To::Client].map(|to| (to_name(to), Purposes(cost(to)))).into()
    };
    let mut sums: BTreeMap<&str, _> = parts.iter().map(|part| (part.name, both(&part.units))).collect();
    sums.insert("all", both(&explained.units.iter().collect::<Vec<_>>()));
    put(&mut out, &Sums { wire: explained.wire(), sums });
    out
}

fn put(out: &mut String, line: &impl Serialize) {
    out.push_str(&serde_json::to_string(line).expect("these have only string keys, so they serialise"));
    out.push('\n');
}

const fn to_name(to: To) -> &'static str {
    match to {
        To::Server => "to_server",
        To::Client => "to_client",
    }
}

fn told<'a>(explained: &Explained, unit: &Unit, annotation: &'a Annotation, show: Show) -> Told<'a> {
    let is_leaf = annotation.children.is_empty();
    let hex = (show.bytes && is_leaf).then(|| hexadecimal(explained, unit, annotation).concat());
    Told {
        offset: annotation.range.start - unit.annotation.range.start,
        bytes: annotation.bytes(),
        text: &annotation.text,
        purposes: Purposes(annotation.cost),
        hex,
        children: annotation.children.iter().map(|child| told(explained, unit, child, show)).collect(),
    }
}
