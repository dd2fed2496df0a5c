//! Which addresses a service may open.

use std::net::SocketAddr;

use anyhow::bail;

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
    if address.ip().to_canonical().is_loopback() || missing.is_empty() || allowed {
        return Ok(());
    }
    bail!(
        "{setting} {address} can be reached from other machines: set {} as well (SECURITY.md), or \
         ALLOW_INSECURE_NETWORK=true if everybody in that network may read and write all entries",
        missing.join(" and ")
    );
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
}
