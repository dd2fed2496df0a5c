//! Limits the memory of partial frames over all connections, and how long a frame may take to arrive.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Once,
    task::{Context, Poll, ready},
};

use proto::netrpc;
use service::{BODY_TIMEOUT, Part};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// The bytes before each frame, which say how long it is: `proto::rpc::frame` leaves them as tokio-util has them.
const LENGTH_BYTES: usize = 4;

/// A connection of which each frame that is not whole yet takes room as its bytes arrive.
#[derive(Debug)]
pub(super) struct Metered<Io> {
    io: Io,
    part: Part,
    length: [u8; LENGTH_BYTES],
    /// How many bytes of `length` are there.
    length_read: usize,
    /// How much of the frame is to come.
    to_come: usize,
    /// Runs from the first wait within a frame until the frame is whole.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<Io> Metered<Io> {
    pub(super) fn new(io: Io, part: Part) -> Self {
        Metered { io, part, length: [0; LENGTH_BYTES], length_read: 0, to_come: 0, deadline: None }
    }

    fn count(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.to_come == 0 {
                let (byte, rest) = bytes.split_at(1);
                bytes = rest;
                self.length[self.length_read] = byte[0];
                self.length_read += 1;
                if self.length_read == LENGTH_BYTES {
                    self.length_read = 0;
                    warn_of_others(self.length);
                    self.to_come = usize::try_from(u32::from_be_bytes(self.length)).unwrap_or(usize::MAX);
                    if self.to_come == 0 {
                        self.deadline = None;
                    }
                }
            } else if bytes.len() < self.to_come {
                self.to_come -= bytes.len();
                return self.part.grow(bytes.len()).map_err(io::Error::other);
            } else {
                bytes = &bytes[self.to_come..];
                self.to_come = 0;
                // Whole: from here on the entries count, in the writer's queue.
                self.part.empty();
                self.deadline = None;
            }
        }
        Ok(())
    }
}

/// Says once where a client belongs that begins with what no frame does. As one it is far too long, which ends its
/// connection.
fn warn_of_others(begin: [u8; LENGTH_BYTES]) {
    static HTTP: Once = Once::new();
    static GRPC: Once = Once::new();
    static NETRPC: Once = Once::new();
    let (once, spoken, setting) = match &begin {
        b"POST" | b"GET " => (&HTTP, "HTTP", "LOGGER_HTTP_LISTEN"),
        // HTTP/2's preface.
        b"PRI " => (&GRPC, "gRPC", "LOGGER_GRPC_LISTEN"),
        _ if netrpc::begins_with(begin) => (&NETRPC, "Go's net/rpc", "LOGGER_NETRPC_LISTEN"),
        _ => return,
    };
    once.call_once(|| {
        tracing::warn!("a client speaks {spoken} to the port of tarpc: send it to {setting}");
    });
}

impl<Io: AsyncRead + Unpin> AsyncRead for Metered<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if read.is_pending() && (self.to_come > 0 || self.length_read > 0) {
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_TIMEOUT)));
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(read)?;
        Poll::Ready(self.count(&buffer.filled()[before..]))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Metered<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use proto::rpc::frame;
    use service::Room;
    use tokio::io::AsyncWriteExt;

    use super::*;

    const ROOM_BYTES: usize = 1_000;

    #[tokio::test]
    async fn whole_frames_pass_however_many_there_are() {
        let share = Room::new(ROOM_BYTES, ROOM_BYTES).share(None);
        let (near, far) = tokio::io::duplex(64);
        let mut client = frame::<_, (), String>(near);
        let mut server = frame::<_, String, ()>(Metered::new(far, share.part()));
        for length in [0, 1, 59, 60, 61, 900, 1, 900] {
            let text = "x".repeat(length);
            let (sent, read) = tokio::join!(client.send(text.clone()), server.next());
            sent.expect("it is taken");
            assert_eq!(read.expect("the connection is open").expect("a message"), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_has_begun_must_be_there_in_time_and_a_pause_between_two_may_be_longer() {
        let share = Room::new(ROOM_BYTES, ROOM_BYTES).share(None);
        let (mut near, far) = tokio::io::duplex(100);
        let mut server = frame::<_, String, ()>(Metered::new(far, share.part()));
        let whole = [&2_u32.to_be_bytes()[..], &[0xa1, b'x']].concat();
        let (head, rest) = whole.split_at(2);
        let slowly = async {
            tokio::time::sleep(10 * BODY_TIMEOUT).await;
            near.write_all(head).await.expect("it is taken");
            tokio::time::sleep(BODY_TIMEOUT / 2).await;
            near.write_all(rest).await.expect("it is taken");
            near.write_all(&whole[..5]).await.expect("it is taken");
        };
        let ((), first) = tokio::join!(slowly, server.next());
        assert_eq!(first.expect("open").expect("a message"), "x");
        let begun = tokio::time::Instant::now();
        assert!(server.next().await.expect("a last word").is_err());
        assert_eq!(begun.elapsed().as_secs(), BODY_TIMEOUT.as_secs());
    }

    #[tokio::test]
    async fn half_frames_take_room_and_give_it_back_with_their_connection() {
        let room = Room::new(ROOM_BYTES, ROOM_BYTES);
        let half = [&900_u32.to_be_bytes()[..], &[0; 600]].concat();
        let read_half = async || {
            let (mut near, far) = tokio::io::duplex(2_000);
            near.write_all(&half).await.expect("it is taken");
            let mut server = Metered::new(far, room.share(None).part());
            let read = tokio::io::AsyncReadExt::read(&mut server, &mut [0; 2_000]).await;
            (near, server, read)
        };
        let first = read_half().await;
        assert_eq!(first.2.as_ref().ok(), Some(&half.len()));
        assert!(read_half().await.2.is_err(), "there is no room for a second");
        drop(first);
        assert!(read_half().await.2.is_ok());
    }
}
