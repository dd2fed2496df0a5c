//! An accepted connection, and the timeouts of its client.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use tonic::transport::server::Connected;

use super::{
    clients::{Listed, Slot},
    head::Head,
    opening::Opening,
    stream::Stream,
};
use crate::{Shutdown, client::Client, tls::Protocol};

/// How long a client may read nothing while there is something for it. Unread responses take memory.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// An accepted connection. It counts against the port's limit until it is dropped, and fails with
/// [`io::ErrorKind::TimedOut`] if its client does not send what it should in time, or takes nothing for too long, and
/// with [`io::ErrorKind::ConnectionAborted`] if it had to give way to others.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    client: Client,
    /// Until the first bytes have come.
    opening: Option<Opening>,
    /// For HTTP/1.1.
    head: Option<Head>,
    /// When it ends, if it is one of HTTP/1.1 and between two requests.
    ends: Option<Shutdown>,
    /// Runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    _listed: Option<Listed>,
    slot: Slot,
}

impl Connection {
    pub(super) fn new(
        protocol: Protocol,
        stream: Stream,
        client: Client,
        listed: Option<Listed>,
        slot: Slot,
    ) -> Self {
        Connection {
            stream,
            client,
            opening: Some(Opening::of(protocol)),
            head: (protocol == Protocol::Http1).then(Head::default),
            ends: None,
            stall: None,
            _listed: listed,
            slot,
        }
    }

    /// Seems to have come to its end once `shutdown` has begun, the request that is there is answered, and nothing has come
    /// of another. What has arrived is looked for first: a client whose request came in time was not refused. One that
    /// has never sent anything may still do so.
    #[must_use]
    pub(crate) fn until(self, shutdown: Shutdown) -> Self {
        Connection { ends: Some(shutdown), ..self }
    }

    /// Its account.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether it is one beyond the limit, which is there for one answer.
    pub(crate) fn is_reserved(&self) -> bool {
        self.slot.reserved
    }

    /// To be asked when nothing can be read.
    fn has_ended(&mut self) -> bool {
        let Connection { ends: Some(ends), head: Some(head), opening: None, .. } = self else { return false };
        ends.has_begun() && head.is_between(&self.client) && self.stream.has_nothing()
    }

    /// What may end a connection while it waits for its client, in either direction.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.client.cut().poll(cx).is_ready() {
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        let opening = self.opening.as_mut().map(|opening| opening.poll_timeout(cx));
        if opening.is_some_and(|timeout| timeout.is_ready()) {
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        Poll::Pending
    }

    /// Passes on what a write came to, and keeps the time of one that has to wait.
    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        if let Poll::Ready(error) = self.poll_end(cx) {
            return Poll::Ready(Err(error));
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_TIMEOUT)));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if read.is_ready() {
            let bytes = &buffer.filled()[before..];
            // At the end nothing more will come.
            let is_end = bytes.is_empty();
            if this.opening.as_mut().is_some_and(|opening| is_end || opening.is_complete_with(bytes)) {
                this.opening = None;
            }
            if let Some(head) = &mut this.head {
                head.read(&this.client);
            }
            return read;
        }
        if let Poll::Ready(error) = this.poll_end(cx) {
            return Poll::Ready(Err(error));
        }
        if this.has_ended() {
            return Poll::Ready(Ok(()));
        }
        let head = this.head.as_mut().map(|head| head.poll_timeout(&this.client, cx));
        match head {
            Some(Poll::Ready(())) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_stall(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS takes bytes before the client does.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_stall(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS has a last word to send.
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch_stall(cx, closed)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connected for Connection {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client.clone()
    }
}
