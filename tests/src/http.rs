//! How a test asks over HTTP.

use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};

use crate::{
    keys::{self, Key},
    support::SOON,
    tls,
};

/// An HTTP client that gives up after [`SOON`]. It sends the key of the run, if there is one.
///
/// # Panics
/// If it cannot be built.
pub fn client() -> Client {
    client_with(keys::of_this_run())
}

/// An HTTP client that sends a key with every request that does not name another.
///
/// # Panics
/// If it cannot be built.
pub fn client_with(key: Option<&Key>) -> Client {
    let value = |key: &Key| HeaderValue::from_str(&key.bearer()).expect("a key is of ASCII");
    let headers: HeaderMap = key.map(|key| (AUTHORIZATION, value(key))).into_iter().collect();
    let builder = Client::builder().no_proxy().timeout(SOON).default_headers(headers);
    // Without TLS it still asks for a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = match tls::directory() {
        Some(directory) => builder.tls_backend_preconfigured(tls::client_config(directory, "broker")),
        None => builder,
    };
    builder.build().expect("a client")
}
