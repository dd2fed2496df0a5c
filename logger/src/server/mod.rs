//! The logger's three servers. Each decodes, calls the [`crate::intake::Intake`], and encodes; laid side by
//! side, only the protocol differs.

pub mod grpc;
pub mod http;
pub mod rpc;
