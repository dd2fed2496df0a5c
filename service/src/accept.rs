//! Accepts TCP connections, so many at a time and no more.

mod clients;
mod head;
mod opening;
mod stream;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    time::Sleep,
};
use tonic::transport::server::Connected;

use self::{
    clients::{Clients, Listed, Slot},
    head::Head,
    opening::Opening,
    stream::Stream,
};
use crate::{
    client::{Client, Cut},
    descriptors,
    room::Room,
    tls::{Protocol, Serving},
};

/// Most open connections to one port; later ones wait in the kernel's backlog.
const CONNECTIONS: usize = 4_096;

/// The part of the process's file descriptors that one port may use: the logger has three ports, and files.
const DESCRIPTORS_PART: usize = 4;

/// Most connections that wait in the kernel to be accepted. What finds no place there is dropped, and tried again by its
/// client after 1 s, 3 s and 7 s: a burst of as many callers as there may be must fit. Linux takes at most
/// `net.core.somaxconn`, by default 4,096.
const BACKLOG: u32 = 4_096;

/// How long a client may take no bytes while there are some for it. Answers that nobody reads take memory.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of answers that the clients of one port have not read yet; so many one client alone may have: the largest
/// answer is a page of entries.
const UNREAD_BYTES: usize = 64 * 1024 * 1024;
const UNREAD_SHARE_BYTES: usize = 20 * 1024 * 1024;

/// Most bytes of half-sent requests where nothing else is said: for ports at which nothing is posted.
const HALF_SENT_BYTES: usize = 64 * 1024;

/// How long to wait after a failed accept. Out of file descriptors, an immediate retry would only spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// An open port.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    tls: Option<Serving>,
    protocol: Protocol,
    half_sent: Room,
    unread: Room,
    clients: Clients,
    next: AtomicU64,
}

impl Acceptor {
    /// Opens the port that `setting` names, for what `protocol` says.
    ///
    /// # Errors
    /// If the port is taken or not ours to open; the message names the setting.
    pub fn bind(setting: &str, address: SocketAddr, protocol: Protocol) -> anyhow::Result<Self> {
        let listener = listen(address)
            .with_context(|| format!("cannot listen on {address}: set {setting} to another address"))?;
        let connections = CONNECTIONS.min(descriptors::raise() / DESCRIPTORS_PART);
        Ok(Acceptor {
            listener,
            tls: None,
            protocol,
            half_sent: Room::new(HALF_SENT_BYTES, HALF_SENT_BYTES),
            unread: Room::new(UNREAD_SHARE_BYTES, UNREAD_BYTES),
            clients: Clients::new(connections),
            next: AtomicU64::default(),
        })
    }

    /// Encrypts every connection, if there is something to do it with. A plain one is closed then.
    #[must_use]
    pub fn with_tls(self, tls: Option<Serving>) -> Self {
        Acceptor { tls, ..self }
    }

    /// Has so much room for what its clients have not sent as a whole yet.
    #[must_use]
    pub fn with_room(self, half_sent: Room) -> Self {
        Acceptor { half_sent, ..self }
    }

    /// Takes so many connections, in tests.
    #[cfg(test)]
    pub(crate) fn with_connections(self, limit: usize) -> Self {
        Acceptor { clients: Clients::new(limit), ..self }
    }

    /// The address that it listens on, with the port that port 0 has become.
    ///
    /// # Errors
    /// If the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits for the next connection, and if too many are open for one of them to close. Over HTTP/1.1 one that is idle
    /// is closed then.
    pub async fn accept(&self) -> Connection {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Without it, an answer written in two parts waits 40 ms for the peer's acknowledgement.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection was gone before it was accepted");
                        continue;
                    }
                    let slot = match self.protocol {
                        Protocol::Http1 => self.clients.make_slot().await,
                        Protocol::Http2 | Protocol::Unnamed => self.clients.slot().await,
                    };
                    return self.connection(stream, peer, slot);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn connection(&self, stream: TcpStream, peer: SocketAddr, slot: Slot) -> Connection {
        let cut = Cut::default();
        // A half frame of rpc has nobody who could be told; a half body, and a half message of gRPC, are answered.
        let half_sent = self.half_sent.share(match self.protocol {
            Protocol::Unnamed => Some(cut.clone()),
            Protocol::Http1 | Protocol::Http2 => None,
        });
        let unread = self.unread.share(Some(cut.clone()));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let begun = self.clients.begun();
        let client = Client::new(number, peer.ip().to_canonical(), half_sent, unread, cut, begun);
        let listed = (self.protocol == Protocol::Http1 && !slot.reserved).then(|| self.clients.list(&client));
        let stream = Stream::new(stream, self.tls.as_ref().map(Serving::current));
        Connection {
            stream,
            client,
            opening: Some(Opening::of(self.protocol)),
            head: (self.protocol == Protocol::Http1).then(Head::default),
            stall: None,
            _listed: listed,
            slot,
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
    /// Runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    _listed: Option<Listed>,
    slot: Slot,
}

impl Connection {
    /// Its account.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether it is one beyond the limit, which is there for one answer.
    pub(crate) fn is_reserved(&self) -> bool {
        self.slot.reserved
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
