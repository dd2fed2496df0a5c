//! Our own end of a wire, which answers by a script and records what came.

mod amqp;
mod frames;
mod grpc;
mod h2;
mod http;

pub use amqp::{Amqp, SMALL_QUEUE, header_text};
pub use frames::{Call, FrameProbe, result_of};
pub use grpc::GrpcProbe;
pub use h2::CallCounter;
pub use http::{HttpProbe, Reply, Seen};
