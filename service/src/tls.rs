//! TLS: who a service is, and whom it trusts. The one implementation is rustls, the one crypto provider ring.

mod certificates;
mod names;

use std::{fmt, sync::Arc};

use anyhow::Context;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use self::names::Named;
pub use self::{
    certificates::{Certificates, Serving},
    names::{Name, NoName},
};

/// Which clients are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callers {
    /// Any; it is authenticated by other means.
    Anyone,
    /// Those with a certificate signed by our CA that holds one of these names.
    Named(Vec<Name>),
}

/// A protocol, by its name in TLS (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, for gRPC: its clients insist on the name.
    Http2,
    /// One without a registered name.
    Unnamed,
    /// Go's net/rpc, which has no name either: many of its clients leave a connection open for each call.
    NetRpc,
}

/// A service's certificate with its key, and the CA that it trusts.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ca: Arc<RootCertStore>,
    chain_pem: String,
    key_pem: String,
    ca_pem: String,
}

impl Identity {
    /// Reads PEM.
    ///
    /// # Errors
    /// If there is no certificate or key in it.
    pub fn from_pem(chain_pem: String, key_pem: String, ca_pem: String) -> anyhow::Result<Self> {
        let certificates = |pem: &str| -> anyhow::Result<Vec<CertificateDer<'static>>> {
            let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?;
            anyhow::ensure!(!found.is_empty(), "no certificate in PEM found");
            Ok(found)
        };
        let mut ca = RootCertStore::empty();
        for certificate in certificates(&ca_pem).context("the CA file")? {
            ca.add(certificate).context("the CA certificate cannot be used")?;
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            // The cause could repeat a part of the file.
            .map_err(|_| anyhow::anyhow!("no private key in PEM found in the key file"))?;
        let chain = certificates(&chain_pem).context("the certificate file")?;
        let identity = Identity { chain, key, ca: Arc::new(ca), chain_pem, key_pem, ca_pem };
        // So that a key of another certificate shows now, and not at the first connection.
        identity.server(&Callers::Named(Vec::new()), Protocol::Unnamed)?;
        Ok(identity)
    }

    /// How to serve with it.
    ///
    /// # Errors
    /// If certificate and key do not belong together.
    pub fn server(&self, callers: &Callers, protocol: Protocol) -> anyhow::Result<Arc<ServerConfig>> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match callers {
            Callers::Anyone => builder.with_no_client_auth(),
            Callers::Named(names) => {
                let ca = Arc::clone(&self.ca);
                let signed = WebPkiClientVerifier::builder_with_provider(ca, provider()).build()?;
                let named = Named { signed, names: names.clone() };
                builder.with_client_cert_verifier(Arc::new(named))
            }
        };
        let mut config = builder
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .context("certificate and key do not match")?;
        config.alpn_protocols = protocol.alpn();
        Ok(Arc::new(config))
    }

    /// How to call a server whose certificate our CA has signed, over HTTP/1.1.
    ///
    /// # Errors
    /// If certificate and key do not belong together.
    pub fn client(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.ca))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .context("certificate and key do not match")?;
        config.alpn_protocols = Protocol::Http1.alpn();
        Ok(Arc::new(config))
    }

    /// The certificate and its chain in PEM.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The private key in PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The CA's certificate in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

impl Protocol {
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
            Protocol::Unnamed | Protocol::NetRpc => Vec::new(),
        }
    }
}

/// How a server is called that is none of ours, a database: its certificate must be signed by the CA in `ca_pem` and be
/// for the host that is called. `own` is shown if it asks for a certificate.
///
/// # Errors
/// If there is no certificate in it.
pub fn client(ca_pem: &str, own: Option<&Identity>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut ca = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        ca.add(certificate?).context("the CA certificate cannot be used")?;
    }
    anyhow::ensure!(!ca.is_empty(), "no certificate in PEM found");
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(ca);
    Ok(Arc::new(match own {
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        None => builder.with_no_client_auth(),
    }))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
