//! Reads bytes and knows where they stand. What is not there is `None`, never a panic.

use std::{cell::Cell, ops::Range};

/// How deeply what is read may be nested; what lies deeper is told as not decoded.
pub(crate) const DEPTH: u32 = 32;

/// Most annotations of one recording: what comes after them is told as not decoded. Many times as many as a thousand
/// entries have, and some 20 MiB of memory.
const ANNOTATIONS: u32 = 100_000;

/// How many annotations may still be made.
#[derive(Debug)]
pub(crate) struct Budget(Cell<u32>);

impl Budget {
    pub(crate) fn new() -> Self {
        Budget(Cell::new(ANNOTATIONS))
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&self) -> Option<()> {
        self.0.set(self.0.get().checked_sub(1)?);
        Some(())
    }
}

/// Bytes of a stream, and how far they are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where the first of them stands.
    base: usize,
    at: usize,
    pub(crate) budget: &'a Budget,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: usize, budget: &'a Budget) -> Self {
        Reader { bytes, base, at: 0, budget }
    }

    /// Where the next byte stands.
    pub(crate) fn offset(&self) -> usize {
        self.base + self.at
    }

    /// From somewhere to what is read.
    pub(crate) fn since(&self, start: usize) -> Range<usize> {
        start..self.offset()
    }

    /// Everything that is not read yet.
    pub(crate) fn left(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Where everything ends.
    pub(crate) fn end(&self) -> usize {
        self.base + self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left().is_empty()
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let taken = self.left().get(..bytes)?;
        self.at += bytes;
        Some(taken)
    }

    /// The next bytes, as a reader of their own.
    pub(crate) fn part(&mut self, bytes: usize) -> Option<Reader<'a>> {
        let base = self.offset();
        Some(Reader { bytes: self.take(bytes)?, base, at: 0, budget: self.budget })
    }

    /// Reads things of one kind until the end; and where the rest is from the first that cannot be read.
    pub(crate) fn all<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> (Vec<T>, Option<Range<usize>>) {
        let mut things = Vec::new();
        while !self.is_empty() {
            let start = self.offset();
            match read(self) {
                Some(thing) => things.push(thing),
                None => return (things, Some(start..self.end())),
            }
        }
        (things, None)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A big-endian number of so many bytes, at most eight.
    pub(crate) fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// As [`Reader::number`], for a length.
    pub(crate) fn length(&mut self, bytes: usize) -> Option<usize> {
        self.number(bytes).and_then(|number| usize::try_from(number).ok())
    }
}
