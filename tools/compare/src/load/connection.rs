//! One kept HTTP/1.1 connection to the broker, as cheap as it can be: what the generator costs, the system lacks.
//!
//! It blocks, and each caller is a thread. That is dearer than an event loop beyond some hundred callers, and it wakes
//! up within tens of microseconds, where a runtime's timers are whole milliseconds late.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    time::{Duration, Instant},
};

/// Most bytes of an answer; the largest is that of a batch of 1,000.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A connection that was not used for so long is opened anew: the broker lets go of it after 5 s, perhaps just now.
const IDLE: Duration = Duration::from_secs(3);

/// Most headers of an answer.
const HEADERS: usize = 32;

/// A connection, opened when it is first used, and again after it broke.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    timeout: Duration,
    stream: Option<TcpStream>,
    used_at: Instant,
    buffer: Vec<u8>,
}

/// What was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

struct Head {
    status: u16,
    body: Range<usize>,
    keep: bool,
}

impl Connection {
    /// `timeout` holds for connecting and for each wait.
    pub(crate) fn new(address: SocketAddr, timeout: Duration) -> Self {
        Connection {
            address,
            timeout,
            stream: None,
            used_at: Instant::now(),
            buffer: Vec::with_capacity(4096),
        }
    }

    /// Connects, if it is not connected.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.timeout))?;
            stream.set_write_timeout(Some(self.timeout))?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends a request, and reads its answer. After an error the next one begins on a new connection.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        if self.used_at.elapsed() > IDLE {
            self.stream = None;
        }
        self.used_at = Instant::now();
        self.open()?;
        let head = self.stream.as_mut().map_or_else(
            || Err(io::ErrorKind::NotConnected.into()),
            |stream| stream.write_all(request).and_then(|()| read_answer(stream, &mut self.buffer)),
        );
        if !head.as_ref().is_ok_and(|head| head.keep) {
            self.stream = None;
        }
        let head = head?;
        Ok(Answer { status: head.status, body: &self.buffer[head.body] })
    }
}

fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Head> {
    buffer.clear();
    let head = loop {
        read_more(stream, buffer)?;
        if let Some(head) = parse_head(buffer)? {
            break head;
        }
    };
    if head.body.end > ANSWER_BYTES {
        return Err(invalid("the answer is too long"));
    }
    while buffer.len() < head.body.end {
        read_more(stream, buffer)?;
    }
    Ok(head)
}

fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            buffer.extend_from_slice(&chunk[..read]);
            Ok(())
        }
    }
}

fn parse_head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(bytes).map_err(|error| invalid(&error.to_string()))?;
    let httparse::Status::Complete(begin) = parsed else { return Ok(None) };
    let header = |name: &str| {
        let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| str::from_utf8(header.value).ok())
    };
    let length: Option<usize> = header("content-length").and_then(|length| length.trim().parse().ok());
    let length = length.ok_or_else(|| invalid("the answer does not say how long it is"))?;
    Ok(Some(Head {
        status: answer.code.unwrap_or_default(),
        body: begin..begin.saturating_add(length),
        keep: !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    }))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
