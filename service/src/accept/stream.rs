//! The bytes of an accepted connection, encrypted or not.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::ServerConfig;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{Accept, TlsAcceptor, server::TlsStream};

/// A TCP stream, or TLS over one. The handshake is part of the first read or write: so accepting does not wait
/// for it, and the limits on a connection hold for it too.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Handshake(Box<Handshake>),
    Encrypted(Box<TlsStream<TcpStream>>),
    Failed,
}

pub(super) struct Handshake(Accept<TcpStream>);

impl Stream {
    pub(super) fn new(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> Self {
        match tls {
            None => Stream::Plain(stream),
            Some(config) => Stream::Handshake(Box::new(Handshake(TlsAcceptor::from(config).accept(stream)))),
        }
    }

    /// Whether nothing has arrived that was not read. The runtime may not have heard of it yet, so the kernel is asked.
    pub(super) fn has_nothing(&self) -> bool {
        let stream = match self {
            Stream::Plain(stream) => stream,
            Stream::Encrypted(stream) => stream.get_ref().0,
            Stream::Handshake(_) | Stream::Failed => return false,
        };
        let mut byte = [MaybeUninit::uninit()];
        !matches!(SockRef::from(stream).peek(&mut byte), Ok(1..))
    }

    /// Ends the handshake if there is one.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stream::Handshake(handshake) = self {
            let result = ready!(Pin::new(&mut handshake.0).poll(cx));
            match result {
                Ok(stream) => *self = Stream::Encrypted(Box::new(stream)),
                Err(error) => {
                    *self = Stream::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handshake")
    }
}

fn failed<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_handshake(cx))?;
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Handshake(_) | Stream::Failed => failed(),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(cx))?;
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Handshake(_) | Stream::Failed => failed(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(cx))?;
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Handshake(_) | Stream::Failed => failed(),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_handshake(cx))?;
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Handshake(_) | Stream::Failed => failed(),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
            // Nothing has been said on it.
            Stream::Handshake(_) | Stream::Failed => Poll::Ready(Ok(())),
        }
    }
}
