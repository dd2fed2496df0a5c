//! Any bytes are covered once, and the recordings of real connections are told to the last byte.

use std::{fs, path::PathBuf};

use proptest::prelude::*;
use strum::VariantArray;

use super::*;

fn fixtures() -> Vec<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files =
        fs::read_dir(directory).expect("there are recordings").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|of| of == "ndjson")).collect();
    files.sort();
    files
}

fn recording(file: &PathBuf) -> Recording {
    Recording::from_ndjson(&fs::read_to_string(file).expect("readable")).expect("a recording")
}

fn unread(explained: &Explained) -> u32 {
    [To::Server, To::Client].map(|to| Explained::cost(&explained.units, to).get(Purpose::Unread)).iter().sum()
}

#[test]
fn every_byte_of_a_real_connection_is_explained() {
    let mut wires = Vec::new();
    for file in fixtures() {
        let explained = explain(recording(&file));
        explained.check(explained.recorded()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(unread(&explained), 0, "{}", file.display());
        wires.push(explained.wire());
    }
    assert!(Wire::VARIANTS.iter().all(|wire| wires.contains(wire)), "{wires:?}");
}

/// What is told is what a person has looked at: `fourwire explain --read FILE` writes the text anew.
#[test]
fn what_is_told_of_a_recording_stays_as_it_is() {
    for file in fixtures() {
        let text = text(&explain(recording(&file)), Show::default());
        let expected = fs::read_to_string(file.with_extension("txt")).expect("each recording has its text");
        for (number, (told, expected)) in (1..).zip(text.lines().zip(expected.lines())) {
            assert_eq!(told, expected, "{}, line {number}", file.display());
        }
        assert_eq!(text.lines().count(), expected.lines().count(), "{}", file.display());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{}", file.display());
    }
}

#[test]
fn a_recording_without_a_byte_of_its_own_is_not_accounted_for() {
    let mut explained = explain(recording(&fixtures()[0]));
    let [to_server, to_client] = explained.recorded();
    let error = explained.check([to_server + 1, to_client]).expect_err("one more has passed");
    assert!(error.to_string().contains("passed to the server"), "{error}");
    explained.units.remove(0);
    assert!(matches!(explained.check([to_server, to_client]), Err(Unaccounted::Uncovered(_))));
}

#[test]
fn chunks_may_be_cut_anywhere() {
    for file in fixtures() {
        let whole = recording(&file);
        let mut pieces = Recording { chunks: Vec::new(), ..whole.clone() };
        pieces.parts.clear();
        for chunk in &whole.chunks {
            pieces
                .chunks
                .extend(chunk.bytes.chunks(7).map(|piece| Chunk { bytes: piece.to_vec(), ..chunk.clone() }));
        }
        let (whole, pieces) = (explain(whole), explain(pieces));
        pieces.check(whole.recorded()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let sum = |explained: &Explained, to| Explained::cost(&explained.units, to);
        for to in [To::Server, To::Client] {
            assert_eq!(sum(&whole, to), sum(&pieces, to), "{}", file.display());
        }
    }
}

/// A header by HPACK: its number in the static table, 23, and its value by Huffman's code, from RFC 7541.
const PACKED: &[u8] = b"\x57\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";

#[test]
fn a_secret_is_neither_shown_nor_saved_and_what_is_saved_can_be_read() {
    let head = b"GET /logs HTTP/1.1\r\nauthorization: Bearer swordfish\r\ncookie: swordfish\r\n\r\n";
    // As it is, and by its number: what is hidden must not come back from the table.
    let frame = [b"\0\0\x0b\x01\x04\0\0\0\x01", PACKED, b"\0\0\x01\x01\x04\0\0\0\x03\xbe"].concat();
    let undecodable = b"swordfish";
    for (wire, bytes, secrets) in [
        (Wire::Http, &head[..], &["swordfish"][..]),
        (Wire::Grpc, &frame, &["custom-value", "25a849e95bb8e8b4bf"]),
        (Wire::Rabbitmq, undecodable, &["swordfish"]),
    ] {
        // In pieces, so that a secret is in several.
        let pieces = (0..).zip(bytes.chunks(5));
        let chunk = |(at_us, piece): (u64, &[u8])| Chunk {
            at_us,
            connection: 1,
            to: To::Server,
            bytes: piece.to_vec(),
        };
        let recording = Recording { wire, parts: Vec::new(), chunks: pieces.map(chunk).collect() };
        let explained = explain(recording);
        let show = Show { all: true, bytes: true };
        let saved = explained.recording.to_ndjson();
        let again = explain(Recording::from_ndjson(&saved).expect("its own form"));
        let joined: String =
            explained.recording.chunks.iter().map(|chunk| hex::encode(&chunk.bytes)).collect();
        for shown in [text(&explained, show), json(&explained, show), saved, joined, text(&again, show)] {
            for secret in secrets {
                let hexadecimal = hex::encode(secret);
                let spaced = hexadecimal
                    .as_bytes()
                    .chunks(2)
                    .map(|two| String::from_utf8_lossy(two))
                    .collect::<Vec<_>>();
                for form in [secret.to_string(), hexadecimal.clone(), spaced.join(" ")] {
                    assert!(!shown.contains(&form), "{form} in {shown}");
                }
            }
        }
        assert_eq!(text(&again, show), text(&explained, show), "it means the same");
        assert_eq!(again.check(explained.recorded()), Ok(()));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_covered_once(
        wire in proptest::sample::select(Wire::VARIANTS),
        chunks in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..6),
    ) {
        let chunk = |(at_us, (to_server, bytes)): (u64, (bool, Vec<u8>))| {
            Chunk { at_us, connection: 1, to: if to_server { To::Server } else { To::Client }, bytes }
        };
        let chunks = (0..).zip(chunks).map(chunk).collect();
        let explained = explain(Recording { wire, parts: Vec::new(), chunks });
        prop_assert_eq!(explained.check(explained.recorded()), Ok(()));
        let shown = text(&explained, Show { all: true, bytes: true });
        prop_assert!(shown.lines().all(|line| line.chars().count() <= 100 && !line.chars().any(char::is_control)));
    }
}
