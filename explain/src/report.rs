//! What is explained, as text of at most 100 columns, and as JSON.

mod json;
mod sums;

pub use self::json::json;

use std::{collections::HashMap, fmt::Write, ops::Range};

use crate::{Annotation, Explained, Purpose, To, Unit, amqp::declares};

/// Columns of a line.
const COLUMNS: usize = 100;

/// So many of a kind are shown in each part; what comes after them is counted.
const SHOWN: usize = 3;

/// So many lines of bytes are shown of each annotation.
const BYTE_LINES: usize = 4;
const BYTES_OF_LINE: usize = 24;

/// The parts of this name are an entry each, and repeat.
const ENTRY: &str = "entry ";

/// How much is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Show {
    /// Repeats too.
    pub all: bool,
    /// The bytes themselves.
    pub bytes: bool,
}

/// A part of the recording, and what is in it.
struct Part<'a> {
    name: &'a str,
    units: Vec<&'a Unit>,
}

/// The parts that have something in them, in their order.
fn parts(explained: &Explained) -> Vec<Part<'_>> {
    let units = &explained.units;
    let first = |chunk: usize| units.partition_point(|unit| unit.chunk < chunk);
    let mut begins: Vec<(&str, usize)> =
        explained.recording.parts.iter().map(|(name, chunk)| (name.as_str(), first(*chunk))).collect();
    if begins.first().is_none_or(|(_, begins)| *begins > 0) {
        begins.insert(0, ("recorded", 0));
    }
    let ends = begins.iter().skip(1).map(|(_, begins)| *begins).chain([units.len()]);
    let parts = begins
        .iter()
        .zip(ends)
        .map(|((name, begins), end)| Part { name, units: units[*begins.min(&end)..end].iter().collect() });
    let mut parts = parts.filter(|part| !part.units.is_empty()).collect();
    set_up_apart(&mut parts);
    parts
}

/// Moves to the first part, in which the connection opens, what declares exchanges and queues in the others: it is repeated
/// each second, and costs the same however many entries pass meanwhile.
fn set_up_apart(parts: &mut Vec<Part<'_>>) {
    let Some((opening, others)) = parts.split_first_mut() else { return };
    if opening.name.starts_with(ENTRY) {
        return;
    }
    for part in others {
        let (set_up, own) =
            std::mem::take(&mut part.units).into_iter().partition(|unit| declares(&unit.annotation));
        part.units = own;
        opening.units.extend::<Vec<_>>(set_up);
    }
    parts.retain(|part| !part.units.is_empty());
}

/// As text.
pub fn text(explained: &Explained, show: Show) -> String {
    let mut text = Text { out: String::new(), explained, show, connections: connections(explained) };
    let parts = parts(explained);
    let mut hidden = Hidden::default();
    for (at, part) in parts.iter().enumerate() {
        let is_repeat = part.name.starts_with(ENTRY)
            && parts[..at].iter().filter(|before| before.name.starts_with(ENTRY)).count() >= SHOWN;
        if is_repeat && !show.all {
            part.units.iter().for_each(|unit| hidden.add(part.name, unit.annotation.bytes()));
            hidden.parts += 1;
            continue;
        }
        text.more_parts(&mut hidden);
        text.part(part);
    }
    text.more_parts(&mut hidden);
    sums::put(&mut text.out, explained, &parts);
    text.out
}

fn connections(explained: &Explained) -> usize {
    let connections = explained.units.iter().map(|unit| unit.connection);
    connections.collect::<std::collections::BTreeSet<_>>().len()
}

/// What is not shown since it repeats.
#[derive(Debug, Default)]
struct Hidden {
    units: usize,
    bytes: usize,
    kinds: Vec<String>,
    parts: usize,
}

impl Hidden {
    fn add(&mut self, kind: &str, bytes: usize) {
        /// More would not fit into the line.
        const KINDS: usize = 4;
        self.units += 1;
        self.bytes += bytes;
        if self.kinds.len() < KINDS && !self.kinds.iter().any(|known| known == kind) {
            self.kinds.push(kind.to_owned());
        }
    }
}

struct Text<'a> {
    out: String,
    explained: &'a Explained,
    show: Show,
    connections: usize,
}

impl Text<'_> {
    fn line(&mut self, line: &str) {
        let short: String = line.chars().take(COLUMNS).collect();
        if short.len() < line.len() {
            let cut: String = line.chars().take(COLUMNS - 1).collect();
            let _ = writeln!(self.out, "{}…", cut.trim_end());
        } else {
            let _ = writeln!(self.out, "{}", line.trim_end());
        }
    }

    fn part(&mut self, part: &Part) {
        self.line(&format!("== {} ==", part.name));
        let mut seen = HashMap::new();
        let mut hidden = Hidden::default();
        for unit in &part.units {
            let annotation = &unit.annotation;
            let count = seen.entry((unit.to, annotation.kind)).or_insert(0);
            *count += 1;
            if *count > SHOWN && !annotation.kind.is_empty() && !self.show.all {
                hidden.add(annotation.kind, annotation.bytes());
                continue;
            }
            self.more(&mut hidden, 0);
            self.unit(unit);
        }
        self.more(&mut hidden, 0);
        self.out.push('\n');
    }

    fn more(&mut self, hidden: &mut Hidden, depth: usize) {
        let Hidden { units, bytes, kinds, .. } = std::mem::take(hidden);
        if units > 0 {
            let indent = " ".repeat(18 + 2 * depth);
            self.line(&format!("{indent}{units} more like this, {bytes} B: {} (--all)", kinds.join(", ")));
        }
    }

    fn more_parts(&mut self, hidden: &mut Hidden) {
        let Hidden { bytes, parts, .. } = std::mem::take(hidden);
        if parts > 0 {
            self.line(&format!("{parts} more entries like this, {bytes} B (--all)"));
            self.out.push('\n');
        }
    }

    fn unit(&mut self, unit: &Unit) {
        let Unit { chunk, connection, to, annotation } = unit;
        let at_us = self.explained.recording.chunks[*chunk].at_us;
        let arrow = match to {
            To::Server => "→",
            To::Client => "←",
        };
        let which = if self.connections > 1 { format!("#{connection} ") } else { String::new() };
        let (seconds, micros) = (at_us / 1_000_000, at_us % 1_000_000);
        let (bytes, text) = (annotation.bytes(), &annotation.text);
        self.line(&format!("+{seconds}.{micros:06} s {which}{arrow} {bytes} B  {text}"));
        if annotation.children.is_empty() {
            self.bytes(unit, annotation, 0);
        }
        self.children(unit, annotation, 0);
    }

    fn children(&mut self, unit: &Unit, of: &Annotation, depth: usize) {
        let (mut same, mut hidden) = ("", Hidden::default());
        let mut count = 0;
        for child in &of.children {
            count = if child.kind == same { count + 1 } else { 1 };
            same = child.kind;
            if count > SHOWN && !same.is_empty() && !self.show.all {
                hidden.add(&of.text, child.bytes());
                continue;
            }
            self.more(&mut hidden, depth);
            let offset = child.range.start - unit.annotation.range.start;
            let indent = "  ".repeat(depth);
            self.line(&format!("{offset:>8} {:>7}  {indent}{}", child.bytes(), child.text));
            if child.children.is_empty() {
                self.bytes(unit, child, depth);
            }
            self.children(unit, child, depth + 1);
        }
        self.more(&mut hidden, depth);
    }

    fn bytes(&mut self, unit: &Unit, of: &Annotation, depth: usize) {
        if !self.show.bytes {
            return;
        }
        let lines = if self.show.all { usize::MAX } else { BYTE_LINES };
        let shown = hexadecimal(self.explained, unit, of);
        let indent = "  ".repeat(depth.min(5));
        for line in shown.chunks(BYTES_OF_LINE).take(lines) {
            self.line(&format!("{:>18}{indent}{}", "", line.join(" ")));
        }
        let left = shown.len().saturating_sub(lines.saturating_mul(BYTES_OF_LINE));
        if left > 0 {
            self.line(&format!("{:>18}{indent}{left} more bytes (--all)", ""));
        }
    }
}

/// Each byte in hexadecimal, or what stands for one that nobody may see.
fn hexadecimal(explained: &Explained, unit: &Unit, of: &Annotation) -> Vec<String> {
    let bytes = &explained.bytes[&(unit.connection, unit.to)][of.range.clone()];
    let hidden: Range<usize> = of.secret.as_ref().map_or(0..0, |secret| secret.range.clone());
    let shown = bytes.iter().zip(of.range.clone());
    shown
        .map(|(byte, at)| if hidden.contains(&at) { "••".to_owned() } else { format!("{byte:02x}") })
        .collect()
}

/// Whether anything could not be read.
fn unread(explained: &Explained, to: To) -> u32 {
    Explained::cost(&explained.units, to).get(Purpose::Unread)
}
