//! Hands the records of a request over in parts; an exporter that sends thousands gets one response.

use std::{iter, pin::pin, slice, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use proto::{
    Batch, BatchMode, Certainty, Code, Failure, LogEntry, Transport,
    limits::{BATCH_ENTRIES, DATA_BYTES},
};
use tokio::{task::yield_now, time::timeout};
use transport::Transports;

use super::{
    entry::Entries,
    wire::{self, Record},
};
use crate::metrics::Otlp;

/// Most bytes of `name` and `data` of a part, by all but its last entry: an entry may be a thousand times as large as its
/// record, for it has the attributes of its resource too. Where a record is larger than its entry, it counts; one that is
/// refused counts as the largest entry, for so much may be written before it is.
const PART_BYTES: usize = 2 * 1024 * 1024;

/// Most parts of a request that are under way at a time.
const PARTS: usize = 4;

/// What became of a request of which every record is stored, queued, or rejected.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Delivered {
    /// How many of its records can never be stored.
    pub(super) refused: u64,
    /// The first of these, counted from 0, and why.
    pub(super) first: Option<(usize, Failure)>,
}

impl Delivered {
    fn refuse(&mut self, position: usize, failure: Failure) {
        self.refused += 1;
        if self.first.as_ref().is_none_or(|(first, _)| position < *first) {
            self.first = Some((position, failure));
        }
    }
}

/// Delivers a request within its time, in parts of which each is a delivery as any other.
///
/// # Errors
/// If it cannot be read, of which nothing is stored; or if of any record it is not certain that it is stored or never will
/// be: the request may then be sent again as it is.
pub(super) async fn deliver(
    transports: &Transports,
    transport: Transport,
    request: &[u8],
    deadline: Duration,
    metrics: &Otlp,
) -> Result<Delivered, Failure> {
    let found = wire::records(request)?;
    let parts = Parts { records: found.iter().enumerate(), entries: Entries::of(request, Timestamp::now()) };
    let handed_over = async {
        let mut delivered = Delivered::default();
        let write = |part: Part| async move {
            let Part { positions, entries, refused } = part;
            let results = match Batch::try_from(entries) {
                Ok(batch) => {
                    let written = transports.write(transport, batch, BatchMode::Each).await;
                    let failed = |failure: &Failure| metrics.ended(Err(failure.code), positions.len());
                    written.inspect_err(failed)?.results.into_vec()
                }
                // All of them are refused.
                Err(_) => Vec::new(),
            };
            Ok::<_, Failure>((iter::zip(positions, results), refused))
        };
        // Others have their turn after each part, and the deadline: a part that is only refused waits for nothing.
        let parts = stream::iter(parts).then(|part| async {
            yield_now().await;
            part
        });
        let mut written = pin!(parts.map(write).buffer_unordered(PARTS));
        while let Some(written) = written.next().await {
            let (results, refused) = written.map_err(again)?;
            for (position, failure) in refused {
                metrics.ended(Err(failure.code), 1);
                delivered.refuse(position, failure);
            }
            for (position, result) in results {
                metrics.ended(result.as_ref().copied().map_err(|failure| failure.code), 1);
                match result {
                    Ok(_) => {}
                    Err(failure) if failure.certainty() == Certainty::Rejected => {
                        delivered.refuse(position, failure);
                    }
                    Err(failure) => return Err(again(failure)),
                }
            }
        }
        Ok(delivered)
    };
    let late = |_| again(Failure::new(Code::OutcomeUnknown, "not all records were stored in time"));
    timeout(deadline, handed_over).await.map_err(late)?
}

/// What an exporter is told that is to send a request again, whatever became of a part of it. A whole part that was
/// rejected is no fault of its records: an address of the logger may be wrong.
fn again(failure: Failure) -> Failure {
    let code = if failure.certainty() == Certainty::Rejected { Code::Unavailable } else { failure.code };
    let message = format!("{}: export the request again, and no record is stored twice", failure.happened());
    Failure::new(code, message).because(failure)
}

/// So many records as go together, each with its place in the request.
#[derive(Debug, Default)]
struct Part {
    positions: Vec<usize>,
    entries: Vec<LogEntry>,
    refused: Vec<(usize, Failure)>,
}

/// Makes each part when it is needed: all entries of a request may be far larger than the request.
struct Parts<'a> {
    records: iter::Enumerate<slice::Iter<'a, Record<'a>>>,
    entries: Entries<'a>,
}

impl Iterator for Parts<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let (mut part, mut bytes) = (Part::default(), 0);
        while part.entries.len() < BATCH_ENTRIES && bytes < PART_BYTES {
            let Some((position, record)) = self.records.next() else { break };
            match self.entries.next(record) {
                Ok(entry) => {
                    bytes += entry.payload_bytes().max(record.bytes.len());
                    part.positions.push(position);
                    part.entries.push(entry);
                }
                Err(failure) => {
                    bytes += DATA_BYTES;
                    part.refused.push((position, failure));
                }
            }
        }
        (!part.entries.is_empty() || !part.refused.is_empty()).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        common::v1::{AnyValue, any_value::Value},
        logs::v1::LogRecord,
    };
    use prost::Message;

    use super::*;

    fn record(text: String) -> Vec<u8> {
        let body = Some(AnyValue { value: Some(Value::StringValue(text)) });
        LogRecord { time_unix_nano: 1, body, ..LogRecord::default() }.encode_to_vec()
    }

    fn parts(records: &[Vec<u8>]) -> Vec<Part> {
        let records: Vec<_> =
            records.iter().map(|bytes| Record { resource: &[], scope: &[], bytes }).collect();
        let entries = Entries::of(b"", Timestamp::UNIX_EPOCH);
        Parts { records: records.iter().enumerate(), entries }.collect()
    }

    #[test]
    fn a_part_has_at_most_a_thousand_entries_and_keeps_their_places() {
        let mut records: Vec<_> = (0..8_192).map(|number| record(number.to_string())).collect();
        records[7] = record("x".repeat(DATA_BYTES));
        let parts = parts(&records);
        let sizes: Vec<_> = parts.iter().map(|part| part.entries.len()).collect();
        assert_eq!(sizes, [&[1_000; 8][..], &[191]].concat());
        let refused: Vec<_> =
            parts.iter().flat_map(|part| part.refused.iter().map(|(position, _)| *position)).collect();
        assert_eq!(refused, [7]);
        let positions: Vec<_> = parts.into_iter().flat_map(|part| part.positions).collect();
        assert_eq!(positions, (0..8_192).filter(|position| *position != 7).collect::<Vec<_>>());
    }

    #[test]
    fn a_part_of_large_entries_has_fewer() {
        let records = vec![record("x".repeat(200_000)); 25];
        let sizes: Vec<_> = parts(&records).iter().map(|part| part.entries.len()).collect();
        assert_eq!(sizes, [11, 11, 3]);
    }

    #[test]
    fn what_is_only_refused_is_a_part_too_and_nothing_is_none() {
        let refused = parts(&vec![record("x".repeat(DATA_BYTES)); 20]);
        assert_eq!(refused.iter().map(|part| part.refused.len()).collect::<Vec<_>>(), [8, 8, 4]);
        assert!(parts(&[]).is_empty());
    }

    #[test]
    fn the_first_refusal_is_told_whichever_comes_first() {
        let mut delivered = Delivered::default();
        for position in [5, 2, 9] {
            delivered.refuse(position, Failure::new(Code::InvalidEntry, position.to_string()));
        }
        assert_eq!((delivered.refused, delivered.first.map(|(position, _)| position)), (3, Some(2)));
    }

    #[test]
    fn an_exporter_that_was_refused_may_retry() {
        for code in Code::ALL {
            let told = again(Failure::new(code, "what happened"));
            assert_ne!(told.certainty(), Certainty::Rejected, "{code}");
        }
    }
}
