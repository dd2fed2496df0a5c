//! The harness: starts the real binaries on free ports with a store of their own and a virtual host of their
//! own in RabbitMQ, and stops them when the test ends.

pub mod answer;
pub mod binaries;
pub mod browser;
pub mod clock;
pub mod collector;
pub mod disk;
pub mod http;
pub mod keys;
pub mod node;
pub mod process;
pub mod prometheus;
pub mod rabbitmq;
pub mod raw;
pub mod stack;
pub mod support;
pub mod tls;
pub mod torture;

pub use http::{client, client_with};
pub use support::{DIRECT, SOON, eventually, soon};

/// A client generated from the course's own two-field proto.
#[expect(missing_docs, clippy::allow_attributes_without_reason, reason = "generated")]
pub mod course {
    tonic::include_proto!("logs");
}
