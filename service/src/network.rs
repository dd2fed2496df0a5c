//! Which addresses a service may listen on, and which host names it answers to.

use std::net::{IpAddr, SocketAddr};

use anyhow::bail;
use http::{HeaderMap, header, uri::Authority};

/// Refuses an address that other machines can reach while something protects it less than it should: `missing` names
/// the settings that would help. `allowed` is the word of `ALLOW_INSECURE_NETWORK`.
///
/// # Errors
/// If it is refused; the message says what to set.
pub fn check_exposure(
    setting: &str,
    address: SocketAddr,
    missing: &[&str],
    allowed: bool,
) -> anyhow::Result<()> {
    if is_loopback(address) || missing.is_empty() || allowed {
        return Ok(());
    }
    bail!(
        "{setting} {address} can be reached from other machines: set {} as well (SECURITY.md), or \
         ALLOW_INSECURE_NETWORK=true if anyone in that network may read and write all entries",
        missing.join(" and ")
    );
}

/// Whether other machines cannot reach an address.
pub fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The host that a request is for, without its port; `None` if it does not say.
pub fn asked_host(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?;
    // What is none is kept as it is, so that it is not taken for a request without one. A host has no user before it:
    // `evil.example:80@localhost` is not localhost.
    let authority = host.to_str().ok().filter(|host| !host.contains('@'));
    let authority = authority.and_then(|host| host.parse::<Authority>().ok());
    Some(authority.map_or_else(String::new, |authority| authority.host().to_ascii_lowercase()))
}

/// Whether a host is no name that somebody else can make lead to this machine (DNS rebinding): an IP address, or
/// localhost. A browser takes a page of such a name for one of ours, and says nothing of where it comes from.
pub fn is_own_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || address.parse::<IpAddr>().is_ok()
}

/// Whether a host is this machine, by its name or address.
pub fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_are_let_in_only_with_protection_or_by_the_flag() {
        let wide = ["0.0.0.0:80", "[::]:80", "192.168.1.7:80", "[::ffff:10.0.0.1]:80"];
        let narrow = ["127.0.0.1:80", "127.8.8.8:80", "[::1]:80", "[::ffff:127.0.0.1]:80"];
        let check = |address: &str, missing: &[&str], allowed| {
            check_exposure("X_LISTEN", address.parse().expect("an address"), missing, allowed)
        };
        for address in wide {
            let error = check(address, &["X_TLS_CERT"], false).expect_err(address).to_string();
            assert!(error.contains("X_LISTEN") && error.contains("X_TLS_CERT"), "{error}");
            assert!(check(address, &["X_TLS_CERT"], true).is_ok(), "{address}");
            assert!(check(address, &[], false).is_ok(), "{address}");
        }
        for address in narrow {
            assert!(check(address, &["X_TLS_CERT"], false).is_ok(), "{address}");
        }
    }

    #[test]
    fn a_host_is_own_if_nobody_can_make_it_lead_here() {
        for host in
            ["localhost", "localhost:8080", "LOCALHOST", "a.localhost", "127.0.0.1:1", "[::1]:80", "10.0.0.1"]
        {
            assert!(is_own_host(&asked(host)), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.nip.io",
            "notlocalhost",
            "",
            "a b",
            "\u{e4}",
            "evil.example:80@localhost",
            "@127.0.0.1",
        ] {
            assert!(!is_own_host(&asked(host)), "{host}");
        }
        assert_eq!(asked_host(&HeaderMap::new()), None);
    }

    fn asked(host: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, http::HeaderValue::from_bytes(host.as_bytes()).expect("a value"));
        asked_host(&headers).expect("it says")
    }
}
