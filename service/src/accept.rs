//! Accepts TCP connections up to a limit: the one accept loop, for every protocol.

mod clients;
mod closing;
mod connection;
mod head;
mod opening;
mod stream;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{Stream, StreamExt, stream::unfold};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinSet, coop::unconstrained},
    time::timeout_at,
};

pub use self::connection::Connection;
use self::{
    clients::{Clients, Slot},
    closing::Closing,
};
use crate::{
    Shutdown,
    client::Client,
    cut::Cut,
    descriptors,
    room::Room,
    tls::{Protocol, Serving},
};

/// Maximum open connections to one port; later ones wait in the kernel's backlog.
const CONNECTIONS: usize = 4_096;

/// The part of the process's file descriptors that one port may use: the logger has four ports, and files.
const DESCRIPTORS_PART: usize = 5;

/// Maximum connections that wait in the kernel to be accepted. What finds no place there is dropped, and tried again by its
/// client after 1 s, 3 s and 7 s: a burst of as many callers as there may be must fit. Linux takes at most
/// `net.core.somaxconn`, by default 4,096.
const BACKLOG: u32 = 4_096;

/// Maximum bytes of answers that the clients of one port have not read yet; so many one client alone may have: the largest
/// answer is a page of entries.
const UNREAD_BYTES: usize = 64 * 1024 * 1024;
const UNREAD_SHARE_BYTES: usize = 20 * 1024 * 1024;

/// Maximum bytes of half-sent requests where nothing else is said: for ports at which nothing is posted.
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
    /// If the socket is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The connections, until `shutdown` begins, and those that had begun by then; then the port is closed.
    pub fn connections(self, shutdown: Shutdown) -> impl Stream<Item = Connection> + Send {
        unfold((self, shutdown, None), |(acceptor, shutdown, mut closing)| async move {
            let Some(connection) = acceptor.next(&shutdown, &mut closing).await else {
                acceptor.clients.wake();
                return None;
            };
            Some((connection, (acceptor, shutdown, closing)))
        })
    }

    async fn next(&self, shutdown: &Shutdown, closing: &mut Option<Closing>) -> Option<Connection> {
        let mut accept = pin!(self.accept());
        let closing = match closing {
            Some(closing) => closing,
            None => tokio::select! {
                biased;
                () = shutdown.begun() => closing.insert(self.close(shutdown)),
                connection = &mut accept => return Some(connection),
            },
        };
        if !closing.takes() {
            return None;
        }
        // Were it told to let others run, it would seem to have nothing to accept.
        timeout_at(closing.until, unconstrained(accept)).await.ok()
    }

    fn close(&self, shutdown: &Shutdown) -> Closing {
        // Elsewhere the clients come back at once, and had better be refused than wait for a second.
        if shutdown.lingers()
            && let Err(error) = closing::drop_new(&self.listener)
        {
            tracing::debug!(%error, "a connection that begins now may be reset");
        }
        Closing::begin()
    }

    /// Waits for the next connection, and if too many are open for one of them to close. Over HTTP/1.1 and net/rpc one
    /// that is idle is closed then.
    pub(crate) async fn accept(&self) -> Connection {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Without it, an answer written in two parts waits 40 ms for the peer's acknowledgement.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection was closed before it was accepted");
                        continue;
                    }
                    let slot = match self.protocol {
                        Protocol::Http1 => self.clients.make_slot_or_reserved().await,
                        Protocol::NetRpc => self.clients.make_slot().await,
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
        // A partial frame of rpc cannot be answered; a partial body, and a partial message of gRPC, can.
        let half_sent = self.half_sent.share(match self.protocol {
            Protocol::Unnamed | Protocol::NetRpc => Some(cut.clone()),
            Protocol::Http1 | Protocol::Http2 => None,
        });
        let unread = self.unread.share(Some(cut.clone()));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let begun = self.clients.begun();
        let client = Client::new(number, peer.ip().to_canonical(), half_sent, unread, cut, begun);
        let gives_way = match self.protocol {
            Protocol::Http1 | Protocol::NetRpc => !slot.reserved,
            Protocol::Http2 | Protocol::Unnamed => false,
        };
        let listed = gives_way.then(|| self.clients.list(&client));
        let stream = stream::Stream::new(stream, self.tls.as_ref().map(Serving::current));
        Connection::new(self.protocol, stream, client, listed, slot)
    }
}

/// Serves each connection of a port in a task of its own, until `shutdown` begins and the port is closed. Returns the
/// tasks that have not ended; dropped, they are aborted.
pub async fn serve_each<Serving>(
    acceptor: Acceptor,
    shutdown: Shutdown,
    mut serve: impl FnMut(Connection) -> Serving,
) -> JoinSet<()>
where
    Serving: Future<Output = ()> + Send + 'static,
{
    let mut connections = pin!(acceptor.connections(shutdown));
    let mut tasks = JoinSet::new();
    while let Some(connection) = connections.next().await {
        tasks.spawn(serve(connection));
        while tasks.try_join_next().is_some() {}
    }
    tasks
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port that was just closed may be opened again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
