//! The client side of the four transports.
//!
//! One file per transport, all with the same outline: settings in, `write` out for one entry or many, a `ping` where the
//! logger is one hop away, a `reachable` to ask, and at the end what the protocol's errors mean for the entries. Laid side
//! by side, only the protocol differs. [`Transports`] holds the four and puts one deadline, one span and one measure of
//! time around whichever is asked for: otherwise a comparison would compare policies. Where there are several loggers,
//! each has clients of its own, and `loggers` chooses between them.
//!
//! In front of them is one gathering stage: single entries that find others under way wait until a call can take several
//! of them along.
//!
//! No transport retries a delivery; what one of several loggers has certainly not stored goes on to one other. Each
//! reconnects by itself, with capped and jittered backoff.

mod about;
mod address;
mod admission;
mod backoff;
mod clients;
mod connection;
mod dial;
mod endpoints;
#[cfg(test)]
mod fake;
mod gather;
mod kept;
mod loggers;
mod lookup;
mod metrics;
mod receipts;
mod settings;
mod stage;
mod tls;
mod traced;
mod transports;
mod wire;

#[cfg(feature = "faults")]
pub mod faults;
pub mod grpc;
pub mod http;
pub mod netrpc;
pub mod rabbitmq;
pub mod rpc;

pub use address::{AddressError, Addresses};
pub use backoff::Waits;
pub use endpoints::{Endpoints, EndpointsError};
pub use loggers::{Asked, LoggerState};
pub use receipts::Receipts;
pub use settings::Settings;
pub use tls::{Tls, TlsError, check_encryption};
pub use transports::{Delivered, Transports};

use std::time::Duration;

/// The name of the logger in messages.
pub(crate) const LOGGER: &str = "the logger";

/// How often a kept connection is asked whether its other end is there, and how long the answer may take.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a connection may take to open, which the other end's kernel sees to. Far above a healthy one, far below the
/// deadline.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the other end itself may take for its first answer on an open connection: to shake hands over TLS, or to say
/// its version. It has other work too; with [`CONNECT_TIMEOUT`] it is half of the deadline.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
