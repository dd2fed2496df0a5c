//! Counts the bytes on each transport's connections, both ways, and those of a call that had them to itself.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use proto::json::WireBytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one transport has sent and received since the start: what TCP carries, under TLS as it is encrypted.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    sent: AtomicU64,
    received: AtomicU64,
    /// Calls that have begun.
    begun: AtomicU64,
    /// Calls that have no answer yet.
    under_way: AtomicU64,
}

impl Wire {
    pub(crate) fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    /// All since the start.
    pub(crate) fn total(&self) -> WireBytes {
        WireBytes { sent: self.sent.load(Relaxed), received: self.received.load(Relaxed) }
    }

    /// Begins a call, which ends when it is dropped.
    pub(crate) fn call(&self) -> Call<'_> {
        let alone = self.under_way.fetch_add(1, Relaxed) == 0;
        let number = self.begun.fetch_add(1, Relaxed) + 1;
        Call { wire: self, alone, number, before: self.total() }
    }
}

/// One call over a transport.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    wire: &'a Wire,
    alone: bool,
    number: u64,
    before: WireBytes,
}

impl Call<'_> {
    /// The bytes since it began; `None` if another was under way meanwhile, since nobody can tell whose they were.
    pub(crate) fn bytes(&self) -> Option<WireBytes> {
        let alone = self.alone && self.wire.begun.load(Relaxed) == self.number;
        let now = self.wire.total();
        alone.then(|| WireBytes {
            sent: now.sent - self.before.sent,
            received: now.received - self.before.received,
        })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.wire.under_way.fetch_sub(1, Relaxed);
    }
}

/// A connection whose bytes are counted, if it belongs to a transport.
#[derive(Debug)]
pub(crate) struct Counted<Io> {
    io: Io,
    wire: Option<Arc<Wire>>,
}

impl<Io> Counted<Io> {
    pub(crate) fn new(io: Io, wire: Option<Arc<Wire>>) -> Self {
        Counted { io, wire }
    }

    fn wrote(&self, written: io::Result<usize>) -> Poll<io::Result<usize>> {
        if let (Some(wire), Ok(bytes)) = (&self.wire, &written) {
            wire.add_sent(*bytes);
        }
        Poll::Ready(written)
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Counted<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        if let Some(wire) = &self.wire {
            wire.add_received(buffer.filled().len() - before);
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Counted<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices));
        self.wrote(written)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_passes_is_counted_each_way() {
        let wire = Arc::new(Wire::default());
        let (ours, mut theirs) = duplex(64);
        let mut ours = Counted::new(ours, Some(Arc::clone(&wire)));
        let call = wire.call();
        ours.write_all(b"to you").await.expect("room");
        theirs.write_all(b"and to me").await.expect("room");
        ours.read_exact(&mut [0; 9]).await.expect("it is there");
        assert_eq!(call.bytes(), Some(WireBytes { sent: 6, received: 9 }));
        assert_eq!(wire.call().bytes(), None, "the other is under way");
        drop(call);
        assert_eq!(wire.call().bytes(), Some(WireBytes { sent: 0, received: 0 }));
        assert_eq!(wire.total(), WireBytes { sent: 6, received: 9 });
    }

    #[test]
    fn a_call_that_another_came_between_has_no_bytes_of_its_own() {
        let wire = Wire::default();
        let call = wire.call();
        drop(wire.call());
        assert_eq!(call.bytes(), None);
    }
}
