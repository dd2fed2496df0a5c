//! What every Fourwire process needs once, and nothing about log entries: it depends on no crate of ours.
//!
//! [`telemetry`] is set up first, [`Shutdown`] tells when to stop, an [`Acceptor`] takes connections within
//! limits, [`http::serve`] answers them, and [`health`] has the addresses that operators ask for.

pub mod health;
pub mod http;
pub mod telemetry;

mod accept;
mod body;
mod shutdown;

pub use accept::{Acceptor, Connection};
pub use body::{BodyError, Held, Room};
pub use shutdown::{GRACE, Shutdown};
pub use telemetry::Telemetry;
