//! The connection to the trace collector, plain or TLS.
//!
//! tonic's own TLS stays off in this workspace: with it tonic rejects the TLS connections that a custom connector
//! opens for it, as `transport` does.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use anyhow::ensure;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tower_service::Service;

use crate::secret;

/// How long connecting may take, with its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects, for tonic.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    /// Whom it believes; `None`: nothing is encrypted.
    pub(super) tls: Option<Believed>,
}

type Stream = Either<TcpStream, TlsStream<TcpStream>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected =
            tokio::time::timeout(CONNECT_TIMEOUT, connect(uri, self.tls.as_ref().map(Believed::current)));
        Box::pin(async move { Ok(TokioIo::new(connected.await??)) })
    }
}

async fn connect(uri: Uri, tls: Option<Arc<ClientConfig>>) -> io::Result<Stream> {
    // As it stands in a URL, an IPv6 address has brackets.
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Either::Left(stream)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Either::Right(TlsConnector::from(tls).connect(name, stream).await?))
}

/// Whom to believe: the CA in a file of PEM, as it was when it was last read. We show no certificate; a collector may ask
/// for a key in a header. Clones share one state.
#[derive(Debug, Clone)]
pub(super) struct Believed {
    ca: PathBuf,
    current: watch::Sender<Arc<ClientConfig>>,
}

impl Believed {
    /// # Errors
    /// If there is no certificate in the file.
    pub(super) fn read(ca: &Path) -> anyhow::Result<Self> {
        Ok(Believed { ca: ca.to_owned(), current: watch::Sender::new(read(ca)?) })
    }

    /// Reads the file again, for new connections.
    ///
    /// # Errors
    /// As [`Believed::read`]; then nothing has changed.
    pub(super) fn reload(&self) -> anyhow::Result<()> {
        self.current.send_replace(read(&self.ca)?);
        Ok(())
    }

    fn current(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.current.borrow())
    }
}

fn read(ca: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let pem = secret::read_public_file(ca)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    ensure!(!roots.is_empty(), "no certificate in PEM found in {}", ca.display());
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A server of gRPC insists on the name of HTTP/2.
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
