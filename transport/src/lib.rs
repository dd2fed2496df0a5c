//! The client side of the four transports.
//!
//! One file per transport, all with the same outline: settings in, `write` and `write_batch` out, a `reachable`
//! to ask, and at the end what the protocol's errors mean for the entry. Laid side by side, only the protocol
//! differs. [`Transports`] holds the four and puts one deadline, one span and one measure of time around
//! whichever is asked for: otherwise a comparison would compare policies.
//!
//! No transport retries a delivery. Each reconnects by itself, with capped and jittered backoff.

mod admission;
mod backoff;
mod dial;
mod transports;

#[cfg(feature = "faults")]
pub mod faults;
pub mod grpc;
pub mod http;
pub mod rabbitmq;
pub mod rpc;

pub use dial::{Tls, TlsError, check_encryption};
pub use transports::{Settings, Transports};

use std::time::Duration;

/// How long a connection may take to open. Far above a healthy one, far below the deadline.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// An address that no connection can be made with: what it should be, with an example. It leaves out what was
/// given, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give {0}")]
pub struct AddressError(pub(crate) &'static str);
