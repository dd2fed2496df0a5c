//! Our own client's end of a connection: calls go, answers come.

use bytes::BytesMut;

use super::{
    ALIVE, BODY, HEADER, LOG_INFO, PAYLOAD, PING,
    gob::{Fields, NotGob, STRING, Stream, UINT, put_definition, put_int, put_message, put_text},
    read_header,
};
use crate::{LogEntry, Transport};

/// Longest header of an answer, with the text of an error.
const ANSWER_HEADER_BYTES: usize = 64 * 1024;

/// What a client sends on a connection.
#[derive(Debug, Default)]
pub struct Calls {
    pub(super) header_is_defined: bool,
    pub(super) payload_is_defined: bool,
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
}
