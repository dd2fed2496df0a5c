//! The gRPC messages, generated from `proto/logs.proto`, and their conversions.

mod codec;

use tonic::{Status, metadata::MetadataValue};

use crate::{
    BatchMode, Code, Cursor, EntryDraft, Failure, Filter, LogEntry, Outcome, StoredEntry, TailEvent,
    TailQuery, Transport,
};

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
    Refusal, StoredLog, SyncResponse, TailRequest, TailResponse, WriteLogsResponse, log_service_client,
    log_service_server, tail_response,
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
                message: failure.into_message(),
                ..EntryResult::default()
            },
        }
    }
}

impl TryFrom<TailRequest> for TailQuery {
    type Error = Failure;

    fn try_from(request: TailRequest) -> Result<Self, Failure> {
        let TailRequest { name, level, transport, since, until, contains, after, max_lag } = request;
        let mut query = TailQuery::default();
        let conditions = [name, level, transport, since, until, contains];
        let own = [("after", after), ("max_lag", max_lag.map(|max_lag| max_lag.to_string()))];
        for (parameter, value) in std::iter::zip(Filter::PARAMETERS, conditions).chain(own) {
            if let Some(value) = value {
                query.set(parameter, &value)?;
            }
        }
        Ok(query)
    }
}

impl From<&TailQuery> for TailRequest {
    fn from(query: &TailQuery) -> Self {
        let TailQuery { filter, after, max_lag } = query;
        TailRequest {
            name: filter.name.clone(),
            level: filter.level.map(|level| level.to_string()),
            transport: filter.transport.map(|transport| transport.to_string()),
            since: filter.since.map(|since| since.to_string()),
            until: filter.until.map(|until| until.to_string()),
            contains: filter.contains.clone(),
            after: after.map(String::from),
            max_lag: *max_lag,
        }
    }
}

/// What a tail has to tell as its message, with where it has come.
pub fn tail_response(event: TailEvent, cursor: Cursor) -> TailResponse {
    let event = match event {
        TailEvent::Entry(entry) => Some(tail_response::Event::Entry(entry.into())),
        TailEvent::Missed(count) => Some(tail_response::Event::Missed(count)),
        TailEvent::Reached => None,
    };
    TailResponse { event, cursor: cursor.into() }
}

/// Reads it again.
///
/// # Errors
/// If it is none that this version knows.
pub fn tail_event(response: TailResponse) -> Result<(TailEvent, Cursor), Failure> {
    let event = match response.event {
        Some(tail_response::Event::Entry(entry)) => TailEvent::Entry(entry.try_into()?),
        Some(tail_response::Event::Missed(count)) => TailEvent::Missed(count),
        None => TailEvent::Reached,
    };
    Ok((event, Cursor::parse_or_start(&response.cursor)?))
}

impl From<StoredEntry> for StoredLog {
    fn from(entry: StoredEntry) -> Self {
        StoredLog {
            id: entry.id.to_string(),
            name: entry.name,
            data: entry.data,
            level: entry.level.as_str().to_owned(),
            created_at: entry.created_at.to_string(),
            stored_at: entry.stored_at.to_string(),
            transport: entry.transport.as_str().to_owned(),
            attempts: entry.attempts,
        }
    }
}

impl TryFrom<StoredLog> for StoredEntry {
    type Error = Failure;

    fn try_from(log: StoredLog) -> Result<Self, Failure> {
        let unreadable = |field: &str, text: &str| {
            let message = format!(
                "the logger sent an entry with an unreadable {field}: run the same release on both sides"
            );
            Failure::new(Code::BadField, message).because(text)
        };
        let time = |field, text: &str| text.parse().map_err(|_| unreadable(field, text));
        Ok(StoredEntry {
            id: log.id.parse().map_err(|_| unreadable("id", &log.id))?,
            level: log.level.parse()?,
            created_at: time("created_at", &log.created_at)?,
            stored_at: time("stored_at", &log.stored_at)?,
            transport: log.transport.parse()?,
            attempts: log.attempts,
            name: log.name,
            data: log.data,
        })
    }
}

/// A refusal as a status, marked with its code.
pub fn status(failure: &Failure) -> Status {
    let message = failure.message();
    let mut status = match failure.code {
        Code::BadJson
        | Code::BadField
        | Code::BadBatch
        | Code::BadQuery
        | Code::UnknownAction
        | Code::UnknownTransport
        | Code::InvalidEntry
        | Code::MethodNotAllowed
        | Code::BadRequest
        | Code::HeadersTooLarge
        | Code::UnsupportedEncoding => Status::invalid_argument(message),
        Code::Unauthorized => Status::unauthenticated(message),
        Code::Forbidden | Code::ForbiddenOrigin => Status::permission_denied(message),
        Code::NotFound => Status::not_found(message),
        Code::Conflict => Status::already_exists(message),
        Code::TooLarge => Status::out_of_range(message),
        Code::RateLimited | Code::Overloaded | Code::StorageFull => Status::resource_exhausted(message),
        Code::SlowRequest | Code::Unavailable | Code::Blocked | Code::Draining => {
            Status::unavailable(message)
        }
        Code::NoSuchCall => Status::failed_precondition(message),
        Code::OutcomeUnknown => Status::unknown(message),
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
    let mut failure = Failure::heard(word(CODE_KEY)?.parse().ok()?, status.message());
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
    fn what_a_tail_tells_survives_its_message() {
        let entry = StoredEntry {
            id: uuid::Uuid::now_v7(),
            name: "event".into(),
            data: "text".into(),
            level: crate::Level::Warning,
            created_at: "2026-01-31T12:00:00.000001Z".parse().expect("a time"),
            stored_at: "2026-01-31T12:00:00.000002Z".parse().expect("a time"),
            transport: Transport::Rabbitmq,
            attempts: 2,
        };
        for event in [TailEvent::Entry(entry), TailEvent::Missed(7), TailEvent::Reached] {
            for cursor in [Cursor::after(0), Cursor::after(999_999_999_999_999_999)] {
                let told = tail_event(tail_response(event.clone(), cursor));
                assert_eq!(told, Ok((event.clone(), cursor)));
            }
        }
        let strange = TailResponse { cursor: "soon".into(), ..TailResponse::default() };
        assert!(tail_event(strange).is_err());
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
