//! `rabbitmq`: AMQP 0-9-1, its frames and the methods, headers and bodies in them.

mod methods;
mod table;

use std::{collections::HashMap, ops::Range};

use self::{
    methods::{Argument, Method, PROPERTIES, method},
    table::table,
};
use crate::{
    To,
    annotation::{Annotation, Purpose, unread},
    json,
    reader::{Budget, Reader},
    shown::{HIDDEN, hex, plain, quoted},
};

/// What a client sends first.
const PROTOCOL: &[u8] = b"AMQP\0\0\x09\x01";

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// What each frame ends with.
const FRAME_END: u8 = 0xce;

/// The class of what is about messages, and not about the connection.
const BASIC: u64 = 60;

/// The arguments that nobody may see.
const SECRETS: [&str; 4] = ["response", "new_secret", "challenge", "password"];

/// What went one way on a connection.
pub(crate) fn annotate(bytes: &[u8], to: To, budget: &Budget) -> Vec<Annotation> {
    let mut reader = Reader::new(bytes, 0, budget);
    let mut told = Vec::new();
    if bytes.starts_with(PROTOCOL) {
        reader.take(PROTOCOL.len());
        told.push(Annotation::leaf(reader.since(0), Purpose::Connection, "protocol header, AMQP 0 0 9 1"));
    }
    let mut reading = Reading { to, bodies: Vec::new(), open: HashMap::new() };
    let (frames, rest) = reader.all(|reader| reading.frame(reader));
    reading.tell_bodies(budget);
    told.extend(frames.into_iter().map(|frame| frame.told(&reading.bodies)));
    told.extend(rest.map(unread));
    told
}

/// Whether this is a frame that declares an exchange or a queue, or the answer to one.
pub(crate) fn declares(frame: &Annotation) -> bool {
    ["exchange.", "queue."].iter().any(|class| frame.kind.starts_with(class))
}

/// The body of a message, which may go in several frames.
#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    told: Vec<Annotation>,
}

struct Frame {
    range: Range<usize>,
    kind: &'static str,
    text: String,
    head: Annotation,
    content: Content,
    end: Annotation,
}

enum Content {
    Told(Vec<Annotation>),
    /// A piece of a body: where it is, of which one, and where in that it begins.
    Piece(Range<usize>, usize, usize),
}

impl Frame {
    fn told(self, bodies: &[Body]) -> Annotation {
        let mut parts = vec![self.head];
        match self.content {
            Content::Told(told) => parts.extend(told),
            Content::Piece(range, body, from) => {
                let within = from..from + range.len();
                let told = bodies[body].told.iter();
                parts.extend(told.filter_map(|part| part.clipped(&within, range.start)));
            }
        }
        parts.push(self.end);
        Annotation::of(self.range, self.text, parts).of_kind(self.kind)
    }
}

struct Reading {
    to: To,
    bodies: Vec<Body>,
    /// Which body each channel is in.
    open: HashMap<u64, usize>,
}

impl Reading {
    fn frame(&mut self, reader: &mut Reader) -> Option<Frame> {
        reader.budget.take()?;
        let start = reader.offset();
        let (kind, channel, len) = (reader.byte()?, reader.number(2)?, reader.length(4)?);
        let head = reader.since(start);
        let mut payload = reader.part(len)?;
        let end = reader.offset();
        (reader.byte()? == FRAME_END).then_some(())?;
        let (name, content) = match kind {
            METHOD => {
                let (name, told) = arguments(&mut payload)?;
                (name, Content::Told(told))
            }
            HEADER => {
                self.bodies.push(Body::default());
                self.open.insert(channel, self.bodies.len() - 1);
                ("content header", Content::Told(properties(&mut payload)?))
            }
            BODY => {
                let body = *self.open.get(&channel)?;
                let from = self.bodies[body].bytes.len();
                let range = payload.offset()..payload.end();
                self.bodies[body].bytes.extend(payload.left());
                ("content body", Content::Piece(range, body, from))
            }
            HEARTBEAT => ("heartbeat", Content::Told(Vec::new())),
            _ => return None,
        };
        let text = if channel == 0 { name.to_owned() } else { format!("{name}, channel {channel}") };
        let head = Annotation::leaf(
            head,
            Purpose::Framing,
            format!("frame header: type {kind}, channel {channel}, size {len}"),
        );
        let end = Annotation::leaf(end..end + 1, Purpose::Framing, "frame end, ce");
        Some(Frame { range: reader.since(start), kind: name, text, head, content, end })
    }

    /// The bodies are JSON, as the entries of a broker are; others are shown as they are.
    fn tell_bodies(&mut self, budget: &Budget) {
        for body in &mut self.bodies {
            let reader = Reader::new(&body.bytes, 0, budget);
            let as_it_is = || {
                let text = quoted(&body.bytes);
                vec![Annotation::leaf(0..body.bytes.len(), Purpose::Entry, text)]
            };
            body.told = json::document(reader, self.to).unwrap_or_else(as_it_is);
        }
    }
}

/// A method and its arguments.
fn arguments(payload: &mut Reader) -> Option<(&'static str, Vec<Annotation>)> {
    let start = payload.offset();
    let (class, id) = (payload.number(2)?, payload.number(2)?);
    let Some(Method { name, arguments, .. }) = method(class, id) else {
        let told =
            Annotation::leaf(payload.since(start), Purpose::Framing, format!("class {class}, method {id}"));
        return Some(("unknown method", vec![told]));
    };
    let purpose = if class == BASIC { Purpose::Headers } else { Purpose::Connection };
    let text = format!("class {class}, method {id}: {name}");
    let mut told = vec![Annotation::leaf(payload.since(start), Purpose::Framing, text)];
    let mut mechanism = String::new();
    for (name, argument) in *arguments {
        if *name == "response" && mechanism == "PLAIN" {
            told.extend(plain_response(payload)?);
            continue;
        }
        if *name == "mechanism" {
            let mut ahead = *payload;
            let len = ahead.length(1)?;
            mechanism = String::from_utf8_lossy(ahead.take(len)?).into_owned();
        }
        told.push(one(payload, name, *argument, purpose)?);
    }
    Some((name, told))
}

/// The name of the user, which may be seen, and the password: both behind a nought.
fn plain_response(payload: &mut Reader) -> Option<Vec<Annotation>> {
    let start = payload.offset();
    let len = payload.length(4)?;
    let mut response = payload.part(len)?;
    let user = response.left().iter().skip(1).position(|byte| *byte == 0).filter(|_| response.left()[0] == 0);
    // What has no such form may be a password all the same.
    let user = response.take(user.map_or(0, |at| at + 1))?;
    let text = format!("response: PLAIN as {}", quoted(user.get(1..).unwrap_or_default()));
    let of_user = Annotation::framed(response.since(start), 4, Purpose::Connection, text);
    let password = response.offset()..response.end();
    if password.is_empty() {
        return Some(vec![of_user]);
    }
    let text = format!("password: {HIDDEN}");
    // The nought stays, so that what is saved has the same form.
    let hidden = (password.start + usize::from(!user.is_empty()))..password.end;
    let of_password = Annotation::leaf(password, Purpose::Connection, text);
    Some(vec![of_user, if hidden.is_empty() { of_password } else { of_password.hiding(hidden, false) }])
}

/// An argument, a property or a value of a table.
fn one(reader: &mut Reader, name: &str, argument: Argument, purpose: Purpose) -> Option<Annotation> {
    reader.budget.take()?;
    let start = reader.offset();
    let (framing, text) = match argument {
        Argument::Octet => (0, reader.number(1)?.to_string()),
        Argument::Short => (0, reader.number(2)?.to_string()),
        Argument::Long => (0, reader.number(4)?.to_string()),
        Argument::LongLong => (0, reader.number(8)?.to_string()),
        Argument::ShortText => {
            let len = reader.length(1)?;
            (1, quoted(reader.take(len)?))
        }
        Argument::LongText => {
            let len = reader.length(4)?;
            (4, quoted(reader.take(len)?))
        }
        Argument::Bits => (0, bits(name, reader.byte()?)),
        Argument::Table => return table(reader, name, purpose, 0),
    };
    let range = reader.since(start);
    let text = if argument == Argument::Bits { text } else { format!("{name}: {text}") };
    if SECRETS.contains(&name) && range.len() > framing {
        let hidden = range.start + framing..range.end;
        return Some(
            Annotation::framed(range, framing, purpose, format!("{name}: {HIDDEN}")).hiding(hidden, false),
        );
    }
    Some(Annotation::framed(range, framing, purpose, text))
}

/// The bits of a byte, from the lowest, by their names.
fn bits(names: &str, byte: u8) -> String {
    let set: Vec<_> =
        (0..).zip(names.split(' ')).filter(|(at, _)| byte >> at & 1 != 0).map(|(_, name)| name).collect();
    let unset = || names.split(' ').map(|name| format!("not {name}")).collect::<Vec<_>>().join(", ");
    if set.is_empty() { unset() } else { set.join(", ") }
}

/// What a content header says of the body to come.
fn properties(payload: &mut Reader) -> Option<Vec<Annotation>> {
    let start = payload.offset();
    let (class, weight, len) = (payload.number(2)?, payload.number(2)?, payload.number(8)?);
    let text = format!("class {class}, weight {weight}, body of {len} B");
    let mut told = vec![Annotation::leaf(payload.since(start), Purpose::Framing, text)];
    let start = payload.offset();
    let flags = payload.number(2)?;
    let there = PROPERTIES
        .iter()
        .zip(0..)
        .filter(|(_, at)| flags & 1 << (15 - at) != 0)
        .map(|(property, _)| property);
    told.push(Annotation::leaf(
        payload.since(start),
        Purpose::Framing,
        format!("property flags {flags:#06x}"),
    ));
    for (name, argument) in there {
        let purpose = match *name {
            "message_id" | "timestamp" => Purpose::Ids,
            _ => Purpose::Headers,
        };
        told.push(one(payload, name, *argument, purpose)?);
    }
    Some(told)
}

/// A text in a line: as [`plain`], with what it is not in hexadecimal.
fn word(bytes: &[u8]) -> String {
    if bytes.is_ascii() { plain(bytes) } else { hex(bytes) }
}

#[cfg(test)]
mod tests;
