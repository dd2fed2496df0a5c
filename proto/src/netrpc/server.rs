//! The logger's end of a connection: calls come, answers go.

use bytes::BytesMut;

use super::{
    BODY, BODY_BYTES, HEADER, Header, LOG_INFO, NO_METHOD, NO_SERVICE, PAYLOAD, PING, error_text,
    gob::{
        Fields, Message, NotGob, STRING, Stream, UINT, Value, put_definition, put_int, put_message, put_text,
    },
    read_header,
};
use crate::{Code, EntryDraft, Failure};

/// Longest header of a call, with the name of the method. Its answer repeats it.
const CALL_HEADER_BYTES: usize = 512;

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
        self.header.is_some() || self.stream.is_within_a_value()
    }

    /// About what is kept of the client's types, and of a value that is not whole, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.stream.held_bytes()
    }

    fn read_request(&self, method: &str, body: &Message) -> Result<Request, String> {
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

    fn read_entry(&self, body: &Message) -> Result<EntryDraft, Failure> {
        let Message::Value(value) = body else {
            let message = format!("the arguments are longer than {BODY_BYTES} bytes");
            return Err(Failure::new(Code::TooLarge, message));
        };
        let mut texts: [Option<Value<'_>>; PAYLOAD.len()] = Default::default();
        let read = self.stream.read_struct(value, &PAYLOAD, |name, value| {
            if let Some(at) = PAYLOAD.iter().position(|known| *known == name) {
                texts[at] = Some(value);
            }
        });
        read.map_err(|error| Failure::new(Code::BadField, error.to_string()))?;
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
