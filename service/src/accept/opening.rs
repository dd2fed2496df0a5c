//! What a client must send soon after it has connected.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Sleep;

use crate::tls::Protocol;

/// How long a client may take for it, its TLS handshake included if there is one. Without it, silent connections would
/// take all slots of a protocol that has no such limit of its own, such as HTTP/2 before its handshake.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The preface of HTTP/2, and the head of a frame, whose first three bytes are the length of what follows it.
const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;

/// The bytes that a connection begins with, and the time that is left for them.
#[derive(Debug)]
pub(super) struct Opening {
    deadline: Pin<Box<Sleep>>,
    needed_bytes: usize,
    seen_bytes: usize,
    /// Of the first frame, for HTTP/2.
    frame_length: Option<usize>,
}

impl Opening {
    /// For HTTP/2 it is the whole preface and the first frame, by which the client says what it can do; for the others a
    /// byte.
    pub(super) fn of(protocol: Protocol) -> Self {
        let (needed_bytes, frame_length) = match protocol {
            Protocol::Http2 => (PREFACE_BYTES + FRAME_HEAD_BYTES, Some(0)),
            Protocol::Http1 | Protocol::Unnamed | Protocol::NetRpc => (1, None),
        };
        let deadline = Box::pin(tokio::time::sleep(TIMEOUT));
        Opening { deadline, needed_bytes, seen_bytes: 0, frame_length }
    }

    /// Counts bytes that have come. Returns whether it is complete.
    pub(super) fn is_complete_with(&mut self, bytes: &[u8]) -> bool {
        if let Some(length) = &mut self.frame_length {
            for (position, byte) in (self.seen_bytes..).zip(bytes) {
                if (PREFACE_BYTES..PREFACE_BYTES + 3).contains(&position) {
                    *length = *length << 8 | usize::from(*byte);
                    if position == PREFACE_BYTES + 2 {
                        self.needed_bytes += *length;
                    }
                }
            }
        }
        self.seen_bytes += bytes.len();
        self.seen_bytes >= self.needed_bytes
    }

    /// Is ready when the time is over.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn http2_begins_with_the_whole_preface_and_first_frame_however_they_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend([0, 0, 12, 4, 0, 0, 0, 0, 0]);
        bytes.extend([7; 12]);
        for step in [1, 2, 3, 5, 7, 25, 44, 45] {
            let mut opening = Opening::of(Protocol::Http2);
            let mut seen = 0;
            for piece in bytes.chunks(step) {
                seen += piece.len();
                assert_eq!(opening.is_complete_with(piece), seen == bytes.len(), "{step} {seen}");
            }
        }
    }

    #[tokio::test]
    async fn the_others_begin_with_a_byte() {
        for protocol in [Protocol::Http1, Protocol::Unnamed, Protocol::NetRpc] {
            assert!(Opening::of(protocol).is_complete_with(b"G"));
        }
    }
}
