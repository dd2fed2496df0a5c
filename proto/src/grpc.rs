//! The gRPC messages, generated from `proto/logs.proto`, and their conversions.

mod codec;

use tonic::{Status, metadata::MetadataValue};

use crate::{BatchMode, Code, EntryDraft, Failure, LogEntry, Outcome, Transport};

#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated; logs.proto has the comments"
)]
mod generated {
    tonic::include_proto!("logs");
}

pub use generated::{
    BatchMode as GrpcBatchMode, BatchRequest, BatchResponse, EntryResult, Log, LogRequest, LogResponse,
    log_service_client, log_service_server,
};

/// The descriptors of `logs.proto`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/logs.bin"));

/// The metadata key that tells our own refusal from one that the connection made: without it, an error says
/// nothing certain about the store.
pub const CODE_KEY: &str = "x-code";

/// The metadata key for the position of the entry of a batch, counted from 0.
pub const POSITION_KEY: &str = "x-position";

/// An entry as its message. `transport` is given where the entry came by another way.
pub fn log(entry: &LogEntry, transport: Option<Transport>) -> Log {
    let draft = EntryDraft::from(entry);
    Log {
        name: draft.name,
        data: draft.data,
        id: draft.id,
        level: draft.level,
        created_at: draft.created_at,
        transport: transport.map(|transport| transport.as_str().to_owned()),
    }
}

impl From<Log> for EntryDraft {
    fn from(log: Log) -> Self {
        EntryDraft {
            name: log.name,
            data: log.data,
            id: log.id,
            level: log.level,
            created_at: log.created_at,
            transport: log.transport,
        }
    }
}

impl From<BatchMode> for GrpcBatchMode {
    fn from(mode: BatchMode) -> Self {
        match mode {
            BatchMode::AllOrNone => GrpcBatchMode::AllOrNone,
            BatchMode::Each => GrpcBatchMode::Each,
        }
    }
}

impl From<GrpcBatchMode> for BatchMode {
    fn from(mode: GrpcBatchMode) -> Self {
        match mode {
            GrpcBatchMode::AllOrNone => BatchMode::AllOrNone,
            GrpcBatchMode::Each => BatchMode::Each,
        }
    }
}

impl From<Result<Outcome, Failure>> for EntryResult {
    fn from(result: Result<Outcome, Failure>) -> Self {
        match result {
            Ok(outcome) => EntryResult { outcome: outcome.as_str().to_owned(), ..EntryResult::default() },
            Err(failure) => EntryResult {
                code: failure.code.as_str().to_owned(),
                message: failure.message,
                ..EntryResult::default()
            },
        }
    }
}

/// A refusal as a status, marked with its code.
pub fn status(failure: &Failure) -> Status {
    let mut status = match failure.code {
        Code::BadJson
        | Code::BadField
        | Code::BadBatch
        | Code::BadQuery
        | Code::UnknownAction
        | Code::UnknownTransport
        | Code::InvalidEntry
        | Code::MethodNotAllowed => Status::invalid_argument(failure.message.clone()),
        Code::Unauthorized => Status::unauthenticated(failure.message.clone()),
        Code::Forbidden | Code::ForbiddenOrigin => Status::permission_denied(failure.message.clone()),
        Code::NotFound => Status::not_found(failure.message.clone()),
        Code::Conflict => Status::already_exists(failure.message.clone()),
        Code::TooLarge => Status::out_of_range(failure.message.clone()),
        Code::RateLimited | Code::Overloaded | Code::StorageFull => {
            Status::resource_exhausted(failure.message.clone())
        }
        Code::SlowRequest | Code::Unavailable | Code::Blocked | Code::Draining => {
            Status::unavailable(failure.message.clone())
        }
        Code::OutcomeUnknown => Status::unknown(failure.message.clone()),
    };
    let metadata = status.metadata_mut();
    metadata.insert(CODE_KEY, MetadataValue::from_static(failure.code.as_str()));
    if let Some(position) = failure.position {
        metadata.insert(POSITION_KEY, MetadataValue::from(position));
    }
    status
}

/// The refusal that a status carries, if it was the logger that made it.
pub fn failure(status: &Status) -> Option<Failure> {
    let word = |key| status.metadata().get(key)?.to_str().ok();
    let mut failure = Failure::new(word(CODE_KEY)?.parse().ok()?, status.message());
    failure.position = word(POSITION_KEY).and_then(|position| position.parse().ok());
    Some(failure)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// The course's `LogRequest`, in bytes: field 1 holds a `Log` with name "a" (1) and data "b" (2).
    const COURSE_REQUEST: &[u8] = &[0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b'];

    #[test]
    fn the_courses_two_field_message_is_ours() {
        let request = LogRequest::decode(COURSE_REQUEST).expect("the course's bytes");
        let log = request.log_entry.expect("field 1");
        assert_eq!((log.name.as_str(), log.data.as_str(), &log.id), ("a", "b", &None));
    }

    #[test]
    fn a_refusal_survives_the_status() {
        for code in Code::ALL {
            let refusal = Failure::new(code, "what to do").at(3);
            assert_eq!(failure(&status(&refusal)), Some(refusal));
        }
        assert_eq!(failure(&Status::unavailable("tcp connect error")), None);
    }
}
