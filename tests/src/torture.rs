//! Tries to break what the system promises, over and over, and verifies what was answered against what is stored.
//!
//! A [`Trial`] is one way to try. Both `make torture`, with many rounds, and the end-to-end tests, with a few, run
//! them. Each kind of trial has a file of its own.

pub mod clock_leaps;
pub mod confirm_ownership;
pub mod control;
pub mod disk_full;
pub mod disk_was_full;
pub mod duplicates;
pub mod listener_restarted;
pub mod load;
pub mod log;
pub mod lone;
pub mod nested_headers;
pub mod overload;
pub mod power_loss;
pub mod queue_deleted;
pub mod rabbitmq_alarm;
pub mod rabbitmq_killed;
pub mod slow_clients;
pub mod soak;
pub mod store_files;
pub mod sync_order;
pub mod under_load;

mod entries;
mod figures;
mod report;
mod trial;

pub use entries::random_entry;
pub use load::Load;
pub use report::Report;
pub use trial::Trial;
