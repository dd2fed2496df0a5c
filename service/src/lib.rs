//! What every Fourwire process needs once, and nothing about log entries.
//!
//! [`telemetry`] is set up first, [`Shutdown`] tells when to stop, an [`Acceptor`] takes connections within
//! limits, encrypted by [`tls`] if it is on, [`http::serve`] answers them, [`traced`] puts a span around each, and
//! [`health`] has the addresses that operators ask for, with what is recorded in [`metrics`].

pub mod descriptors;
#[cfg(feature = "faults")]
pub mod faults;
pub mod health;
pub mod http;
pub mod metrics;
pub mod network;
pub mod secret;
pub mod telemetry;
pub mod tls;

mod accept;
mod body;
mod json;
mod process;
mod shutdown;
mod traced;

pub use accept::{Acceptor, Connection};
pub use body::{BODY_TIMEOUT, BodyError, Held, Part, Room};
pub use json::Json;
pub use shutdown::{GRACE, Shutdown};
pub use telemetry::Telemetry;
pub use traced::{Calls, traced};

use std::process::ExitCode;

/// How the process ends: with the whole reason on one line, also where `RUST_BACKTRACE` is set, since what stops
/// a service is mostly a setting.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
