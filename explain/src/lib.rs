//! What the bytes of each wire mean, every one of them: a [`Recording`] goes in, annotations come out.
//!
//! It reads foreign bytes, opens no socket and starts no task. Nothing is encoded again: what a decoder cannot read is told
//! as such, and [`Explained::check`] finds a byte that is told twice or not at all. Each wire has a file; what they share,
//! such as JSON, has one too.

mod annotation;
mod fields;
mod reader;
mod shown;

mod json;
mod msgpack;
mod protobuf;

mod amqp;
mod grpc;
mod http;
mod http2;
mod netrpc;
mod rpc;
mod tls;

mod explained;
mod recording;
mod report;

pub use annotation::{Annotation, Cost, Purpose, Secret, covers};
pub use explained::{Explained, Unaccounted, Unit, explain};
pub use recording::{Chunk, FILE_BYTES, NoRecording, Recording, To};
pub use report::{Show, json, text};
pub use shown::{escaped, is_obeyed};

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::{http2::Calls, reader::Budget};

/// How bytes are read: a protocol on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// JSON over HTTP/1.1.
    Http,
    /// tarpc: MessagePack in frames.
    Rpc,
    /// AMQP 0-9-1.
    Rabbitmq,
    /// Protocol Buffers over HTTP/2.
    Grpc,
    /// Go's net/rpc: gob.
    Netrpc,
}

impl Wire {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Wire::Http => "http",
            Wire::Rpc => "rpc",
            Wire::Rabbitmq => "rabbitmq",
            Wire::Grpc => "grpc",
            Wire::Netrpc => "netrpc",
        }
    }

    /// What went to the server, and what to the client, on one connection. One more wire is one more line here.
    fn annotate(self, to_server: &[u8], to_client: &[u8], budget: &Budget) -> [Vec<Annotation>; 2] {
        let both = |annotate: fn(&[u8], To, &Budget) -> Vec<Annotation>| {
            [annotate(to_server, To::Server, budget), annotate(to_client, To::Client, budget)]
        };
        if tls::is_tls(to_server) {
            return [tls::annotate(to_server, budget), tls::annotate(to_client, budget)];
        }
        match self {
            Wire::Http => both(http::annotate),
            Wire::Rpc => both(rpc::annotate),
            Wire::Rabbitmq => both(amqp::annotate),
            Wire::Grpc => {
                let mut calls = Calls::new();
                let to_server = http2::annotate(to_server, To::Server, budget, &mut calls);
                [to_server, http2::annotate(to_client, To::Client, budget, &mut calls)]
            }
            Wire::Netrpc => both(netrpc::annotate),
        }
    }
}

#[cfg(test)]
mod tests;
