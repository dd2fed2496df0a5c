//! The records of a request in Protocol Buffers, found without decoding the request as a whole: a record of two bytes
//! takes three hundred decoded, and an id is made of a record's own bytes.

use opentelemetry_proto::tonic::{
    common::v1::InstrumentationScope, logs::v1::LogRecord, resource::v1::Resource,
};
use prost::{DecodeError, Message};
use proto::{Code, Failure, limits::DATA_BYTES};

/// Most records of a request: twice a Collector's usual batch.
pub(super) const RECORDS: usize = 16_384;

/// Largest record, resource and scope, in bytes. What is larger hardly fits into an entry, whatever it holds; decoded it
/// takes up to 32 times as much.
pub(super) const PART_BYTES: usize = 2 * DATA_BYTES;

/// `ExportLogsServiceRequest.resource_logs`, `ResourceLogs.resource` and `ScopeLogs.scope`.
pub(super) const FIRST: u8 = 1;

/// `ResourceLogs.scope_logs` and `ScopeLogs.log_records`.
pub(super) const SECOND: u8 = 2;

/// A record, and what it belongs to, each as its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) resource: &'a [u8],
    pub(super) scope: &'a [u8],
    pub(super) bytes: &'a [u8],
}

/// The records of a request, in their order. All of it has been decoded once, but for records that are too large.
///
/// # Errors
/// If there are too many, or something is no message of OTLP.
pub(super) fn records(request: &[u8]) -> Result<Vec<Record<'_>>, Failure> {
    let mut records = Vec::new();
    // Each level counts, so that a request of empty ones ends too.
    let mut parts = 0;
    let mut count = || {
        parts += 1;
        if parts <= 2 * RECORDS { Ok(()) } else { Err(too_many()) }
    };
    for of_resource in repeated(request, FIRST) {
        let of_resource = of_resource?;
        count()?;
        let resource = only::<Resource>(of_resource, "resource")?;
        for of_scope in repeated(of_resource, SECOND) {
            let of_scope = of_scope?;
            count()?;
            let scope = only::<InstrumentationScope>(of_scope, "scope")?;
            for bytes in repeated(of_scope, SECOND) {
                let bytes = bytes?;
                if records.len() == RECORDS {
                    return Err(too_many());
                }
                if bytes.len() <= PART_BYTES {
                    LogRecord::decode(bytes).map_err(|error| unreadable(&error))?;
                }
                records.push(Record { resource, scope, bytes });
            }
        }
    }
    Ok(records)
}

/// Appends a message, or text, as a field of another.
pub(super) fn put(field: u8, message: &[u8], to: &mut Vec<u8>) {
    to.push(field << 3 | LENGTH);
    prost::encode_length_delimiter(message.len(), to).expect("a vector grows");
    to.extend_from_slice(message);
}

/// The type of a field that has a length.
const LENGTH: u8 = 2;

/// The fields of this number.
fn repeated(message: &[u8], number: u8) -> impl Iterator<Item = Result<&[u8], Failure>> {
    Fields { rest: message }.filter_map(move |field| match field {
        Ok((own, bytes)) => (own == usize::from(number)).then_some(Ok(bytes)),
        Err(failure) => Some(Err(failure)),
    })
}

/// The field that stands first in every message here, and of which there is at most one; empty if there is none.
fn only<'a, M: Message + Default>(message: &'a [u8], name: &str) -> Result<&'a [u8], Failure> {
    let mut found = repeated(message, FIRST);
    let bytes = found.next().transpose()?.unwrap_or_default();
    if found.next().transpose()?.is_some() {
        return Err(bad(format!("a {name} is given twice")));
    }
    if bytes.len() > PART_BYTES {
        return Err(bad(format!("a {name} has {} bytes: the limit is {PART_BYTES} bytes", bytes.len())));
    }
    M::decode(bytes).map_err(|error| unreadable(&error))?;
    Ok(bytes)
}

/// The fields of a message that have a length, each with its number. The others are passed over.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(usize, &'a [u8]), Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.field() {
                Ok(Some(field)) => return Some(Ok(field)),
                Ok(None) => {}
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl<'a> Fields<'a> {
    /// The next field; `None` if it is one without a length.
    fn field(&mut self) -> Result<Option<(usize, &'a [u8])>, Failure> {
        let key = self.varint()?;
        if key >> 3 == 0 {
            return Err(bad("a field has the number 0"));
        }
        let bytes = match key & 7 {
            0 => {
                self.varint()?;
                return Ok(None);
            }
            1 => 8,
            2 => self.varint()?,
            5 => 4,
            other => return Err(bad(format!("a field is of the unknown wire type {other}"))),
        };
        let (field, rest) =
            self.rest.split_at_checked(bytes).ok_or_else(|| bad("the message is cut short"))?;
        self.rest = rest;
        Ok((key & 7 == usize::from(LENGTH)).then_some((key >> 3, field)))
    }

    fn varint(&mut self) -> Result<usize, Failure> {
        prost::decode_length_delimiter(&mut self.rest).map_err(|error| unreadable(&error))
    }
}

fn too_many() -> Failure {
    bad(format!(
        "the request has more than {RECORDS} records: export smaller batches, by send_batch_max_size in a Collector"
    ))
}

fn unreadable(error: &DecodeError) -> Failure {
    bad(format!("it does not match OTLP: {error}"))
}

fn bad(what: impl std::fmt::Display) -> Failure {
    Failure::new(Code::BadField, format!("the request cannot be read, and nothing was stored: {what}"))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::{LogsData, ResourceLogs, ScopeLogs};

    use super::*;

    fn record(text: &str) -> LogRecord {
        LogRecord { severity_text: text.to_owned(), ..LogRecord::default() }
    }

    #[test]
    fn records_are_found_in_their_order_with_what_they_belong_to() {
        let resource = Resource { dropped_attributes_count: 7, ..Resource::default() };
        let scope = InstrumentationScope { name: "scope".into(), ..InstrumentationScope::default() };
        let of_scope = |scope: &InstrumentationScope, records: &[&str]| ScopeLogs {
            scope: Some(scope.clone()),
            log_records: records.iter().map(|text| record(text)).collect(),
            schema_url: "https://example.org".into(),
        };
        let first = ResourceLogs {
            resource: Some(resource.clone()),
            scope_logs: vec![of_scope(&scope, &["a", "b"]), of_scope(&scope, &[])],
            schema_url: "https://example.org".into(),
        };
        let second = ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records: vec![record("c")], ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        };
        let request = LogsData { resource_logs: vec![first, second] }.encode_to_vec();
        let found = records(&request).expect("it is one");
        let texts = found.iter().map(|found| LogRecord::decode(found.bytes).expect("a record").severity_text);
        assert_eq!(texts.collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(
            (found[0].resource, found[0].scope),
            (&resource.encode_to_vec()[..], &scope.encode_to_vec()[..])
        );
        assert_eq!((found[2].resource, found[2].scope), (&[][..], &[][..]));
        assert_eq!(records(&[]), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_otlp_is_refused_as_a_whole_wherever_it_is_cut() {
        let request = {
            let (mut of_scope, mut of_resource, mut request) = (Vec::new(), Vec::new(), Vec::new());
            put(SECOND, &record("text").encode_to_vec(), &mut of_scope);
            put(SECOND, &of_scope, &mut of_resource);
            put(FIRST, &of_resource, &mut request);
            request
        };
        assert_eq!(records(&request).map(|records| records.len()), Ok(1));
        for end in 1..request.len() {
            let failure = records(&request[..end]).expect_err("it is cut short");
            assert_eq!(failure.code, Code::BadField, "{end}");
        }
        for strange in [&[0x0b][..], &[0x0f], &[0x0a, 0xff], &[0xff; 12]] {
            assert!(records(strange).is_err(), "{strange:?}");
        }
        let not_utf8 = {
            // severity_text of the only record
            let mut request = request.clone();
            *request.last_mut().expect("it has bytes") = 0xff;
            request
        };
        assert!(records(&not_utf8).is_err());
    }

    #[test]
    fn zeros_are_no_request() {
        for zeros in [&[0][..], &[0; 2], &[0; 1_000], &[2, 0], &[FIRST << 3 | LENGTH, 2, 0, 0]] {
            assert!(records(zeros).expect_err("no field").message().contains("number 0"), "{zeros:?}");
        }
    }

    #[test]
    fn more_records_or_empty_parts_than_a_request_may_have_are_refused() {
        let with = |records: usize| {
            let (mut of_scope, mut of_resource, mut request) = (Vec::new(), Vec::new(), Vec::new());
            (0..records).for_each(|_| put(SECOND, &[], &mut of_scope));
            put(SECOND, &of_scope, &mut of_resource);
            put(FIRST, &of_resource, &mut request);
            request
        };
        assert_eq!(records(&with(RECORDS)).map(|records| records.len()), Ok(RECORDS));
        assert!(records(&with(RECORDS + 1)).expect_err("too many").message().contains("send_batch_max_size"));
        let empty = [FIRST << 3 | LENGTH, 0].repeat(2 * RECORDS + 1);
        assert!(records(&empty).is_err());
    }

    #[test]
    fn a_record_that_is_too_large_is_left_for_its_own_refusal_and_a_resource_is_not() {
        let large = vec![0xff; PART_BYTES + 1];
        let (mut of_scope, mut of_resource, mut request) = (Vec::new(), Vec::new(), Vec::new());
        put(SECOND, &large, &mut of_scope);
        put(SECOND, &of_scope, &mut of_resource);
        put(FIRST, &of_resource, &mut request);
        assert_eq!(
            records(&request).expect("one record").first().map(|record| record.bytes.len()),
            Some(large.len())
        );
        let (mut of_resource, mut request) = (Vec::new(), Vec::new());
        put(FIRST, &large, &mut of_resource);
        put(FIRST, &of_resource, &mut request);
        assert!(records(&request).expect_err("too large").message().contains("resource"));
    }
}
