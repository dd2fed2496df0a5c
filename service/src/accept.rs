//! Accepts TCP connections, so many at a time and no more.

mod stream;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};
use tonic::transport::server::{Connected, TcpConnectInfo};

use stream::Stream;

use crate::{descriptors, tls::Serving};

/// Most open connections to one port; later ones wait in the kernel's backlog.
const CONNECTIONS: usize = 4_096;

/// The part of the process's file descriptors that one port may use: the logger has three ports, and files.
const DESCRIPTORS_PART: usize = 4;

/// Most connections that wait in the kernel to be accepted. What finds no place there is dropped, and tried again by its
/// client after 1 s, 3 s and 7 s: a burst of as many callers as there may be must fit. Linux takes at most
/// `net.core.somaxconn`, by default 4,096.
const BACKLOG: u32 = 4_096;

/// How long a client may take to send its first byte, its TLS handshake included if there is one. Without it, silent
/// connections would take all slots of a protocol that has no such limit of its own, such as HTTP/2 before its handshake.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take no bytes while there are some for it. Answers that nobody reads take memory.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after a failed accept. Out of file descriptors, an immediate retry would only spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// An open port.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    tls: Option<Serving>,
    slots: Arc<Semaphore>,
}

impl Acceptor {
    /// Opens the port that `setting` names.
    ///
    /// # Errors
    /// If the port is taken or not ours to open; the message names the setting.
    pub fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<Self> {
        let listener = listen(address)
            .with_context(|| format!("cannot listen on {address}: set {setting} to another address"))?;
        let connections = CONNECTIONS.min(descriptors::raise() / DESCRIPTORS_PART);
        Ok(Acceptor { listener, tls: None, slots: Arc::new(Semaphore::new(connections)) })
    }

    /// Encrypts every connection, if there is something to do it with. A plain one is closed then.
    #[must_use]
    pub fn with_tls(self, tls: Option<Serving>) -> Self {
        Acceptor { tls, ..self }
    }

    /// The address that it listens on, with the port that port 0 has become.
    ///
    /// # Errors
    /// If the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits for the next connection, and before that for one to close if too many are open.
    pub async fn accept(&self) -> Connection {
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Without it, an answer written in two parts waits 40 ms for the peer's acknowledgement.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection was gone before it was accepted");
                        continue;
                    }
                    let tls = self.tls.as_ref().map(Serving::current);
                    return Connection::new(Stream::new(stream, tls), slot);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port that was just closed may be opened again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// An accepted connection. It counts against the port's limit until it is dropped, and fails with
/// [`io::ErrorKind::TimedOut`] if its client sends nothing at first, or takes nothing for too long.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// Runs until the first byte has come.
    first_byte: Option<Pin<Box<Sleep>>>,
    /// Runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: Stream, slot: OwnedSemaphorePermit) -> Self {
        let first_byte = Some(Box::pin(tokio::time::sleep(FIRST_BYTE_TIMEOUT)));
        Connection { stream, first_byte, stall: None, _slot: slot }
    }

    /// Passes on what a write came to, and keeps the time of one that has to wait.
    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
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
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.first_byte = None;
            return read;
        }
        match &mut self.first_byte {
            Some(timeout) => timeout.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            None => read,
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
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}
