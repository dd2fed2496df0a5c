//! The client side of the four transports.
//!
//! One file per transport, all with the same outline: settings in, `write` out for one entry or many, a `ping` where the
//! logger is one hop away, a `reachable` to ask, and at the end what the protocol's errors mean for the entries. Laid side
//! by side, only the protocol differs. [`Transports`] holds the four and puts one deadline, one span and one measure of
//! time around whichever is asked for: otherwise a comparison would compare policies.
//!
//! In front of them is one gathering stage: single entries that find others under way wait until a call can take several
//! of them along.
//!
//! No transport retries a delivery. Each reconnects by itself, with capped and jittered backoff.

mod admission;
mod backoff;
mod clients;
mod connection;
mod dial;
mod endpoints;
mod gather;
mod metrics;
mod receipts;
mod settings;
mod stage;
mod tls;
mod traced;
mod transports;

#[cfg(feature = "faults")]
pub mod faults;
pub mod grpc;
pub mod http;
pub mod rabbitmq;
pub mod rpc;

pub use backoff::Waits;
pub use endpoints::Endpoints;
pub use receipts::Receipts;
pub use settings::Settings;
pub use tls::{Tls, TlsError, check_encryption};
pub use transports::{Delivered, Transports};

use std::{net::SocketAddr, time::Duration};

use ::http::Uri;

/// How long a connection may take to open, which the other end's kernel sees to. Far above a healthy one, far below the
/// deadline.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the other end itself may take for its first answer on an open connection: to shake hands over TLS, or to say
/// its version. It has other work too; with [`CONNECT_TIMEOUT`] it is half of the deadline.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// An address that no connection can be made with: what it should be, with an example. It leaves out what was
/// given, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct AddressError(pub(crate) &'static str);

/// Reads a URL of scheme, host and port. A user, a query or a fragment would pass in silence, since no client looks
/// at them; for a port that is none, all clients would take port 80.
pub(crate) fn parse_base_url(text: &str) -> Option<Uri> {
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
pub(crate) fn authority(uri: &Uri) -> (String, u16) {
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(default))
}

/// The same URL with another host and port.
pub(crate) fn at_address(uri: &Uri, address: SocketAddr) -> Uri {
    let scheme = uri.scheme_str().unwrap_or("http");
    format!("{scheme}://{address}").parse().expect("a scheme and an address make a URL")
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
        ] {
            let uri = parse_base_url(text).expect("sound");
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
}
