//! Bodies as `/openapi.json` describes them. Nothing is read or written in these forms.

#![expect(dead_code, reason = "it only describes")]

use serde::Serialize;
use utoipa::ToSchema;

use super::{Action, entry::EntryOrBatch};

/// The body of `POST /log-grpc`.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcHandleBody {
    /// What to do.
    action: Action,
    /// `grpc`, or omitted.
    transport: Option<Grpc>,
    /// An entry, or an array of 1 to 1,000.
    log: EntryOrBatch,
    /// Ignored: the course's Go clients send it along, empty.
    auth: Option<serde_json::Value>,
    /// Ignored: the course's Go clients send it along, empty.
    mail: Option<serde_json::Value>,
}

/// The transport `grpc` alone.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = GrpcTransport)]
enum Grpc {
    Grpc,
}
