//! The connection to the collector of traces, encrypted or not.
//!
//! tonic's own TLS stays off in this workspace: with it tonic refuses the encrypted connections that others open for
//! it, as `transport` does.

use std::{
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use anyhow::{Context, ensure};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;
use tower_service::Service;

/// How long connecting may take, with its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects, for tonic.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    /// Whom it believes; `None`: nothing is encrypted.
    pub(super) tls: Option<Arc<ClientConfig>>,
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
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(uri, self.tls.clone()));
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

/// Whom to believe: the authority in a file of PEM. We show no certificate; a collector may ask for a key in a header.
pub(super) fn believing(authority: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let shown = authority.display();
    let pem = std::fs::read(authority).with_context(|| format!("cannot read {shown}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate?)?;
    }
    ensure!(!roots.is_empty(), "there is no certificate in PEM in {shown}");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A server of gRPC insists on the name of HTTP/2.
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
