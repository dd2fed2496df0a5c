//! TLS on the way to the logger and RabbitMQ: what we show, whom we believe, and what a refusal says.

use std::{
    error::Error,
    fmt, io,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use rustls::{
    AlertDescription, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

/// With what encrypted connections are opened: what we show, and whom we believe. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Configs>>);

/// What is spoken on a connection: a server insists on the name that it has in TLS (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Rpc,
    Grpc,
}

struct Configs {
    http: Arc<ClientConfig>,
    rpc: Arc<ClientConfig>,
    grpc: Arc<ClientConfig>,
    /// lapin takes PEM: our certificate with its chain, its private key, and the CA that we trust.
    amqp: OwnedTLSConfig,
}

impl Tls {
    /// Reads PEM: our certificate with its chain, its private key, and the CA that we trust.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn from_pem(chain: &str, key: &str, ca: &str) -> Result<Self, TlsError> {
        Ok(Tls(Arc::new(RwLock::new(Configs::from_pem(chain, key, ca)?))))
    }

    /// Opens connections with others from now on; those that are open stay. Takes PEM as [`Tls::from_pem`].
    ///
    /// # Errors
    /// If they cannot be used; then nothing has changed.
    pub fn replace(&self, chain: &str, key: &str, ca: &str) -> Result<(), TlsError> {
        let configs = Configs::from_pem(chain, key, ca)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = configs;
        Ok(())
    }

    /// With what to open a connection now.
    pub(crate) fn config(&self, protocol: Protocol) -> Arc<ClientConfig> {
        let configs = self.read();
        Arc::clone(match protocol {
            Protocol::Http => &configs.http,
            Protocol::Rpc => &configs.rpc,
            Protocol::Grpc => &configs.grpc,
        })
    }

    /// The same for RabbitMQ.
    pub(crate) fn amqp(&self) -> OwnedTLSConfig {
        self.read().amqp.clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Configs> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Configs {
    fn from_pem(chain: &str, key: &str, ca: &str) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Pem);
        }
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>()?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
        let named = |alpn: &[u8]| {
            let mut named = config.clone();
            named.alpn_protocols = vec![alpn.to_vec()];
            Arc::new(named)
        };
        let identity = OwnedIdentity::PKCS8 { pem: chain.as_bytes().to_vec(), key: key.as_bytes().to_vec() };
        Ok(Configs {
            http: named(b"http/1.1"),
            grpc: named(b"h2"),
            rpc: Arc::new(config),
            amqp: OwnedTLSConfig { identity: Some(identity), cert_chain: Some(ca.to_owned()) },
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
    /// It is no PEM, or holds no certificate. The source would repeat a part of it.
    #[error("a certificate or key is missing, or not in PEM")]
    Pem,
    /// An address asks for TLS.
    #[error("{0} asks for TLS: give the three settings that end with TLS_CERT, TLS_KEY and TLS_CA as well")]
    NoCertificates(String),
    /// An address does not ask for TLS.
    #[error(
        "{0} is not encrypted though TLS is on: begin it with https://, or tls:// (netrpc+tls://) for rpc, or amqps:// for RabbitMQ"
    )]
    NotEncrypted(String),
}

impl From<pem::Error> for TlsError {
    fn from(_: pem::Error) -> Self {
        TlsError::Pem
    }
}

/// Checks that TLS is on for every hop or for none, so that none is left out by mistake. `addresses`: the name of each
/// setting, and whether its address is encrypted.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_refused() {
        // A key in its place, for instance, is PEM as well.
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for ca in ["", "nothing of PEM", key] {
            let refused = Tls::from_pem("", key, ca).expect_err("there is no CA");
            assert!(matches!(refused, TlsError::Pem), "{ca:?}: {refused}");
        }
    }
}
