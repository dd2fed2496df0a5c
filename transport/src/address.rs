//! The addresses of the logger, one type for each direct transport.

use std::{num::NonZeroU16, str::FromStr};

use http::Uri;

/// An address that no connection can be made with: what it should be, with an example. It leaves out what was
/// given, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct AddressError(pub(crate) &'static str);

/// The logger's HTTP address: scheme, host and port.
#[derive(Debug, Clone)]
pub struct HttpUrl(Uri);

impl FromStr for HttpUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let expected = AddressError("a URL of scheme, host and port such as http://127.0.0.1:8082");
        parse_base_url(text).map(HttpUrl).ok_or(expected)
    }
}

impl HttpUrl {
    /// Whether it asks for TLS.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

/// The logger's rpc address: host and port, after `tls://` if it is to be encrypted.
#[derive(Debug, Clone)]
pub struct RpcAddr {
    encrypted: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for RpcAddr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let expected = AddressError("a host and port such as 127.0.0.1:5002, or tls://127.0.0.1:5002");
        let (encrypted, rest) = match text.strip_prefix("tls://") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (host, port) = rest.rsplit_once(':').ok_or(expected)?;
        let port = port.parse::<NonZeroU16>().map_err(|_| expected)?.get();
        if host.is_empty() || host.contains('/') {
            return Err(expected);
        }
        Ok(RpcAddr { encrypted, host: host.to_owned(), port })
    }
}

impl RpcAddr {
    /// Whether it asks for TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

/// The logger's gRPC address: scheme, host and port.
#[derive(Debug, Clone)]
pub struct GrpcUrl(Uri);

impl FromStr for GrpcUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let expected = AddressError("a URL of scheme, host and port such as http://127.0.0.1:50001");
        parse_base_url(text).map(GrpcUrl).ok_or(expected)
    }
}

impl GrpcUrl {
    /// Whether it asks for TLS.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Reads a URL of scheme, host and port. A user, a query or a fragment would pass in silence, since no client looks
/// at them; for a port that is none, all clients would take port 80.
fn parse_base_url(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let sound_port = match authority.as_str().strip_prefix(authority.host())? {
        "" => true,
        _ => authority.port_u16().is_some_and(|port| port > 0),
    };
    let nothing_else = uri.path() == "/" && uri.query().is_none() && !text.contains(['@', '#']);
    let sound_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let sound = sound_scheme && !authority.host().is_empty() && sound_port && nothing_else;
    sound.then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_a_client_would_read_otherwise_is_refused() {
        for text in ["https://127.0.0.1:8082", "http://logger:8082/", "http://[::1]:8082", "http://logger"] {
            assert!(parse_base_url(text).is_some(), "{text}");
        }
        for text in [
            "http://logger:80820",
            "http://logger:0",
            "http://logger:",
            "http://logger:port",
            "http://:8082",
            "http://user@logger:8082",
            "http://logger@logger:8082",
            "http://logger:8082#place",
            "http://logger:8082?key=value",
            "http://logger:8082/log",
            "ftp://logger:8082",
            "logger:8082",
        ] {
            assert!(parse_base_url(text).is_none(), "{text}");
        }
    }
}
