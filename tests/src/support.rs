//! What every test needs: how long to wait, how to ask, and for what.

use std::time::Duration;

use proto::Transport;

/// How long a test waits for something that should happen soon, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(30);

/// The transports that lead to the logger without a queue between.
pub const DIRECT: [Transport; 3] = [Transport::Http, Transport::Rpc, Transport::Grpc];

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
