//! Fewer and longer writes, where one connection carries many calls at a time: for both ends of `rpc` and `grpc`. It opens
//! no connection, and knows nothing of what is written.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Writes of at least this many bytes are passed on immediately.
const LONG_BYTES: usize = 16 * 1024;

/// A byte stream that lets all other tasks that are ready run once before it writes.
///
/// A task that has a call for the connection wakes the task that writes, and tokio runs that next: so each call would
/// be a write of its own, though many are ready. After one turn of the others their calls have come together. A
/// lone task is not delayed: its turn comes immediately.
#[derive(Debug)]
pub struct Gathered<Io> {
    io: Io,
    waited: bool,
}

impl<Io> Gathered<Io> {
    /// Puts it before `io`.
    pub const fn new(io: Io) -> Self {
        Gathered { io, waited: false }
    }

    /// Whether to write now; otherwise the task has been put behind all that are ready.
    fn turn_has_come(&mut self, cx: &Context<'_>, len: usize) -> bool {
        let now = self.waited || len >= LONG_BYTES;
        self.waited = !now;
        if !now {
            cx.waker().wake_by_ref();
        }
        now
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Gathered<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Gathered<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.turn_has_come(cx, bytes.len()) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        if !self.turn_has_come(cx, len) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<Io: Connected> Connected for Gathered<Io> {
    type ConnectInfo = Io::ConnectInfo;

    fn connect_info(&self) -> Io::ConnectInfo {
        self.io.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::{SinkExt, StreamExt};
    use tokio::io::AsyncWriteExt;
    use tokio_util::codec::LengthDelimitedCodec;

    use super::*;

    /// Counts the writes.
    struct Counted<Io>(Io, Arc<AtomicUsize>);

    impl<Io: AsyncWrite + Unpin> AsyncWrite for Counted<Io> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    impl<Io: AsyncRead + Unpin> AsyncRead for Counted<Io> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    /// How often a connection is written to that many tasks have something for.
    async fn writes_of<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        wrap: impl FnOnce(Counted<tokio::io::DuplexStream>) -> Io,
    ) -> usize {
        const FRAMES: usize = 50;
        let (near, far) = tokio::io::duplex(1024 * 1024);
        let writes = Arc::new(AtomicUsize::new(0));
        let mut framed = LengthDelimitedCodec::builder().new_framed(wrap(Counted(near, Arc::clone(&writes))));
        let (queue, mut frames) = tokio::sync::mpsc::channel::<bytes::Bytes>(FRAMES);
        tokio::spawn(async move {
            let mut next = frames.recv().await;
            while let Some(frame) = next.take() {
                SinkExt::<bytes::Bytes>::feed(&mut framed, frame).await.expect("the other end is there");
                next = frames.try_recv().ok();
                if next.is_none() {
                    SinkExt::<bytes::Bytes>::flush(&mut framed).await.expect("the other end is there");
                    next = frames.recv().await;
                }
            }
        });
        // From within, as calls do: what is spawned from outside comes another way into the queue.
        let calls = tokio::spawn(async move {
            for _ in 0..FRAMES {
                let queue = queue.clone();
                tokio::spawn(async move { queue.send("a frame".into()).await });
            }
        });
        calls.await.expect("no panic");
        let read = LengthDelimitedCodec::builder().new_framed(far);
        assert_eq!(read.take(FRAMES).count().await, FRAMES, "none is lost");
        writes.load(Ordering::Relaxed)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_many_tasks_have_ready_is_one_write() {
        let at_once = writes_of(|io| io).await;
        let gathered = writes_of(Gathered::new).await;
        assert!(gathered <= 3 && at_once > 10, "{gathered} writes, and {at_once} without");
    }

    #[tokio::test]
    async fn what_is_long_does_not_wait() {
        let (near, _far) = tokio::io::duplex(1024 * 1024);
        let mut io = Gathered::new(near);
        let mut now = std::pin::pin!(io.write_all(&[0; LONG_BYTES]));
        assert!(futures_util::poll!(&mut now).is_ready());
        let mut later = std::pin::pin!(io.write_all(&[0; 1]));
        assert!(futures_util::poll!(&mut later).is_pending());
        assert!(futures_util::poll!(&mut later).is_ready());
    }

    #[tokio::test]
    async fn a_write_that_was_cut_short_goes_on_and_vectored_ones_wait_as_well() {
        let (near, mut far) = tokio::io::duplex(3);
        let mut io = Gathered::new(near);
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut far, &mut read).await.map(|_| read)
        });
        let slices = [io::IoSlice::new(b"ab"), io::IoSlice::new(b"cdef")];
        {
            let mut write = std::pin::pin!(io.write_vectored(&slices));
            assert!(futures_util::poll!(&mut write).is_pending());
            assert_eq!(write.await.expect("the other end is there"), 3, "as much as there is room for");
        }
        io.write_all(b"defghij").await.expect("the other end is there");
        drop(io);
        assert_eq!(reading.await.expect("no panic").expect("it is read"), b"abcdefghij");
    }
}
