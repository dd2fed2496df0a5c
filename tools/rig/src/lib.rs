//! What it takes to prove a promise: the system as [`Services`] on free ports, or at addresses where it runs already,
//! each a [`Process`] that can be killed and frozen; RabbitMQ as a [`Node`] and PostgreSQL as a [`Database`] of its own;
//! a [`Relay`] that breaks connections on purpose; a typed [`Client`]; clients under [`load`]; and a [`Ledger`] of what
//! was sent and answered, which is verified against what is stored.
//!
//! What does not work is an error, with what the service said; nothing panics. It knows nothing of tests or of measuring.

mod client;
mod database;
mod eventually;
pub mod ledger;
pub mod load;
mod node;
mod process;
mod script;
mod services;
mod tap;

pub use ::relay::{Direction, Fault, Held, Relay};
pub use client::{Client, http};
pub use database::Database;
pub use eventually::{READY, eventually};
pub use ledger::{Answer, Ledger, Verdict};
pub use load::Load;
pub use node::{Node, QUEUE_IS_ON_DISK};
pub use process::{Launch, Process, Refused, Usage, forget_peak_memory};
pub use services::{LoggerAddresses, Services, relay, reserve};
pub use tap::{LogTo, Tap};
