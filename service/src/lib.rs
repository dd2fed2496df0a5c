//! What every Fourwire process needs once, and nothing about log entries.
//!
//! [`telemetry`] is set up first, [`Shutdown`] tells when to stop, [`Reloads`] reads files again at SIGHUP, an
//! [`Acceptor`] takes connections within limits, encrypted by [`tls`] if it is on, and gives each an account as a
//! [`Client`], whose parts of a [`Room`] and of [`Places`] are bounded by what others need; [`serve_each`] serves each in
//! a task, [`http::serve`] those of HTTP/1.1, [`traced`] puts a span around each call, and [`health`] has the addresses
//! that operators ask for, with what is recorded in [`metrics`]; a [`Probe`] asks them.

pub mod descriptors;
#[cfg(feature = "faults")]
pub mod faults;
pub mod health;
pub mod http;
pub mod metrics;
pub mod network;
pub mod telemetry;
pub mod tls;
pub mod traced;

mod accept;
mod body;
mod client;
mod cut;
mod json;
mod places;
mod probe;
mod process;
mod reload;
mod room;
mod shutdown;
mod start;

pub use accept::{Acceptor, Connection, serve_each};
pub use body::{BODY_TIMEOUT, BodyError, Held, collect_body};
pub use client::{Client, Working};
pub use cut::Cut;
pub use json::Json;
pub use places::{Place, Places};
pub use probe::Probe;
pub use reload::Reloads;
pub use room::{NoRoom, Part, Room, Share};
pub use settings::{host_name, listen_address, secret};
pub use shutdown::{GRACE, LAST_CALL, LINGER, Shutdown};
pub use start::{exit_code, settings};
pub use telemetry::Telemetry;
