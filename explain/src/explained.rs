//! A recording, explained: its bytes put together by connection and direction, annotated, and back in the order of time.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Annotation, Chunk, Cost, Purpose, Recording, Secret, To, Wire, covers, http2::noughts, reader::Budget,
};

/// What went one way on a connection.
pub(crate) type Way = (u32, To);

/// A recording and what it means. What nobody may see is not in it any more.
#[derive(Debug)]
pub struct Explained {
    /// The recording, with others in place of the bytes that nobody may see.
    pub recording: Recording,
    /// In the order of time.
    pub units: Vec<Unit>,
    /// All bytes of each way.
    pub(crate) bytes: BTreeMap<Way, Vec<u8>>,
}

/// What was sent as one: a request, a frame.
#[derive(Debug)]
pub struct Unit {
    /// With which chunk it began.
    pub chunk: usize,
    /// On which connection.
    pub connection: u32,
    /// Which way.
    pub to: To,
    /// What it means.
    pub annotation: Annotation,
}

/// The annotations do not account for what passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unaccounted {
    /// Bytes are told twice, or not at all.
    #[error(
        "the annotations of connection {0} do not cover its bytes once each: this is a bug, please report it"
    )]
    Uncovered(u32),
    /// More or less has passed than is told.
    #[error("{passed} bytes passed to the {}, and {annotated} are explained", name(*.to))]
    Other {
        /// Which way.
        to: To,
        /// What the relay has counted.
        passed: u64,
        /// What is told.
        annotated: u64,
    },
}

/// Who is at the end of a way.
pub(crate) const fn name(to: To) -> &'static str {
    match to {
        To::Server => "server",
        To::Client => "client",
    }
}

/// Explains a recording.
pub fn explain(mut recording: Recording) -> Explained {
    let (mut bytes, starts) = ways(&recording.chunks);
    let budget = Budget::new();
    let mut units = Vec::new();
    for connection in recording.chunks.iter().map(|chunk| chunk.connection).collect::<BTreeSet<_>>() {
        let of = |to| bytes.get(&(connection, to)).map_or(&[][..], Vec::as_slice);
        let told = recording.wire.annotate(of(To::Server), of(To::Client), &budget);
        for (to, annotations) in [To::Server, To::Client].into_iter().zip(told) {
            for mut annotation in annotations {
                if to == To::Server {
                    hide_unread(&mut annotation);
                }
                let chunk = chunk_of(&starts[&(connection, to)], annotation.range.start);
                units.push(Unit { chunk, connection, to, annotation });
            }
        }
    }
    units.sort_by_key(|unit| (unit.chunk, unit.annotation.range.start));
    hide(&units, &mut recording.chunks, &mut bytes, &starts);
    Explained { recording, units, bytes }
}

/// What cannot be read may be a secret, on its way to where secrets are sent.
fn hide_unread(annotation: &mut Annotation) {
    if annotation.children.is_empty() && annotation.cost.get(Purpose::Unread) > 0 {
        annotation.secret = Some(Secret { range: annotation.range.clone(), huffman: false });
    }
    annotation.children.iter_mut().for_each(hide_unread);
}

/// Where each chunk begins in its way, and which it is.
type Starts = BTreeMap<Way, Vec<(usize, usize)>>;

fn ways(chunks: &[Chunk]) -> (BTreeMap<Way, Vec<u8>>, Starts) {
    let (mut bytes, mut starts) = (BTreeMap::<Way, Vec<u8>>::new(), Starts::new());
    for (at, chunk) in chunks.iter().enumerate() {
        for to in [To::Server, To::Client] {
            let way = (chunk.connection, to);
            let (bytes, starts) = (bytes.entry(way).or_default(), starts.entry(way).or_default());
            if chunk.to == to {
                starts.push((bytes.len(), at));
                bytes.extend(&chunk.bytes);
            }
        }
    }
    (bytes, starts)
}

fn chunk_of(starts: &[(usize, usize)], offset: usize) -> usize {
    let after = starts.partition_point(|(start, _)| *start <= offset);
    after.checked_sub(1).map_or(0, |at| starts[at].1)
}

/// Puts others in place of the bytes that nobody may see: as many, which can be read as those were.
fn hide(units: &[Unit], chunks: &mut [Chunk], bytes: &mut BTreeMap<Way, Vec<u8>>, starts: &Starts) {
    for unit in units {
        let way = (unit.connection, unit.to);
        let (Some(all), Some(starts)) = (bytes.get_mut(&way), starts.get(&way)) else { continue };
        for Secret { range, huffman } in unit.annotation.secrets() {
            let others = if *huffman { noughts(range.len()) } else { vec![b'*'; range.len()] };
            all[range.clone()].copy_from_slice(&others);
            let first = starts.partition_point(|(start, _)| *start <= range.start).saturating_sub(1);
            for (start, at) in &starts[first..] {
                let chunk = &mut chunks[*at].bytes;
                let (from, to) = (range.start.max(*start), range.end.min(start + chunk.len()));
                if from >= to {
                    break;
                }
                chunk[from - start..to - start].copy_from_slice(&all[from..to]);
            }
        }
    }
}

impl Explained {
    /// Its wire.
    pub fn wire(&self) -> Wire {
        self.recording.wire
    }

    /// How many bytes are told, one way.
    pub fn annotated(&self, to: To) -> u64 {
        let units = self.units.iter().filter(|unit| unit.to == to);
        units.map(|unit| unit.annotation.cost().total() as u64).sum()
    }

    /// What some units cost, one way.
    pub(crate) fn cost<'a>(units: impl IntoIterator<Item = &'a Unit>, to: To) -> Cost {
        let units = units.into_iter().filter(|unit| unit.to == to);
        units.fold(Cost::default(), |cost, unit| cost.plus(&unit.annotation.cost()))
    }

    /// Whether every byte is told once, and as many as have passed: to the server, and to the client.
    ///
    /// # Errors
    /// If not.
    pub fn check(&self, passed: [u64; 2]) -> Result<(), Unaccounted> {
        for ((connection, to), bytes) in &self.bytes {
            let of_way = self.units.iter().filter(|unit| (unit.connection, unit.to) == (*connection, *to));
            let mut told: Vec<_> = of_way.map(|unit| &unit.annotation).collect();
            told.sort_by_key(|annotation| annotation.range.start);
            if !covers(told, &(0..bytes.len())) {
                return Err(Unaccounted::Uncovered(*connection));
            }
        }
        for (to, passed) in [To::Server, To::Client].into_iter().zip(passed) {
            let annotated = self.annotated(to);
            if annotated != passed {
                return Err(Unaccounted::Other { to, passed, annotated });
            }
        }
        Ok(())
    }

    /// How many bytes the chunks have, to the server and to the client: what to check one against that was read from a
    /// file.
    pub fn recorded(&self) -> [u64; 2] {
        [To::Server, To::Client].map(|to| {
            let chunks = self.recording.chunks.iter().filter(|chunk| chunk.to == to);
            chunks.map(|chunk| chunk.bytes.len() as u64).sum()
        })
    }
}
