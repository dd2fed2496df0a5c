//! Opening a connection to the logger, encrypted or not: the same for `http`, `rpc` and `grpc`.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use rustls::{
    AlertDescription, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tower_service::Service;

use crate::CONNECT_TIMEOUT;

/// With what encrypted connections are opened: what we show, and whom we believe.
#[derive(Clone)]
pub struct Tls {
    pub(crate) http: Arc<ClientConfig>,
    pub(crate) rpc: Arc<ClientConfig>,
    pub(crate) grpc: Arc<ClientConfig>,
    /// lapin takes PEM.
    pub(crate) rabbitmq: OwnedTLSConfig,
}

impl Tls {
    /// Reads PEM: our certificate with its chain, its private key, and the authority that we believe.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn from_pem(chain: &str, key: &str, authority: &str) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            roots.add(certificate?)?;
        }
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>()?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
        // A server of gRPC insists on the name of HTTP/2.
        let named = |alpn: &[u8]| {
            let mut named = config.clone();
            named.alpn_protocols = vec![alpn.to_vec()];
            Arc::new(named)
        };
        let identity = OwnedIdentity::PKCS8 { pem: chain.into(), key: key.into() };
        Ok(Tls {
            http: named(b"http/1.1"),
            grpc: named(b"h2"),
            rpc: Arc::new(config),
            rabbitmq: OwnedTLSConfig { identity: Some(identity), cert_chain: Some(authority.to_owned()) },
        })
    }
}

/// Without the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Why there can be no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or a key is not what it should be.
    #[error("a certificate or key cannot be used")]
    Unusable(#[from] rustls::Error),
    /// It is no PEM. The source would repeat a part of it.
    #[error("a certificate or key is not in PEM")]
    Pem,
    /// An address asks for TLS.
    #[error("{0} asks for TLS: give the settings TLS_CERT, TLS_KEY and TLS_CA of this service as well")]
    NoCertificates(String),
    /// An address does not ask for TLS.
    #[error("{0} is not encrypted though TLS is on: begin it with https://, tls:// or amqps://")]
    NotEncrypted(String),
}

impl From<pem::Error> for TlsError {
    fn from(_: pem::Error) -> Self {
        TlsError::Pem
    }
}

/// Holds the addresses, each by the name of its setting and with whether it is encrypted, against whether there are
/// certificates: TLS is on for every hop or for none, so that none is left out by mistake.
///
/// # Errors
/// If one is left out; the message names the setting.
pub fn check_encryption(tls: Option<&Tls>, addresses: &[(&str, bool)]) -> Result<(), TlsError> {
    let differing = addresses.iter().find(|(_, encrypted)| *encrypted != tls.is_some());
    match differing {
        None => Ok(()),
        Some((setting, true)) => Err(TlsError::NoCertificates((*setting).to_owned())),
        Some((setting, false)) => Err(TlsError::NotEncrypted((*setting).to_owned())),
    }
}

/// Opens connections, each within [`CONNECT_TIMEOUT`], with its TLS handshake.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    tls: Option<Arc<ClientConfig>>,
}

/// An open connection.
pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Dialer {
    pub(crate) fn new(tls: Option<Arc<ClientConfig>>) -> Self {
        Dialer { tls }
    }

    /// # Errors
    /// If there is no such host, nobody answers in time, or the other end is not who it should be.
    pub(crate) async fn dial(&self, host: &str, port: u16, encrypted: bool) -> io::Result<Stream> {
        let dialed = tokio::time::timeout(CONNECT_TIMEOUT, self.open(host, port, encrypted)).await;
        dialed.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long to connect")))
    }

    async fn open(&self, host: &str, port: u16, encrypted: bool) -> io::Result<Stream> {
        // As it stands in a URL, an IPv6 address has brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !encrypted {
            return Ok(Either::Left(stream));
        }
        let config = self.tls.clone().ok_or_else(|| io::Error::other("no certificates to encrypt with"))?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Either::Right(Box::new(stream)))
    }
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
            Ok(HttpStream(TokioIo::new(stream)))
        })
    }
}

/// A connection as hyper wants it.
#[derive(Debug)]
pub(crate) struct HttpStream(TokioIo<Stream>);

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

/// Whether the other end has refused our certificate. In TLS 1.3 that comes after the first request has been sent; but
/// who refuses a certificate has read nothing of what came after it.
pub(crate) fn refused_by_alert(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An io::Error does not name what it holds as its source, but the source of that.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let held = held.map(|error| error as &(dyn Error + 'static));
        let tls = held.unwrap_or(error).downcast_ref::<rustls::Error>();
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            return is_about_certificate(*alert);
        }
        cause = held.unwrap_or(error).source();
    }
    false
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    [
        AlertDescription::AccessDenied,
        AlertDescription::BadCertificate,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateRequired,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateUnknown,
        AlertDescription::DecryptError,
        AlertDescription::UnknownCA,
        AlertDescription::UnsupportedCertificate,
    ]
    .contains(&alert)
}
