//! Puts hyper's own refusals into the envelope of all responses. hyper answers an invalid or too large head with a
//! status and no body, and has no hook for it; so they are recognised on their way out.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What hyper's answers without a body say of it.
const NO_BODY: &str = "content-length: 0\r\n";

/// The statuses that hyper refuses with, the word for each in `proto`'s table, and what it means to a caller. It has a
/// third, 414, for an address that is longer than all that we take.
const REFUSALS: [(&str, &str, &str); 2] = [
    ("400", "bad_request", "not a valid HTTP/1.1 request"),
    ("431", "headers_too_large", "URL and headers too large: at most 32 KiB and 64 headers"),
];

/// A connection on which hyper writes.
#[derive(Debug)]
pub(super) struct OwnWords<Io> {
    io: Io,
    /// What is still to be written in place of hyper's words.
    words: Vec<u8>,
    written: usize,
}

impl<Io> OwnWords<Io> {
    pub(super) const fn new(io: Io) -> Self {
        OwnWords { io, words: Vec::new(), written: 0 }
    }
}

/// Our words for an answer of hyper's own; `None` if it is none. Ours of these statuses always have a body, and no body
/// of ours looks like this: in JSON a line feed is written as two characters.
fn in_our_words(bytes: &[u8]) -> Option<Vec<u8>> {
    let status = bytes.strip_prefix(b"HTTP/1.1 4")?;
    if !matches!(status, [b'0' | b'3', ..]) || !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?;
    let (_, code, message) = REFUSALS.into_iter().find(|(status, ..)| head[9..].starts_with(status))?;
    let body = serde_json::json!({
        "error": true, "message": message, "data": { "code": code, "retryable": false },
    });
    let body = format!("{body}\n");
    let headers = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let with_headers = head.replacen(NO_BODY, &headers, 1);
    (with_headers != head).then(|| (with_headers + &body).into_bytes())
}

impl<Io: AsyncWrite + Unpin> OwnWords<Io> {
    /// Writes what is left of our words.
    fn poll_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.words.len() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.words[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        (self.words, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for OwnWords<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for OwnWords<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_words(cx))?;
        match in_our_words(bytes) {
            // They are written with the flush, which always comes.
            Some(words) => {
                self.words = words;
                Poll::Ready(Ok(bytes.len()))
            }
            None => Pin::new(&mut self.io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's own words are one slice.
        if let [only] = slices {
            return self.poll_write(cx, only);
        }
        ready!(self.poll_words(cx))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_words(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_words(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_hyper_refuses_gets_a_body_and_all_else_passes() {
        let refused =
            "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let empty = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        let full = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
        // Three bytes at a time.
        let (near, mut far) = tokio::io::duplex(3);
        let write = async move {
            let mut near = OwnWords::new(near);
            for answer in [full, empty, refused] {
                near.write_all(answer.as_bytes()).await.expect("it is read");
                near.flush().await.expect("it is read");
            }
        };
        let mut read = String::new();
        let ((), all) = tokio::join!(write, far.read_to_string(&mut read));
        all.expect("text");
        let told = read.strip_prefix(full).and_then(|read| read.strip_prefix(empty)).expect("they pass");
        let (head, body) = told.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 431 ") && head.contains("connection: close"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["data"]["code"], "headers_too_large");
    }
}
