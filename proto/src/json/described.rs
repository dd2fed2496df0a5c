//! Bodies as `/openapi.json` describes them. Nothing is read or written in these forms.

#![expect(dead_code, reason = "it only describes")]

use serde::Serialize;
use utoipa::{ToSchema, openapi::schema};
use uuid::Uuid;

use super::Action;
use crate::{Level, limits::DATA_BYTES};

/// The body of `POST /log-grpc`.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcHandleBody {
    /// What is to be done.
    action: Action,
    /// The one of this address; may be left out.
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

/// What stands in `log`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum EntryOrBatch {
    One(EntrySchema),
    Many(BatchSchema),
}

/// As it is sent: all or none is stored, but for what goes by `rabbitmq`.
#[derive(Serialize, ToSchema)]
#[schema(as = Batch, min_items = 1, max_items = 1000)]
pub(super) struct BatchSchema(Vec<EntrySchema>);

/// An entry as a caller sends it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Entry)]
pub(super) struct EntrySchema {
    /// What happened: 1 to 256 bytes of UTF-8 without U+0000.
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\u0000]*$")]
    name: String,
    #[schema(schema_with = any_data)]
    data: serde_json::Value,
    /// A UUID, not nil; left out: the broker makes one.
    #[schema(value_type = Option<String>, format = Uuid, pattern = "[1-9a-fA-F]")]
    id: Option<Uuid>,
    /// How serious it is; left out: `info`.
    level: Option<Level>,
    /// RFC 3339; left out: now, by the broker's clock.
    #[schema(format = DateTime)]
    created_at: Option<String>,
}

/// Any value; what holds of a string holds of no other.
fn any_data() -> schema::Object {
    schema::ObjectBuilder::new()
        .schema_type(schema::SchemaType::AnyValue)
        .description(Some(
            "Up to 256 KiB of text without U+0000. A value that is no string is kept as its JSON text.",
        ))
        .max_length(Some(DATA_BYTES))
        .pattern(Some("^[^\\u0000]*$"))
        .build()
}
