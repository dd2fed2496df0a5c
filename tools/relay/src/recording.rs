//! What a relay has passed on, as it was read, in the order of time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::Direction;

/// Most bytes that are kept of all connections together.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that were read at once. They are no TCP segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// When they were read, since the relay was opened.
    pub at: Duration,
    /// On which connection, counted from 1 as they were accepted.
    pub connection: u32,
    /// Which way they went.
    pub direction: Direction,
    /// What they are; none if they were not passed on after all.
    pub bytes: Vec<u8>,
}

/// What a relay has passed on.
#[derive(Debug, Clone)]
pub struct Recording(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    begun: Instant,
    chunks: Vec<Chunk>,
    bytes: usize,
    is_cut: bool,
}

/// A chunk that is being passed on. Dropped before it was, it is forgotten.
#[derive(Debug)]
pub(crate) struct Passing<'a> {
    recording: &'a Recording,
    chunk: Option<usize>,
}

impl Recording {
    pub(crate) fn new() -> Self {
        let kept = Kept { begun: Instant::now(), chunks: Vec::new(), bytes: 0, is_cut: false };
        Recording(Arc::new(Mutex::new(kept)))
    }

    /// How many chunks there are so far: where what comes now will begin.
    pub fn len(&self) -> usize {
        self.kept().chunks.len()
    }

    /// Whether nothing has passed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has passed so far.
    pub fn chunks(&self) -> Vec<Chunk> {
        self.kept().chunks.clone()
    }

    /// Whether more has passed than is kept, which is 8 MiB.
    pub fn is_cut(&self) -> bool {
        self.kept().is_cut
    }

    /// Keeps a chunk before it is passed on: who answers it must come after it.
    pub(crate) fn keep(&self, connection: u32, direction: Direction, bytes: &[u8]) -> Passing<'_> {
        let mut kept = self.kept();
        if kept.is_cut || kept.bytes + bytes.len() > KEPT_BYTES {
            // From here on nothing is kept, so that there is no hole.
            kept.is_cut = true;
            return Passing { recording: self, chunk: None };
        }
        kept.bytes += bytes.len();
        let at = kept.begun.elapsed();
        kept.chunks.push(Chunk { at, connection, direction, bytes: bytes.to_vec() });
        Passing { recording: self, chunk: Some(kept.chunks.len() - 1) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passing<'_> {
    /// It was passed on.
    pub(crate) fn done(mut self) {
        self.chunk = None;
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        if let Some(chunk) = self.chunk {
            // It stays as an empty one: others are known by their numbers.
            self.recording.kept().chunks[chunk].bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_passed_on_is_forgotten() {
        let recording = Recording::new();
        recording.keep(1, Direction::ToServer, b"passed").done();
        drop(recording.keep(1, Direction::ToServer, b"lost"));
        let bytes: Vec<_> = recording.chunks().into_iter().map(|chunk| chunk.bytes).collect();
        assert_eq!(bytes, [b"passed".to_vec(), Vec::new()]);
    }

    #[test]
    fn a_recording_ends_at_its_limit_and_says_so() {
        let recording = Recording::new();
        recording.keep(1, Direction::ToServer, &vec![0; KEPT_BYTES]).done();
        assert!(!recording.is_cut());
        recording.keep(1, Direction::ToServer, b"x").done();
        assert!(recording.is_cut() && recording.len() == 1);
    }
}
