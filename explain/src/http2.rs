//! HTTP/2: its frames, and in them HPACK's headers and gRPC's messages.
//!
//! A block of headers, and the messages of a stream, may go in several frames. They are put together, told as a whole, and
//! what is told is cut again where the frames are.

mod control;
mod hpack;
mod huffman;
mod tables;

pub(crate) use self::huffman::noughts;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use self::{control::control, hpack::Field};
use crate::{
    To,
    annotation::{Annotation, Purpose, unread},
    grpc,
    reader::{Budget, Reader},
    shown::plain,
};

/// What a client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames, by their numbers.
const TYPES: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_STREAM_OR_ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The paths of the calls on a connection, by the numbers of their streams: a response does not say which it belongs to.
pub(crate) type Calls = BTreeMap<u32, String>;

/// What went one way on a connection. From the client, `calls` is filled in; from the server, it is looked at.
pub(crate) fn annotate(bytes: &[u8], to: To, budget: &Budget, calls: &mut Calls) -> Vec<Annotation> {
    let mut reader = Reader::new(bytes, 0, budget);
    let mut told = Vec::new();
    if to == To::Server && reader.take(PREFACE.len()).is_some_and(|first| first == PREFACE) {
        told.push(Annotation::leaf(0..PREFACE.len(), Purpose::Connection, "HTTP/2 connection preface"));
    } else {
        reader = Reader::new(bytes, 0, budget);
    }
    let mut reading = Reading {
        to,
        calls,
        table: hpack::Table::new(),
        wholes: Vec::new(),
        open: None,
        streams: HashMap::new(),
    };
    let (frames, rest) = reader.all(|reader| reading.frame(reader));
    reading.tell_messages(budget);
    told.extend(frames.into_iter().map(|frame| frame.told(&reading.wholes)));
    told.extend(rest.map(unread));
    told
}

/// What goes in several frames, put together.
#[derive(Debug, Default)]
struct Whole {
    bytes: Vec<u8>,
    told: Vec<Annotation>,
}

/// A frame of which the content is told once the whole that it belongs to is.
struct Frame {
    range: Range<usize>,
    text: String,
    kind: &'static str,
    before: Vec<Annotation>,
    /// Which bytes belong to which whole, and where in it they begin.
    piece: Option<(Range<usize>, usize, usize)>,
    after: Vec<Annotation>,
}

impl Frame {
    fn told(self, wholes: &[Whole]) -> Annotation {
        let mut parts = self.before;
        if let Some((range, whole, from)) = self.piece {
            let within = from..from + range.len();
            let told = &wholes[whole].told;
            let first = told.partition_point(|part| part.range.end <= within.start);
            let here = told[first..].iter().take_while(|part| part.range.start < within.end);
            parts.extend(here.filter_map(|part| part.clipped(&within, range.start)));
        }
        parts.extend(self.after);
        Annotation::of(self.range, self.text, parts).of_kind(self.kind)
    }
}

struct Reading<'a> {
    to: To,
    calls: &'a mut Calls,
    table: hpack::Table,
    wholes: Vec<Whole>,
    /// The block of headers that is not complete yet.
    open: Option<usize>,
    /// The messages of each stream.
    streams: HashMap<u32, usize>,
}

impl Reading<'_> {
    fn frame(&mut self, reader: &mut Reader) -> Option<Frame> {
        reader.budget.take()?;
        let start = reader.offset();
        let len = reader.length(3)?;
        let (kind, flags) = (reader.byte()?, reader.byte()?);
        let stream = u32::try_from(reader.number(4)?).ok()? & 0x7fff_ffff;
        let name = TYPES.get(usize::from(kind)).copied().unwrap_or("unknown frame type");
        let head =
            format!("frame header: length {len}, type {kind} {name}, flags {flags:#04x}, stream {stream}");
        let head = Annotation::leaf(reader.since(start), Purpose::Framing, head);
        let mut payload = reader.part(len)?;
        let mut text = name.to_owned();
        if stream > 0 {
            text.push_str(&format!(" stream {stream}"));
        }
        for word in words(kind, flags) {
            text.push_str(&format!(", {word}"));
        }
        let mut frame = Frame {
            range: reader.since(start),
            text,
            kind: TYPES.get(usize::from(kind)).copied().unwrap_or_default(),
            before: vec![head],
            piece: None,
            after: Vec::new(),
        };
        match kind {
            DATA | HEADERS | CONTINUATION => {
                let mut content = unpadded(&mut payload, kind, flags, &mut frame)?;
                let whole = if kind == DATA { self.messages(stream) } else { self.headers(kind)? };
                let bytes = &mut self.wholes[whole].bytes;
                let range = content.offset()..content.end();
                frame.piece = Some((range, whole, bytes.len()));
                bytes.extend(content.left());
                content.take(content.left().len())?;
                if kind != DATA && flags & END_HEADERS != 0 {
                    self.open = None;
                    let fields = self.tell_headers(whole, reader.budget);
                    frame.text.push_str(&summary(&fields));
                    self.call(stream, &fields);
                }
            }
            _ => frame.before.extend(control(kind, &mut payload)?),
        }
        Some(frame)
    }

    /// The whole that a stream's messages belong to.
    fn messages(&mut self, stream: u32) -> usize {
        let next = self.wholes.len();
        let whole = *self.streams.entry(stream).or_insert(next);
        if whole == next {
            self.wholes.push(Whole::default());
        }
        whole
    }

    /// The whole that a frame's headers belong to: a new one, or that which is open.
    fn headers(&mut self, kind: u8) -> Option<usize> {
        if kind == CONTINUATION {
            return self.open;
        }
        self.wholes.push(Whole::default());
        self.open = Some(self.wholes.len() - 1);
        self.open
    }

    fn tell_headers(&mut self, whole: usize, budget: &Budget) -> Vec<Field> {
        let whole = &mut self.wholes[whole];
        let (fields, told) = hpack::block(Reader::new(&whole.bytes, 0, budget), &mut self.table);
        whole.told = told;
        fields
    }

    fn call(&mut self, stream: u32, fields: &[Field]) {
        let path = fields.iter().find(|field| field.name == b":path");
        if let (To::Server, Some(path)) = (self.to, path) {
            self.calls.insert(stream, String::from_utf8_lossy(&path.value).into_owned());
        }
    }

    fn tell_messages(&mut self, budget: &Budget) {
        for (stream, whole) in &self.streams {
            let whole = &mut self.wholes[*whole];
            let path = self.calls.get(stream).map_or("", String::as_str);
            whole.told = grpc::messages(Reader::new(&whole.bytes, 0, budget), path, self.to);
        }
    }
}

/// What a frame's flags mean.
fn words(kind: u8, flags: u8) -> Vec<&'static str> {
    let is = |flag: u8| flags & flag != 0;
    let mut words = Vec::new();
    if matches!(kind, DATA | HEADERS) && is(END_STREAM_OR_ACK) {
        words.push("END_STREAM");
    }
    if matches!(kind, SETTINGS | PING) && is(END_STREAM_OR_ACK) {
        words.push("ACK");
    }
    if matches!(kind, HEADERS | CONTINUATION) && !is(END_HEADERS) {
        words.push("continued");
    }
    words
}

/// The content of a frame without what fills it up, and without the priority that nobody sends any more.
fn unpadded<'a>(payload: &mut Reader<'a>, kind: u8, flags: u8, frame: &mut Frame) -> Option<Reader<'a>> {
    let mut padding = 0;
    if kind != CONTINUATION && flags & PADDED != 0 {
        let start = payload.offset();
        padding = payload.length(1)?;
        let text = format!("pad length {padding}");
        frame.before.push(Annotation::leaf(payload.since(start), Purpose::Framing, text));
    }
    if kind == HEADERS && flags & PRIORITY != 0 {
        let start = payload.offset();
        payload.take(5)?;
        frame.before.push(Annotation::leaf(payload.since(start), Purpose::Framing, "priority"));
    }
    let content = payload.part(payload.left().len().checked_sub(padding)?)?;
    if padding > 0 {
        let start = payload.offset();
        payload.take(padding)?;
        frame.after.push(Annotation::leaf(payload.since(start), Purpose::Framing, "padding"));
    }
    Some(content)
}

/// What there is to say of a block of headers in a line.
fn summary(fields: &[Field]) -> String {
    let value = |name: &str| fields.iter().find(|field| field.name == name.as_bytes());
    for (name, words) in [(":path", ": "), ("grpc-status", ": grpc-status "), (":status", ": status ")] {
        if let Some(field) = value(name) {
            return format!("{words}{}", plain(&field.value));
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::covers;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn read(frames: &[Vec<u8>], to: To, calls: &mut Calls) -> Vec<Annotation> {
        let (bytes, budget) = (frames.concat(), Budget::new());
        let told = annotate(&bytes, to, &budget, calls);
        assert!(covers(&told, &(0..bytes.len())), "{told:#?}");
        told
    }

    fn unread_bytes(told: &[Annotation]) -> u32 {
        told.iter().map(|part| part.cost().get(Purpose::Unread)).sum()
    }

    const PATH: &[u8] = b"\x04\x19/logs.LogService/WriteLog";
    const MESSAGE: &[u8] = b"\0\0\0\0\x10\x0a\x0e\x0a\x05event\x12\x05hello";

    #[test]
    fn a_call_is_read_from_its_frames_and_its_answer_knows_it() {
        let mut calls = Calls::new();
        let settings = frame(4, 0, 0, b"\0\x02\0\0\0\0");
        let sent = [PREFACE.to_vec(), settings, frame(1, 4, 1, PATH), frame(0, 1, 1, MESSAGE)];
        let told = read(&sent, To::Server, &mut calls);
        assert_eq!(unread_bytes(&told), 0, "{told:#?}");
        assert_eq!(told[1].children[1].text, "ENABLE_PUSH = 0");
        assert_eq!(told[2].text, "HEADERS stream 1: /logs.LogService/WriteLog");
        assert_eq!(told[3].text, "DATA stream 1, END_STREAM");
        assert_eq!(told[3].cost().get(Purpose::Entry), 10);
        let answer = b"\0\0\0\0\x08\x1a\x06stored";
        let told = read(&[frame(1, 4, 1, b"\x88"), frame(0, 0, 1, answer)], To::Client, &mut calls);
        assert_eq!(told[1].children[1].children[1].text, "outcome: \"stored\"", "{told:#?}");
    }

    #[test]
    fn what_goes_in_several_frames_is_told_in_each() {
        let mut calls = Calls::from([(1, "/logs.LogService/WriteLog".to_owned())]);
        for cut in 1..MESSAGE.len() {
            let frames = [frame(0, 0, 1, &MESSAGE[..cut]), frame(0, 1, 1, &MESSAGE[cut..])];
            let told = read(&frames, To::Server, &mut calls);
            let entry: u32 = told.iter().map(|part| part.cost().get(Purpose::Entry)).sum();
            assert_eq!((unread_bytes(&told), entry), (0, 10), "cut at {cut}: {told:#?}");
        }
        let told = read(&[frame(1, 0, 3, &PATH[..9]), frame(9, 4, 3, &PATH[9..])], To::Server, &mut calls);
        assert_eq!(unread_bytes(&told), 0, "{told:#?}");
        assert_eq!(calls[&3], "/logs.LogService/WriteLog");
    }

    #[test]
    fn padding_is_framing() {
        let mut calls = Calls::new();
        let told = read(&[frame(1, 4 | 8, 1, b"\x02\x88\0\0")], To::Client, &mut calls);
        assert_eq!((unread_bytes(&told), told[0].cost().get(Purpose::Headers)), (0, 1), "{told:#?}");
    }

    #[test]
    fn a_frame_that_makes_no_sense_ends_what_can_be_read() {
        for bad in [
            frame(9, 4, 1, b"\x88"),
            frame(0, 8, 1, b"\x09x"),
            frame(8, 0, 0, b"\0"),
            vec![0, 0, 9, 0, 0, 0, 0, 0, 1],
        ] {
            let told = read(&[frame(6, 1, 0, b"12345678"), bad], To::Client, &mut Calls::new());
            assert_eq!(told.len(), 2);
            assert!(unread_bytes(&told) > 0, "{told:#?}");
        }
    }
}
