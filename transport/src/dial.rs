//! Opening a connection to the logger, encrypted or not: the same for `http`, `rpc` and `grpc`.

use std::{
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use gathered::Gathered;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tower_service::Service;

use crate::{
    CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT,
    tls::{Protocol, Tls},
    wire::{Counted, Wire},
};

/// Opens connections, each within [`CONNECT_TIMEOUT`], and shakes hands over TLS within [`HANDSHAKE_TIMEOUT`].
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    tls: Option<Tls>,
    protocol: Protocol,
    gathers: bool,
    wire: Option<Arc<Wire>>,
    /// Where the host's name leads; `None`: it is looked up for each connection.
    ip: Option<IpAddr>,
}

/// An open connection.
pub(crate) type Stream = Either<Counted<TcpStream>, Box<TlsStream<Counted<TcpStream>>>>;

impl Dialer {
    pub(crate) fn new(tls: Option<&Tls>, protocol: Protocol) -> Self {
        Dialer { tls: tls.cloned(), protocol, gathers: false, wire: None, ip: None }
    }

    /// For connections that carry many calls at a time.
    pub(crate) fn gathering(self) -> Self {
        Dialer { gathers: true, ..self }
    }

    /// For connections whose bytes are counted.
    pub(crate) fn counting(self, wire: &Arc<Wire>) -> Self {
        Dialer { wire: Some(Arc::clone(wire)), ..self }
    }

    /// For connections to one of the addresses that the host's name has. The certificate is the name's all the same.
    pub(crate) fn to(self, ip: Option<IpAddr>) -> Self {
        Dialer { ip, ..self }
    }

    /// # Errors
    /// If there is no such host, nobody answers in time, or the other end is not who it should be.
    pub(crate) async fn dial(&self, host: &str, port: u16, encrypted: bool) -> io::Result<Stream> {
        // As it stands in a URL, an IPv6 address has brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let late = "it took too long to connect";
        let connected = async {
            match self.ip {
                Some(ip) => TcpStream::connect((ip, port)).await,
                None => TcpStream::connect((host, port)).await,
            }
        };
        let stream = in_time(CONNECT_TIMEOUT, late, connected).await?;
        stream.set_nodelay(true)?;
        let stream = Counted::new(stream, self.wire.clone());
        if !encrypted {
            return Ok(Either::Left(stream));
        }
        let tls = self.tls.as_ref().ok_or_else(|| io::Error::other("no certificates to encrypt with"))?;
        // As they are now: they may have been read again.
        let config = tls.config(self.protocol);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let late = "it took too long to shake hands over TLS";
        let stream =
            in_time(HANDSHAKE_TIMEOUT, late, TlsConnector::from(config).connect(name, stream)).await?;
        Ok(Either::Right(Box::new(stream)))
    }
}

/// What an operation of the network comes to within its limit.
///
/// # Errors
/// Its own, or that it is late.
pub(crate) async fn in_time<T>(
    limit: Duration,
    late: &'static str,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, late)))
}

/// As hyper and tonic ask for a connection.
impl Service<Uri> for Dialer {
    type Response = HttpStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<HttpStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let encrypted = uri.scheme_str() == Some("https");
            let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
            let stream = dialer.dial(uri.host().unwrap_or_default(), port, encrypted).await?;
            let gathered =
                if dialer.gathers { Either::Left(Gathered::new(stream)) } else { Either::Right(stream) };
            Ok(HttpStream(TokioIo::new(gathered)))
        })
    }
}

/// A connection as hyper wants it.
#[derive(Debug)]
pub(crate) struct HttpStream(TokioIo<Either<Gathered<Stream>, Stream>>);

impl Connection for HttpStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for HttpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }
}
