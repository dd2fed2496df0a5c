//! Identifies a client by the names in its certificate: that our CA signed it only means that it is one of
//! ours.

use std::{fmt, str::FromStr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{danger::HandshakeSignatureValid, verify_server_name},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// A name that a certificate may hold as a DNS name or an IP address (`subjectAltName`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(ServerName<'static>);

/// It is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected comma-separated DNS names or IP addresses such as broker,listener")]
pub struct NoName;

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        ServerName::try_from(text.trim().to_owned()).map(Name).map_err(|_| NoName)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_str())
    }
}

/// Accepts those of the certificates that `signed` accepts which hold one of the names.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) signed: Arc<dyn ClientCertVerifier>,
    pub(super) names: Vec<Name>,
}

impl Named {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        let mut presented = Vec::new();
        for Name(name) in &self.names {
            match verify_server_name(&certificate, name) {
                Ok(()) => return Ok(()),
                Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                    presented: names,
                    ..
                })) => presented = names,
                Err(_) => {}
            }
        }
        let expected = self.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        tracing::warn!(
            expected,
            ?presented,
            "client certificate rejected: signed by our CA, but with none of the allowed names"
        );
        Err(CertificateError::NotValidForName.into())
    }
}

impl ClientCertVerifier for Named {
    fn offer_client_auth(&self) -> bool {
        self.signed.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.signed.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.signed.verify_client_cert(end_entity, intermediates, now)?;
        self.check(end_entity).map(|()| verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_certificate_can_hold() {
        for text in ["broker", "broker.example.org", "10.0.0.1", "::1", " listener"] {
            assert_eq!(text.parse::<Name>().map(|name| name.to_string()).as_deref(), Ok(text.trim()));
        }
        for text in ["", "*", "a b", "https://broker", "-"] {
            assert_eq!(text.parse::<Name>(), Err(NoName), "{text}");
        }
    }
}
