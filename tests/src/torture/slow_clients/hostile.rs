//! The hostile clients.

use std::{io, net::SocketAddr, sync::LazyLock, time::Duration};

use futures_util::stream::{self, StreamExt};
use proto::limits::{BODY_BYTES, LOGGER_BODY_BYTES};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::keys::authorization_header;

/// The time between the bytes of a slow client.
const PER_BYTE: Duration = Duration::from_secs(1);

/// How long a client that was cut off waits before it comes back.
const COMES_BACK: Duration = Duration::from_secs(5);

/// What all of them send of a body.
static SPACES: LazyLock<bytes::Bytes> = LazyLock::new(|| vec![b' '; LOGGER_BODY_BYTES].into());

/// What a client does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Nothing.
    Idle,
    /// Sends a header by one byte a second.
    SlowHeader,
    /// Sends a body by one byte a second.
    SlowBody,
    /// Asks, and reads no answer.
    NotReading,
    /// Begins as HTTP/2 does, and goes no further.
    CutPreface,
    /// Sends a body that is as long as the broker takes, but for its last byte.
    LargeBody,
    /// As [`Kind::LargeBody`], for the logger, which takes more.
    LargerBody,
    /// Sends a frame of rpc but for its last byte.
    LargeFrame,
    /// Sends twenty messages of gRPC, each but for its last byte.
    LargeMessages,
    /// Reads a page by one byte a second.
    SlowPage,
}

/// Does it over and over.
pub(super) async fn come_back(port: SocketAddr, kind: Kind) {
    loop {
        // Cut off or refused: that is what is tried.
        let _ = annoy(port, kind).await;
        tokio::time::sleep(COMES_BACK).await;
    }
}

async fn annoy(port: SocketAddr, kind: Kind) -> io::Result<()> {
    /// Their answers are more than the buffers on the way hold.
    const QUESTIONS: usize = 50;
    let head = b"POST /handle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    match kind {
        Kind::Idle => closed(&connect(port).await?).await,
        Kind::SlowHeader => byte_by_byte(&mut connect(port).await?, head).await,
        Kind::SlowBody => {
            let mut stream = connect(port).await?;
            stream.write_all(head).await?;
            byte_by_byte(&mut stream, &[b' '; 1_000]).await
        }
        Kind::NotReading => {
            let question = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let mut stream = connect(port).await?;
            stream.write_all(question.repeat(QUESTIONS).as_bytes()).await?;
            // It notices by its own writing that it was cut off.
            byte_by_byte(&mut stream, question.as_bytes()).await
        }
        Kind::CutPreface => {
            let mut stream = connect(port).await?;
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0").await?;
            closed(&stream).await
        }
        Kind::LargeBody => half_sent(port, "/handle", BODY_BYTES).await,
        Kind::LargerBody => half_sent(port, "/log", LOGGER_BODY_BYTES).await,
        Kind::LargeFrame => {
            let mut stream = connect(port).await?;
            stream.write_all(&length(BODY_BYTES)).await?;
            stream.write_all(&SPACES[1..BODY_BYTES]).await?;
            closed(&stream).await
        }
        Kind::LargeMessages => half_sent_messages(port).await,
        Kind::SlowPage => {
            let mut stream = connect(port).await?;
            let head =
                format!("GET /logs?limit=1000 HTTP/1.1\r\nHost: localhost\r\n{}\r\n", authorization_header());
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.read_u8().await?;
                tokio::time::sleep(PER_BYTE).await;
            }
        }
    }
}

async fn connect(port: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // The smallest that there is: what is not read stays with the server.
    socket.set_recv_buffer_size(1)?;
    socket.connect(port).await
}

async fn closed(stream: &TcpStream) -> io::Result<()> {
    stream.readable().await
}

async fn byte_by_byte(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(PER_BYTE).await;
    }
    Ok(())
}

async fn half_sent(port: SocketAddr, path: &str, bytes: usize) -> io::Result<()> {
    let stream = crate::raw::post_half(port, path, bytes, &SPACES[1..bytes]).await?;
    closed(&stream).await
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("a body fits").to_be_bytes()
}

async fn half_sent_messages(port: SocketAddr) -> io::Result<()> {
    const CALLS: usize = 20;
    const BYTES: usize = 1024 * 1024;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build();
    let client = client.map_err(io::Error::other)?;
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let head = bytes::Bytes::from([&[0][..], &length(BYTES)].concat());
        let parts = stream::iter([Ok::<_, io::Error>(head), Ok(SPACES.slice(1..BYTES))]);
        let call = client.post(format!("http://{port}/logs.LogService/WriteLog"));
        let call = call.header("content-type", "application/grpc").header("te", "trailers");
        calls.spawn(call.body(reqwest::Body::wrap_stream(parts.chain(stream::pending()))).send());
    }
    while calls.join_next().await.is_some() {}
    Ok(())
}
