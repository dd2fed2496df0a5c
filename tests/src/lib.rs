//! The harness: starts the real binaries on free ports with a store of their own and a virtual host of their
//! own in RabbitMQ, and stops them when the test ends.

pub mod binaries;
pub mod browser;
#[cfg(test)]
mod circles;
#[cfg(test)]
mod claims;
pub mod clock;
pub mod cluster;
pub mod collector;
#[cfg(test)]
mod deploy;
pub mod disk;
#[cfg(test)]
mod documents;
pub mod golang;
pub mod keys;
#[cfg(test)]
mod lengths;
pub mod node;
pub mod process;
pub mod prometheus;
pub mod rabbitmq;
pub mod raw;
pub mod stack;
pub mod tls;
pub mod torture;
pub mod voice;

use std::time::Duration;

use proto::{Direct, Transport};
use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};

/// How long a test waits for something that should happen soon, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(30);

/// The transports that lead to the logger without a queue between.
pub const DIRECT: [Transport; Direct::ALL.len()] = {
    let mut all = [Transport::Http; Direct::ALL.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = Direct::ALL[at].transport();
        at += 1;
    }
    all
};

/// A client generated from the course's own two-field proto.
#[expect(missing_docs, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod course {
    tonic::include_proto!("logs");
}

/// Polls `condition` until it gives something.
///
/// # Errors
/// If it has not within [`SOON`]; `what` says what was awaited.
pub async fn soon<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    rig::eventually(what, SOON, condition).await
}

/// As [`soon`], and fails the test.
///
/// # Panics
/// If the time is up.
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    soon(what, condition).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A variable of the environment that `deploy/rabbitmq.sh with-test-node` sets.
pub(crate) fn required(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run the tests by `make test`, or by `deploy/rabbitmq.sh with-test-node cargo test`")
    })
}

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
pub fn client_with(key: Option<&keys::Key>) -> Client {
    let value = |key: &keys::Key| HeaderValue::from_str(&key.bearer()).expect("a key is of ASCII");
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
