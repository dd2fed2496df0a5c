//! What passed on the connections of a run, in the order of time, and its form as a file: a line of JSON for each chunk.

use serde::{Deserialize, Serialize};

use crate::{Wire, shown::escaped};

/// Most bytes of a file: what a recording may have, in hexadecimal, and room for the rest.
pub const FILE_BYTES: usize = 24 * 1024 * 1024;

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// From the client to the server.
    Server,
    /// From the server to the client.
    Client,
}

/// Bytes that a relay has read at once. They are no TCP segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// When, in microseconds since the first.
    pub at_us: u64,
    /// On which connection, counted from 1.
    pub connection: u32,
    /// Which way.
    pub to: To,
    /// What.
    #[serde(rename = "hex", with = "hexadecimal")]
    pub bytes: Vec<u8>,
}

/// Bytes in a line of JSON.
mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// What passed, and where its parts begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// How it is read.
    pub wire: Wire,
    /// The parts: a name, and with which chunk it begins.
    pub parts: Vec<(String, usize)>,
    /// In the order of time.
    pub chunks: Vec<Chunk>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Head { fourwire_recording: u32, wire: Wire },
    Part { part: String },
    Chunk(Chunk),
}

/// The form of the file.
const VERSION: u32 = 1;

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum NoRecording {
    /// It is too large.
    #[error("the file has more than {} MiB", FILE_BYTES / 1024 / 1024)]
    TooLarge,
    /// Its first line is not that of a recording.
    #[error("the first line is not that of a recording: `fourwire explain --save` writes one")]
    Head,
    /// A line is not one of a recording.
    #[error("line {0} is not one of a recording")]
    Line(usize, #[source] serde_json::Error),
}

impl Recording {
    /// An empty one.
    pub fn new(wire: Wire) -> Self {
        Recording { wire, parts: Vec::new(), chunks: Vec::new() }
    }

    /// As a file.
    pub fn to_ndjson(&self) -> String {
        let mut text = String::new();
        let mut put = |line: &Line| {
            text.push_str(
                &serde_json::to_string(line).expect("these have only string keys, so they serialise"),
            );
            text.push('\n');
        };
        put(&Line::Head { fourwire_recording: VERSION, wire: self.wire });
        let mut parts = self.parts.iter().peekable();
        for at in 0..=self.chunks.len() {
            while let Some((part, _)) = parts.next_if(|(_, begins)| *begins <= at) {
                put(&Line::Part { part: part.clone() });
            }
            if let Some(chunk) = self.chunks.get(at) {
                put(&Line::Chunk(chunk.clone()));
            }
        }
        text
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is none of a recording.
    pub fn from_ndjson(text: &str) -> Result<Self, NoRecording> {
        if text.len() > FILE_BYTES {
            return Err(NoRecording::TooLarge);
        }
        let mut lines = text.lines().enumerate();
        let head = lines.next().and_then(|(_, line)| serde_json::from_str(line).ok());
        let Some(Line::Head { fourwire_recording: VERSION, wire }) = head else {
            return Err(NoRecording::Head);
        };
        let mut recording = Recording::new(wire);
        for (at, line) in lines {
            match serde_json::from_str(line).map_err(|error| NoRecording::Line(at + 1, error))? {
                Line::Head { .. } => return Err(NoRecording::Head),
                // A name may be a stranger's, and is shown on a terminal.
                Line::Part { part } => recording.parts.push((escaped(&part), recording.chunks.len())),
                Line::Chunk(chunk) => recording.chunks.push(chunk),
            }
        }
        Ok(recording)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_the_same_after_it_was_saved() {
        let chunk = |to, bytes: &[u8]| Chunk { at_us: 7, connection: 1, to, bytes: bytes.to_vec() };
        let chunks = vec![chunk(To::Server, b"a\0"), chunk(To::Client, b"b")];
        let parts = vec![("entry 1".to_owned(), 0), ("entry 2".to_owned(), 1), ("closing".to_owned(), 2)];
        let recording = Recording { wire: Wire::Grpc, parts, chunks };
        assert_eq!(Recording::from_ndjson(&recording.to_ndjson()).expect("its own form"), recording);
    }

    #[test]
    fn what_is_no_recording_is_refused_with_its_line() {
        let head = "{\"fourwire_recording\":1,\"wire\":\"http\"}";
        for (text, words) in [
            ("", "the first line"),
            ("{\"fourwire_recording\":2,\"wire\":\"http\"}", "the first line"),
            ("{\"fourwire_recording\":1,\"wire\":\"carrier pigeon\"}", "the first line"),
            (&format!("{head}\nnothing"), "line 2"),
            (
                &format!("{head}\n{{\"at_us\":1,\"connection\":1,\"to\":\"server\",\"hex\":\"abc\"}}"),
                "line 2",
            ),
        ] {
            let error = Recording::from_ndjson(text).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
