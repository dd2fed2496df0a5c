//! What a run of bytes means, and what it is there for.

use std::{array, ops::Range};

use serde::Serialize;
use strum::{EnumCount, VariantArray};

/// What bytes are there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, VariantArray, EnumCount)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Lengths, types, tags, delimiters.
    Framing,
    /// Names of fields, where the wire carries them.
    Names,
    /// What opens, sets up, keeps and closes a connection.
    Connection,
    /// Headers, routes and properties.
    Headers,
    /// Ids, times, levels, deadlines.
    Ids,
    /// The name and the data of an entry.
    Entry,
    /// What the other end says of it.
    Answer,
    /// Inside of TLS.
    Encrypted,
    /// What the decoder could not read.
    Unread,
}

impl Purpose {
    /// In words, as in the table of sums.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Framing => "framing: lengths, types, delimiters",
            Purpose::Names => "names of fields",
            Purpose::Connection => "connection: opening, settings, closing",
            Purpose::Headers => "headers, routes, properties",
            Purpose::Ids => "ids, times, levels, deadlines",
            Purpose::Entry => "the entry's own name and data",
            Purpose::Answer => "answers",
            Purpose::Encrypted => "encrypted",
            Purpose::Unread => "not decoded",
        }
    }
}

/// So many bytes of each purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost([u32; Purpose::COUNT]);

impl Cost {
    /// So many of one purpose.
    pub fn of(purpose: Purpose, bytes: usize) -> Self {
        let mut cost = Cost::default();
        cost.0[purpose as usize] = u32::try_from(bytes).expect("a recording is far smaller");
        cost
    }

    /// How many are of a purpose.
    pub const fn get(&self, purpose: Purpose) -> u32 {
        self.0[purpose as usize]
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.0.iter().map(|bytes| *bytes as usize).sum()
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Cost) -> Self {
        Cost(array::from_fn(|at| self.0[at] + other.0[at]))
    }

    /// Takes the first bytes away, as they stand in front of each other: names, framing, then what they frame.
    fn split_off_first(&mut self, mut bytes: u32) -> Cost {
        let mut first = Cost::default();
        let order = [Purpose::Names, Purpose::Framing].into_iter().chain(Purpose::VARIANTS.iter().copied());
        for purpose in order {
            let taken = bytes.min(self.0[purpose as usize]);
            self.0[purpose as usize] -= taken;
            first.0[purpose as usize] += taken;
            bytes -= taken;
        }
        first
    }
}

/// A run of bytes and what it means. Its children, if it has any, cover it from end to end without a gap, and tell what
/// their bytes cost; without any it tells that itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Where it is, in all that went one way on a connection.
    pub range: Range<usize>,
    /// What repeats are recognised by; empty for what is never folded.
    pub kind: &'static str,
    /// What it means. No character of it is a control character.
    pub text: String,
    /// What its bytes are for, where it has no children.
    pub cost: Cost,
    /// The bytes of it that nobody may see.
    pub secret: Option<Secret>,
    /// What it is made of.
    pub children: Vec<Annotation>,
}

/// Bytes that are shown and saved as others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Where they are.
    pub range: Range<usize>,
    /// Whether they are packed by HPACK's Huffman code: others in their place must be, too.
    pub huffman: bool,
}

impl Annotation {
    /// Bytes of one purpose.
    pub(crate) fn leaf(range: Range<usize>, purpose: Purpose, text: impl Into<String>) -> Self {
        let cost = Cost::of(purpose, range.len());
        Annotation { range, kind: "", text: text.into(), cost, secret: None, children: Vec::new() }
    }

    /// Bytes of one purpose, of which so many in front are framing.
    pub(crate) fn framed(
        range: Range<usize>,
        framing: usize,
        purpose: Purpose,
        text: impl Into<String>,
    ) -> Self {
        let framing = framing.min(range.len());
        let cost = Cost::of(Purpose::Framing, framing).plus(&Cost::of(purpose, range.len() - framing));
        Annotation { cost, ..Annotation::leaf(range, purpose, text) }
    }

    /// What is made of others, which stand in order. Bytes that none of them covers are told as not decoded.
    pub(crate) fn of(range: Range<usize>, text: impl Into<String>, parts: Vec<Annotation>) -> Self {
        let mut children = Vec::with_capacity(parts.len());
        let mut at = range.start;
        for part in parts {
            if part.range.start > at {
                children.push(unread(at..part.range.start));
            }
            at = part.range.end;
            children.push(part);
        }
        if at < range.end {
            children.push(unread(at..range.end));
        }
        let cost = Cost::default();
        Annotation { range, kind: "", text: text.into(), cost, secret: None, children }
    }

    /// The same, folded with others of its kind.
    pub(crate) fn of_kind(self, kind: &'static str) -> Self {
        Annotation { kind, ..self }
    }

    /// The same, with bytes that nobody may see.
    pub(crate) fn hiding(self, range: Range<usize>, huffman: bool) -> Self {
        Annotation { secret: Some(Secret { range, huffman }), ..self }
    }

    /// How many bytes it covers.
    pub fn bytes(&self) -> usize {
        self.range.len()
    }

    /// What all its bytes cost.
    pub fn cost(&self) -> Cost {
        self.children.iter().fold(self.cost, |cost, child| cost.plus(&child.cost()))
    }

    /// Everything that nobody may see.
    pub fn secrets(&self) -> Vec<&Secret> {
        let own = self.secret.iter();
        own.chain(self.children.iter().flat_map(|child| child.secrets())).collect()
    }

    /// What of it lies in a range, as if it stood `at`: for what goes in several frames. Both are as long.
    pub(crate) fn clipped(&self, within: &Range<usize>, at: usize) -> Option<Annotation> {
        let (start, end) = (self.range.start.max(within.start), self.range.end.min(within.end));
        if start >= end {
            return None;
        }
        let moved = |position: usize| position - within.start + at;
        let is_whole = start == self.range.start && end == self.range.end;
        let (mut cost, first) = (self.cost, start - self.range.start);
        if !is_whole && self.children.is_empty() {
            cost.split_off_first(u32::try_from(first).unwrap_or(u32::MAX));
            cost = cost.split_off_first(u32::try_from(end - start).unwrap_or(u32::MAX));
        }
        let text = if is_whole {
            self.text.clone()
        } else {
            format!("{} (bytes {first} to {} of {})", self.text, end - self.range.start, self.bytes())
        };
        let secret = self.secret.as_ref().and_then(|secret| {
            let (from, to) = (secret.range.start.max(start), secret.range.end.min(end));
            (from < to).then(|| Secret { range: moved(from)..moved(to), huffman: secret.huffman })
        });
        let children = self.children.iter().filter_map(|child| child.clipped(within, at)).collect();
        Some(Annotation { range: moved(start)..moved(end), kind: self.kind, text, cost, secret, children })
    }

    /// Whether every byte of it is covered once, and has a purpose.
    pub fn is_sound(&self) -> bool {
        if self.children.is_empty() {
            return self.cost.total() == self.bytes();
        }
        self.cost.total() == 0 && covers(&self.children, &self.range)
    }
}

/// Whether annotations, one after the other, cover a range: every byte of it once.
pub fn covers<'a>(annotations: impl IntoIterator<Item = &'a Annotation>, range: &Range<usize>) -> bool {
    let mut at = range.start;
    for annotation in annotations {
        if annotation.range.start != at || annotation.range.is_empty() || !annotation.is_sound() {
            return false;
        }
        at = annotation.range.end;
    }
    at == range.end
}

/// Bytes that mean nothing to the decoder.
pub(crate) fn unread(range: Range<usize>) -> Annotation {
    Annotation::leaf(range, Purpose::Unread, "not decoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_part_covers_is_told_as_not_decoded() {
        let part = Annotation::leaf(3..5, Purpose::Entry, "part");
        let whole = Annotation::of(1..7, "whole", vec![part]);
        assert!(covers([&whole], &(1..7)));
        assert_eq!((whole.cost().get(Purpose::Unread), whole.cost().get(Purpose::Entry)), (4, 2));
    }

    #[test]
    fn a_gap_an_overlap_and_a_byte_without_a_purpose_are_no_cover() {
        let leaf = |range: Range<usize>| Annotation::leaf(range, Purpose::Entry, "");
        assert!(covers(&[leaf(0..2), leaf(2..3)], &(0..3)));
        for bad in [vec![leaf(0..2)], vec![leaf(0..1), leaf(2..3)], vec![leaf(0..2), leaf(1..3)]] {
            assert!(!covers(&bad, &(0..3)), "{bad:?}");
        }
        let costless = Annotation { cost: Cost::default(), ..leaf(0..3) };
        assert!(!covers(&[costless], &(0..3)));
    }

    #[test]
    fn what_is_cut_keeps_its_bytes_and_their_purposes() {
        let field = Annotation::framed(10..20, 2, Purpose::Entry, "data").hiding(12..20, false);
        let (first, rest) = (field.clipped(&(0..15), 100), field.clipped(&(15..30), 200));
        let (first, rest) = (first.expect("five bytes"), rest.expect("five bytes"));
        assert_eq!((first.range.clone(), rest.range.clone()), (110..115, 200..205));
        assert_eq!((first.cost.get(Purpose::Framing), first.cost.get(Purpose::Entry)), (2, 3));
        assert_eq!((rest.cost.get(Purpose::Framing), rest.cost.get(Purpose::Entry)), (0, 5));
        assert_eq!(first.secrets()[0].range, 112..115);
        assert!(first.is_sound() && rest.is_sound());
        assert_eq!(field.clipped(&(20..30), 0), None);
    }
}
