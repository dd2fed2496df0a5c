//! What `fourwire explain` has recorded of a connection.

use explain::{Annotation, Chunk, Recording, Show, To, Wire, json, text};
use strum::VariantArray;

/// Most annotations of a recording, and most characters of one: what bounds its memory.
const ANNOTATIONS: usize = 300_000;
const TEXT_CHARS: usize = 1_024;

/// Columns of a line.
const COLUMNS: usize = 100;

/// The first byte says which wire it is; then come chunks, each of a byte that says which way it goes, two of length, and
/// as many as that, or as are left.
///
/// # Panics
/// If a byte is not told exactly once, what is told has no bound or might be obeyed by a terminal, or a recording is not
/// the same after it was saved.
pub fn explain(bytes: &[u8]) {
    let Some((wire, mut left)) = bytes.split_first() else { return };
    let wire = Wire::VARIANTS[usize::from(*wire) % Wire::VARIANTS.len()];
    let mut recording = Recording::new(wire);
    while let [way, high, low, rest @ ..] = left {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let to = if way & 1 == 0 { To::Server } else { To::Client };
        let (chunk, rest) = rest.split_at(len);
        let (at_us, connection) = (recording.chunks.len() as u64, 1 + u32::from(way >> 1 & 1));
        recording.chunks.push(Chunk { at_us, connection, to, bytes: chunk.to_vec() });
        left = rest;
    }
    let explained = explain::explain(recording);
    assert_eq!(explained.check(explained.recorded()), Ok(()));
    let annotations: usize = explained.units.iter().map(|unit| check(&unit.annotation)).sum();
    assert!(annotations <= ANNOTATIONS, "{annotations} annotations");
    let shown = text(&explained, Show { all: true, bytes: true });
    for line in shown.lines() {
        assert!(line.chars().count() <= COLUMNS && !line.chars().any(char::is_control), "{line:?}");
    }
    assert!(!json(&explained, Show::default()).is_empty());
    let saved = Recording::from_ndjson(&explained.recording.to_ndjson()).expect("its own form");
    assert_eq!(saved, explained.recording);
}

/// Checks the text of an annotation, and of all that it is made of; says how many there are.
fn check(annotation: &Annotation) -> usize {
    let text = &annotation.text;
    assert!(text.chars().count() <= TEXT_CHARS && !text.chars().any(char::is_control), "{text:?}");
    1 + annotation.children.iter().map(check).sum::<usize>()
}
