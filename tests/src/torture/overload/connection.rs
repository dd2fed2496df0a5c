//! A connection to the broker that costs its user little: a client library would be what the generator waits for.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long to wait for a connection: long enough for the kernel to try it three times.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// A kept connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What matters of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: bool,
    /// The server closes the connection now.
    pub(super) closes: bool,
}

impl Connection {
    pub(super) async fn open(broker: SocketAddr) -> io::Result<Self> {
        let connecting = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(broker));
        let stream = connecting.await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(1_024) })
    }

    /// Posts a body to `/handle`, and reads the answer to its end.
    pub(super) async fn post(&mut self, body: &str) -> io::Result<Answer> {
        let length = body.len();
        let request =
            format!("POST /handle HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(answer) = whole(&self.buffer) {
                return Ok(answer);
            }
        }
    }
}

/// The answer, once all of it is there.
fn whole(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(own, value)| own.eq_ignore_ascii_case(name).then_some(value))
    };
    let length: usize = field("content-length")?.parse().ok()?;
    let there = bytes.len() - end - 4 >= length;
    there.then(|| Answer {
        status,
        retry_after: field("retry-after").is_some(),
        closes: field("connection") == Some("close"),
    })
}
