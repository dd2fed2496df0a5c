//! Go's net/rpc, with its default codec, gob: what an unmodified service of the course speaks to a logger. Calls of
//! `RPCServer.LogInfo({Name, Data string})`, several at a time on a connection, each with an answer of its own.
//!
//! Everything here is pure: bytes in, calls or answers out, however the bytes are cut. The ends of a connection keep a
//! [`Calls`] or [`Answers`] for what they send, since a type is defined once, and a [`Requests`] or [`Responses`] for
//! what they receive. Our own client adds fields that a Go logger ignores and ours reads: with the id of the entry, sending
//! it again stores it once.

mod client;
mod gob;
mod server;

use bytes::BytesMut;

use self::gob::{Message, Stream, Value};
pub use self::{
    client::{Answer, Ask, Calls, Responses},
    gob::NotGob,
    server::{Answers, Call, Request, Requests, begins_with, reply},
};
use crate::{
    Code, Failure,
    limits::{DATA_BYTES, NAME_BYTES},
};

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

/// What a call and its answer begin with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Service and method.
    pub method: String,
    /// The number of the call on its connection.
    pub seq: u64,
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

/// A header, and the text of the error if it is one of an answer.
fn read_header(
    stream: &mut Stream,
    received: &mut BytesMut,
    limit_bytes: usize,
) -> Result<Option<(Header, String)>, NotGob> {
    let value = match stream.next(received, limit_bytes)? {
        None => return Ok(None),
        Some(Message::TooLong) => return Err(NotGob("a header is too long")),
        Some(Message::Value(value)) => value,
    };
    let (mut header, mut error, mut is_other) = (Header::default(), String::new(), false);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    // What has none of these fields is no header: whose it is, nobody could tell.
    stream.read_struct(&value, &["ServiceMethod", "Seq", "Error"], |name, value| match (name, value) {
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
