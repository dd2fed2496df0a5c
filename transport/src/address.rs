//! The addresses of the logger, one type for each direct transport, and a list of them.

use std::{net::SocketAddr, num::NonZeroU16, str::FromStr};

use http::{Uri, uri::PathAndQuery};

/// Most addresses in a list: more loggers than one PostgreSQL has use for, or nodes than a RabbitMQ cluster.
pub(crate) const MOST_ADDRESSES: usize = 16;

/// An address that no connection can be made with: what it should be, with an example. It leaves out what was
/// given, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error("expected {0}")]
    Unsound(&'static str),
    /// In a list, this one is none.
    #[error("address {position} of {count} in the list: expected {expected}")]
    UnsoundInList {
        /// What it should be.
        expected: &'static str,
        /// Which it is, counted from 1.
        position: usize,
        /// How many the list has.
        count: usize,
    },
    /// The list is too long.
    #[error("{0} addresses: give at most {MOST_ADDRESSES}, separated by commas")]
    TooMany(usize),
}

/// One address, or several with commas between them.
#[derive(Debug, Clone)]
pub struct Addresses<A>(Vec<A>);

impl<A: FromStr<Err = AddressError>> FromStr for Addresses<A> {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parts: Vec<&str> = text.split(',').collect();
        parse_list(&parts).map(Addresses)
    }
}

impl<A> Addresses<A> {
    /// The first, which there always is.
    pub fn first(&self) -> &A {
        &self.0[0]
    }

    /// All of them, in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, A> {
        self.0.iter()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn only(address: A) -> Self {
        Addresses(vec![address])
    }
}

/// Reads the addresses of a list, which has one at least.
pub(crate) fn parse_list<A: FromStr<Err = AddressError>>(parts: &[&str]) -> Result<Vec<A>, AddressError> {
    let count = parts.len();
    if count > MOST_ADDRESSES {
        return Err(AddressError::TooMany(count));
    }
    let parse = |(at, part): (usize, &&str)| match part.trim().parse() {
        Err(AddressError::Unsound(expected)) if count > 1 => {
            Err(AddressError::UnsoundInList { expected, position: at + 1, count })
        }
        parsed => parsed,
    };
    parts.iter().enumerate().map(parse).collect()
}

/// The logger's HTTP address: scheme, host and port, and the path that its own begin with.
#[derive(Debug, Clone)]
pub struct HttpUrl(Uri);

impl FromStr for HttpUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let expected = AddressError::Unsound(
            "a URL of scheme, host and port such as http://127.0.0.1:8082, and the path before /log if there is one",
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
        let expected = AddressError::Unsound(
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
        if host.is_empty() || host.contains('/') || host.contains(char::is_whitespace) {
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
        let expected = AddressError::Unsound("a URL of scheme, host and port such as http://127.0.0.1:50001");
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
    fn a_list_has_commas_between_its_addresses_and_says_which_is_none() {
        let hosts = |text: &str| {
            let list: Addresses<RpcAddr> = text.parse()?;
            Ok(list.iter().map(|address| address.host.clone()).collect::<Vec<_>>())
        };
        assert_eq!(hosts("one:5002"), Ok(vec!["one".to_owned()]));
        assert_eq!(
            hosts("one:1, tls://two:2,three:3"),
            Ok(["one", "two", "three"].map(str::to_owned).to_vec())
        );
        assert!(matches!(hosts("one"), Err(AddressError::Unsound(_))));
        for (text, position) in [("one:1,two", 2), ("one:1,", 2), (",one:1", 1), ("one:1,a b:2", 2)] {
            let told = hosts(text).expect_err(text);
            assert!(
                matches!(told, AddressError::UnsoundInList { position: at, count: 2, .. } if at == position),
                "{told}"
            );
        }
        let many = |count| vec!["one:1"; count].join(",");
        assert_eq!(hosts(&many(MOST_ADDRESSES)).map(|hosts| hosts.len()), Ok(MOST_ADDRESSES));
        let told = hosts(&many(MOST_ADDRESSES + 1)).expect_err("one too many");
        assert_eq!(told.to_string(), "17 addresses: give at most 16, separated by commas");
    }

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
