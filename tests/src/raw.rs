//! Connections by hand, for what no client library would send.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{SOON, eventually, keys::authorization_header, stack::Answer};

/// Opens a connection and sends the beginning of something.
///
/// # Errors
/// If the server closes before it has been sent.
pub async fn begin(address: SocketAddr, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    Ok(stream)
}

/// Waits until the other end, a process of this machine, has read all that was sent: what it has not read when it is
/// told to stop, it need not answer.
///
/// # Panics
/// If it does not read it soon.
pub async fn is_read(stream: &TcpStream) {
    let address = |address: io::Result<SocketAddr>| address.expect("the connection is open");
    let (own, other) = (address(stream.local_addr()), address(stream.peer_addr()));
    eventually("what was sent is read", async || {
        let connections = procfs::net::tcp().expect("Linux has it");
        let theirs = |entry: &&procfs::net::TcpNetEntry| {
            (entry.local_address.port(), entry.remote_address.port()) == (other.port(), own.port())
        };
        (connections.iter().find(theirs)?.rx_queue == 0).then_some(())
    })
    .await;
}

/// Posts the beginning of a body that is announced to be longer, and keeps the connection open.
///
/// # Errors
/// If the server closes before it has been sent.
pub async fn post_half(
    address: SocketAddr,
    path: &str,
    announced_bytes: usize,
    sent: &[u8],
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {announced_bytes}\r\n\r\n",
        authorization_header()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(sent).await?;
    Ok(stream)
}

/// Posts a body without saying beforehand how long it is.
///
/// # Panics
/// If there is no answer.
pub async fn post_chunked(address: SocketAddr, path: &str, body: &[u8]) -> Answer {
    const CHUNK_BYTES: usize = 1024 * 1024;
    let begun = Instant::now();
    let (mut reader, mut writer) = TcpStream::connect(address).await.expect("it is there").into_split();
    let write = async {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{}Transfer-Encoding: chunked\r\n\r\n",
            authorization_header()
        );
        writer.write_all(head.as_bytes()).await?;
        for chunk in body.chunks(CHUNK_BYTES) {
            writer.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
            writer.write_all(chunk).await?;
            writer.write_all(b"\r\n").await?;
        }
        writer.write_all(b"0\r\n\r\n").await
    };
    let read = async {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        // It may be closed in mid-body: what counts is that it was answered before.
        while !answer.trim_ascii_end().ends_with(b"}}") {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => answer.extend_from_slice(&buffer[..bytes]),
            }
        }
        String::from_utf8(answer).expect("text")
    };
    let (_, answer) = tokio::join!(write, tokio::time::timeout(SOON, read));
    parse(&answer.expect("an answer in time"), begun.elapsed())
}

/// The status and the body of an answer; its headers are left out.
///
/// # Panics
/// If it is none.
pub fn parse(answer: &str, took: Duration) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer {
        status: status.try_into().expect("a status"),
        headers: HeaderMap::new(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
        took,
    }
}

/// Reads the answer to a request, and returns its text besides: the connection may stay open.
///
/// # Panics
/// If it does not come in time, or is none.
pub async fn one_answer(stream: &mut TcpStream) -> (Answer, String) {
    let begun = Instant::now();
    let mut text = String::new();
    let whole = async {
        let mut buffer = [0; 4_096];
        while !is_whole(&text) {
            let bytes = stream.read(&mut buffer).await.expect("an answer");
            assert!(bytes > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..bytes]).expect("text"));
        }
    };
    tokio::time::timeout(SOON, whole).await.expect("it is answered");
    (parse(&text, begun.elapsed()), text)
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()) == Some(body.len())
}

/// Sends bytes, says that no more will come, and reads all that is answered.
///
/// # Panics
/// If the server does not close in time.
pub async fn half_closed(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = begin(address, bytes).await.expect("the port is open");
    stream.shutdown().await.expect("it is open");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
    read.expect("it is closed in time").expect("an answer");
    String::from_utf8(answer).expect("text")
}

/// Sends bytes, keeps its own side open, and waits until the server has closed: what it said, and after how
/// long it closed.
///
/// # Panics
/// If the connection is still open after `limit`; `what` says which it is.
pub async fn until_closed(
    what: &str,
    address: SocketAddr,
    bytes: &[u8],
    limit: Duration,
) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    let mut answer = Vec::new();
    let exchange = async {
        // It may have been closed before all was sent.
        if stream.write_all(bytes).await.is_ok() {
            let _ = stream.read_to_end(&mut answer).await;
        }
    };
    let ended = tokio::time::timeout(limit, exchange).await;
    assert!(ended.is_ok(), "{what}: the connection is still open after {limit:?}");
    (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
}
