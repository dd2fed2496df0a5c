//! What must hold of everything that reads foreign bytes, whatever they are: one function for each place where
//! bytes come in, which panics where something does not hold.
//!
//! `fuzz/` feeds them with bytes that libFuzzer makes up, and `tests/replay.rs` with those of `fuzz/corpus`. They
//! call the services' own functions; nothing is parsed here that is not then held against those.

mod delivery;
mod entry;
mod explain;
mod grpc_message;
mod handle_body;
mod logger_body;
mod netrpc;
mod otlp_logs;
mod query;
mod rpc_frames;
mod settings;

pub use self::explain::explain;
pub use delivery::delivery;
pub use grpc_message::grpc_message;
pub use handle_body::handle_body;
pub use logger_body::logger_body;
pub use netrpc::netrpc;
pub use otlp_logs::otlp_logs;
pub use query::query;
pub use rpc_frames::rpc_frames;
pub use settings::settings;

/// A decoder and what must hold of it.
pub type Target = fn(&[u8]);

/// All of them, by the names of their fuzz targets and corpora.
pub const TARGETS: [(&str, Target); 10] = [
    ("handle_body", handle_body),
    ("logger_body", logger_body),
    ("otlp_logs", otlp_logs),
    ("rpc_frames", rpc_frames),
    ("netrpc", netrpc),
    ("grpc_message", grpc_message),
    ("delivery", delivery),
    ("query", query),
    ("settings", settings),
    ("explain", explain),
];
