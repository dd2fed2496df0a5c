//! Go's net/rpc, with its default codec, gob: what an unmodified service of the course speaks to a logger. Calls of
//! `RPCServer.LogInfo({Name, Data string})`, several at a time on a connection, each with an answer of its own.
//!
//! Everything here is pure: bytes in, calls or answers out, however the bytes are cut. The ends of a connection keep a
//! [`Calls`] or [`Answers`] for what they send, since a type is defined once, and a [`Requests`] or [`Responses`] for
//! what they receive. Our own client adds fields that a Go logger ignores and ours reads: with the id of the entry, sending
//! it again stores it once.

mod gob;

use bytes::BytesMut;

pub use self::gob::NotGob;
use self::gob::{
    Fields, Message, STRING, Stream, UINT, Value, put_definition, put_int, put_message, put_text,
};
use crate::{
    Code, EntryDraft, Failure, LogEntry, Transport,
    limits::{DATA_BYTES, NAME_BYTES},
};

/// Longest header of a call, with the name of the method. Its answer repeats it.
const CALL_HEADER_BYTES: usize = 512;

/// Longest header of an answer, with the text of an error.
const ANSWER_HEADER_BYTES: usize = 64 * 1024;

/// Longest body of a call: an entry, and what a client may send along that is skipped. A longer one is skipped as a whole.
pub const BODY_BYTES: usize = NAME_BYTES + DATA_BYTES + 16 * 1024;

/// The course's call.
const LOG_INFO: &str = "RPCServer.LogInfo";

/// What our own client asks: whether an entry could be stored, and whether anybody is there. A Go logger has neither, and
/// says so, which is an answer too.
const PING: &str = "Fourwire.Ping";
const ALIVE: &str = "Fourwire.Alive";

/// How Go says that there is no such call: nothing was done.
const NO_SERVICE: &str = "rpc: can't find service ";
const NO_METHOD: &str = "rpc: can't find method ";

/// The ids of the types that are sent from here. What is received may have others.
const HEADER: i64 = 65;
const BODY: i64 = 66;

/// The fields of the body: those of the course, and ours, under names that no other payload has.
const PAYLOAD: [&str; 6] =
    ["Name", "Data", "FourwireID", "FourwireLevel", "FourwireCreatedAt", "FourwireTransport"];

/// A call that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What its answer must name.
    pub header: Header,
    /// What is asked, or the text of the error to answer.
    pub request: Result<Request, String>,
}

/// What is asked of a logger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To store an entry.
    Write(EntryDraft),
    /// Whether it could store one.
    Ping,
}

/// What a call and its answer begin with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Service and method.
    pub method: String,
    /// The number of the call on its connection.
    pub seq: u64,
}

/// What a logger receives on a connection.
#[derive(Debug, Default)]
pub struct Requests {
    stream: Stream,
    /// Of the call whose body is to come.
    header: Option<Header>,
}

impl Requests {
    /// The next call in what has come; `None`: more must come.
    ///
    /// # Errors
    /// If the connection cannot go on. What is wrong with one call alone is in its `request`.
    pub fn next(&mut self, received: &mut BytesMut) -> Result<Option<Call>, NotGob> {
        if self.header.is_none() {
            let Some((header, _)) = read_header(&mut self.stream, received, CALL_HEADER_BYTES)? else {
                return Ok(None);
            };
            self.header = Some(header);
        }
        let Some(body) = self.stream.next(received, BODY_BYTES)? else { return Ok(None) };
        let header = self.header.take().unwrap_or_default();
        let request = self.read_request(&header.method, &body);
        Ok(Some(Call { header, request }))
    }

    /// Whether a call has begun that is not there as a whole, apart from what of it may still be in the buffer.
    pub const fn is_within_a_call(&self) -> bool {
        self.header.is_some() || self.stream.is_skipping()
    }

    /// About what is kept of the client's types, in bytes.
    pub const fn held_bytes(&self) -> usize {
        self.stream.held_bytes()
    }

    fn read_request(&mut self, method: &str, body: &Message) -> Result<Request, String> {
        match method {
            LOG_INFO => self.read_entry(body).map(Request::Write).map_err(|failure| error_text(&failure)),
            PING => Ok(Request::Ping),
            _ => Err(match method.rsplit_once('.') {
                None => format!("rpc: service/method request ill-formed: {method}"),
                Some(("RPCServer", _)) => format!("{NO_METHOD}{method}"),
                Some(_) => format!("{NO_SERVICE}{method}"),
            }),
        }
    }

    fn read_entry(&mut self, body: &Message) -> Result<EntryDraft, Failure> {
        let Message::Value(id, value) = body else {
            let message = format!("the arguments are longer than {BODY_BYTES} bytes");
            return Err(Failure::new(Code::TooLarge, message));
        };
        let unreadable = |error: NotGob| Failure::new(Code::BadField, error.to_string());
        self.stream.fits(*id, &PAYLOAD).map_err(unreadable)?;
        let mut texts: [Option<Value<'_>>; PAYLOAD.len()] = Default::default();
        let read = self.stream.read_struct(*id, value, |name, value| {
            if let Some(at) = PAYLOAD.iter().position(|known| *known == name) {
                texts[at] = Some(value);
            }
        });
        read.map_err(unreadable)?;
        let mut texts = texts.into_iter().zip(PAYLOAD).map(|(value, name)| match value {
            None => Ok(None),
            Some(Value::Text(bytes)) => match str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(Failure::new(Code::BadField, format!("{name} is not UTF-8"))),
            },
            Some(Value::Uint(_) | Value::Other) => {
                Err(Failure::new(Code::BadField, format!("{name} is not a string")))
            }
        });
        let mut next = || texts.next().unwrap_or(Ok(None));
        Ok(EntryDraft {
            name: next()?.unwrap_or_default(),
            data: next()?.unwrap_or_default(),
            id: next()?,
            level: next()?,
            created_at: next()?,
            transport: next()?,
        })
    }
}

/// Whether the first bytes of a connection are those of a client of net/rpc: the length of a short message, and the
/// negative id of a definition.
pub const fn begins_with(bytes: [u8; 4]) -> bool {
    matches!(bytes, [0x10..=0x7f, 0x7f, ..] | [0x10..=0x7f, 0xff, 0x81..=0xff, _])
}

/// What a logger sends on a connection.
#[derive(Debug, Default)]
pub struct Answers {
    header_is_defined: bool,
    error_is_defined: bool,
}

impl Answers {
    /// Writes the answer to a call: a text, or the text of an error.
    pub fn put(&mut self, header: &Header, result: Result<&str, &str>, out: &mut Vec<u8>) {
        if !self.header_is_defined {
            self.header_is_defined = true;
            let fields = [("ServiceMethod", STRING), ("Seq", UINT), ("Error", STRING)];
            put_definition(out, HEADER, "Response", &fields);
        }
        put_message(out, |out| {
            put_int(out, HEADER);
            let fields = Fields::new(out).text(0, &header.method).uint(1, header.seq);
            fields.text(2, result.err().unwrap_or_default()).end();
        });
        match result {
            Ok(text) => put_message(out, |out| {
                put_int(out, STRING);
                out.push(0);
                put_text(out, text);
            }),
            Err(_) => {
                // A body must come in any case, or Go takes the next header for it.
                if !self.error_is_defined {
                    self.error_is_defined = true;
                    put_definition(out, BODY, "", &[]);
                }
                put_message(out, |out| {
                    put_int(out, BODY);
                    Fields::new(out).end();
                });
            }
        }
    }
}

/// The course's answer to a call that has stored an entry of this name.
pub fn reply(name: &str) -> String {
    format!("Processed payload via RPC:{name}")
}

/// A failure as net/rpc tells it, which has a text alone: with its code at the end, so that our own client knows it again.
pub fn error_text(failure: &Failure) -> String {
    format!("{} [{}]", failure.message(), failure.code)
}

/// What the text of an error says of the entry. Only ours says for sure whether it is stored; but nothing is where there
/// is no such call. The address of `peer` is in `setting`.
pub fn failure(text: &str, peer: &str, setting: &str) -> Failure {
    if is_no_such_call(text) {
        return Failure::no_such_call(peer, setting).because(text);
    }
    let told = text.strip_suffix(']').and_then(|text| text.rsplit_once(" ["));
    if let Some((message, code)) = told
        && let Ok(code) = code.parse::<Code>()
    {
        return Failure::heard(code, message);
    }
    Failure::foreign(peer, text).because(text)
}

/// Whether an error says that there is no such call.
pub fn is_no_such_call(text: &str) -> bool {
    text.starts_with(NO_SERVICE) || text.starts_with(NO_METHOD)
}

/// What a client sends on a connection.
#[derive(Debug, Default)]
pub struct Calls {
    header_is_defined: bool,
    payload_is_defined: bool,
}

/// What a client asks, beside the number of the call.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// To store an entry that has come by a transport of its own.
    Write(&'a LogEntry, Option<Transport>),
    /// Whether one could be stored.
    Ping,
    /// Whether anybody is there.
    Alive,
}

impl Calls {
    /// Writes a call.
    pub fn put(&mut self, seq: u64, ask: Ask<'_>, out: &mut Vec<u8>) {
        if !self.header_is_defined {
            self.header_is_defined = true;
            put_definition(out, HEADER, "Request", &[("ServiceMethod", STRING), ("Seq", UINT)]);
        }
        let method = match ask {
            Ask::Write(..) => LOG_INFO,
            Ask::Ping => PING,
            Ask::Alive => ALIVE,
        };
        put_message(out, |out| {
            put_int(out, HEADER);
            Fields::new(out).text(0, method).uint(1, seq).end();
        });
        let Ask::Write(entry, came_by) = ask else {
            return put_message(out, |out| {
                put_int(out, STRING);
                out.push(0);
                put_text(out, "");
            });
        };
        if !self.payload_is_defined {
            self.payload_is_defined = true;
            put_definition(out, BODY, "RPCPayload", &PAYLOAD.map(|name| (name, STRING)));
        }
        put_message(out, |out| {
            put_int(out, BODY);
            let fields = Fields::new(out).text(0, entry.name()).text(1, entry.data());
            let fields = fields.text(2, &entry.id().to_string()).text(3, entry.level().as_str());
            let fields = fields.text(4, &entry.created_at().to_string());
            fields.text(5, came_by.map(Transport::as_str).unwrap_or_default()).end();
        });
    }
}

/// An answer that has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number of its call.
    pub seq: u64,
    /// Nothing, or the text of the error.
    pub result: Result<(), String>,
}

/// What a client receives on a connection.
#[derive(Debug, Default)]
pub struct Responses {
    stream: Stream,
    answer: Option<Answer>,
}

impl Responses {
    /// The next answer in what has come; `None`: more must come. What a reply says is not looked at.
    ///
    /// # Errors
    /// If the connection cannot go on.
    pub fn next(&mut self, received: &mut BytesMut) -> Result<Option<Answer>, NotGob> {
        if self.answer.is_none() {
            let Some((header, error)) = read_header(&mut self.stream, received, ANSWER_HEADER_BYTES)? else {
                return Ok(None);
            };
            let result = if error.is_empty() { Ok(()) } else { Err(error) };
            self.answer = Some(Answer { seq: header.seq, result });
        }
        let body = self.stream.next(received, ANSWER_HEADER_BYTES)?;
        Ok(body.and_then(|_| self.answer.take()))
    }

    /// Whether an answer has begun that is not there as a whole, apart from what of it may still be in the buffer.
    pub const fn is_within_an_answer(&self) -> bool {
        self.answer.is_some() || self.stream.is_skipping()
    }
}

/// A header, and the text of the error if it is one of an answer.
fn read_header(
    stream: &mut Stream,
    received: &mut BytesMut,
    limit_bytes: usize,
) -> Result<Option<(Header, String)>, NotGob> {
    let (id, value) = match stream.next(received, limit_bytes)? {
        None => return Ok(None),
        Some(Message::TooLong) => return Err(NotGob("a header is too long")),
        Some(Message::Value(id, value)) => (id, value),
    };
    let (mut header, mut error, mut is_other) = (Header::default(), String::new(), false);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    stream.read_struct(id, &value, |name, value| match (name, value) {
        ("ServiceMethod", Value::Text(bytes)) => header.method = text(bytes),
        ("Seq", Value::Uint(seq)) => header.seq = seq,
        ("Error", Value::Text(bytes)) => error = text(bytes),
        ("ServiceMethod" | "Seq" | "Error", _) => is_other = true,
        _ => {}
    })?;
    if is_other { Err(NotGob("a header of other types")) } else { Ok(Some((header, error))) }
}

#[cfg(test)]
mod tests;
