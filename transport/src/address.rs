//! The addresses of the logger, one type for each direct transport.

use std::{net::SocketAddr, num::NonZeroU16, str::FromStr};

use http::{Uri, uri::PathAndQuery};

/// An address that no connection can be made with: what it should be, with an example. It leaves out what was
/// given, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct AddressError(pub(crate) &'static str);

/// The logger's HTTP address: scheme, host and port, and the path that its own begin with.
#[derive(Debug, Clone)]
pub struct HttpUrl(Uri);

impl FromStr for HttpUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let expected = AddressError(
            "a URL of scheme, host and port such as http://127.0.0.1:8082, with the path before /log where there is one",
        );
        parse_http_url(text).map(HttpUrl).ok_or(expected)
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

    /// Its host and port.
    pub(crate) fn authority(&self) -> (String, u16) {
        authority(&self.0)
    }

    /// The same with another host and port.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        HttpUrl(at_address(&self.0, address))
    }
}

/// The logger's rpc address: host and port, after `tls://` if it is to be encrypted, and after `netrpc://` or
/// `netrpc+tls://` if net/rpc is spoken there.
#[derive(Debug, Clone)]
pub struct RpcAddr {
    encrypted: bool,
    net_rpc: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for RpcAddr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let expected = AddressError(
            "a host and port such as 127.0.0.1:5002 or tls://127.0.0.1:5002, or netrpc://127.0.0.1:5001 or \
             netrpc+tls://127.0.0.1:5001 for a logger in Go",
        );
        let schemes = [("tls://", true, false), ("netrpc://", false, true), ("netrpc+tls://", true, true)];
        let known = schemes
            .into_iter()
            .find_map(|(scheme, encrypted, net_rpc)| Some((encrypted, net_rpc, text.strip_prefix(scheme)?)));
        let (encrypted, net_rpc, rest) = known.unwrap_or((false, false, text));
        let (host, port) = rest.rsplit_once(':').ok_or(expected)?;
        let port = port.parse::<NonZeroU16>().map_err(|_| expected)?.get();
        if host.is_empty() || host.contains('/') {
            return Err(expected);
        }
        Ok(RpcAddr { encrypted, net_rpc, host: host.to_owned(), port })
    }
}

impl RpcAddr {
    /// Whether it asks for TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether net/rpc is spoken there.
    pub fn is_net_rpc(&self) -> bool {
        self.net_rpc
    }

    /// Its host and port.
    pub(crate) fn authority(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }

    /// The same with another host and port.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        RpcAddr { host: address.ip().to_string(), port: address.port(), ..self.clone() }
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

    /// Its host and port.
    pub(crate) fn authority(&self) -> (String, u16) {
        authority(&self.0)
    }

    /// The same with another host and port.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        GrpcUrl(at_address(&self.0, address))
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

/// Host and port of a URL that [`parse_base_url`] has read.
fn authority(uri: &Uri) -> (String, u16) {
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(default))
}

/// The same URL with another host and port.
fn at_address(uri: &Uri, address: SocketAddr) -> Uri {
    let (scheme, path) = (uri.scheme_str().unwrap_or("http"), uri.path());
    format!("{scheme}://{address}{path}").parse().expect("a scheme, an address and a path make a URL")
}

/// As the course writes it, with the address of its one call, or without.
fn parse_http_url(text: &str) -> Option<Uri> {
    let begin = text.find("://")? + "://".len();
    let path_at = text[begin..].find('/').map_or(text.len(), |at| begin + at);
    let (base, path) = text.split_at(path_at);
    let base = parse_base_url(base)?;
    let path = path.strip_suffix("/log").unwrap_or(path).trim_end_matches('/');
    if path.is_empty() {
        return Some(base);
    }
    let sound = !path.contains(['?', '#', '@']) && !path.contains("//");
    sound.then(|| at(&base, path).ok()).flatten()
}

/// The address of a path behind that of `base`, and what is asked there.
pub(crate) fn at(base: &Uri, path_and_query: &str) -> Result<Uri, http::Error> {
    let path_and_query = format!("{}{path_and_query}", base.path().trim_end_matches('/'));
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query)?);
    Ok(Uri::from_parts(parts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_elsewhere_and_stays_as_encrypted_as_it_was() {
        let elsewhere = "127.0.0.1:7".parse().expect("an address");
        for (text, host, port, moved) in [
            ("http://logger", "logger", 80, "http://127.0.0.1:7/"),
            ("https://[::1]:8082", "[::1]", 8082, "https://127.0.0.1:7/"),
            ("http://logger/api/log", "logger", 80, "http://127.0.0.1:7/api"),
        ] {
            let uri = parse_http_url(text).expect("sound");
            assert_eq!(authority(&uri), (host.to_owned(), port));
            assert_eq!(at_address(&uri, elsewhere).to_string(), moved);
        }
    }

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

    #[test]
    fn an_address_may_have_a_path_with_or_without_that_of_the_call() {
        for (text, log) in [
            ("http://127.0.0.1:8082", "http://127.0.0.1:8082/log"),
            ("http://127.0.0.1:8082/", "http://127.0.0.1:8082/log"),
            ("http://127.0.0.1:8082/log", "http://127.0.0.1:8082/log"),
            ("http://logger-service/api", "http://logger-service/api/log"),
            ("http://logger-service/api/", "http://logger-service/api/log"),
            ("https://logger-service/api/log", "https://logger-service/api/log"),
            ("http://[::1]:80/a/b/log", "http://[::1]:80/a/b/log"),
        ] {
            let HttpUrl(base) = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(at(&base, "/log").expect("a path").to_string(), log);
            assert!(at(&base, "/logs?limit=1").expect("a path").to_string().ends_with("/logs?limit=1"));
        }
        for text in [
            "http://logger/a?b=c",
            "http://logger/a#b",
            "http://u@logger/a",
            "http://logger//a",
            "http://logger/\u{e4} b",
            "/log",
        ] {
            assert!(text.parse::<HttpUrl>().is_err(), "{text}");
        }
    }
}
