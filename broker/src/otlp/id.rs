//! The ids of records, which have none of their own: an exporter that sends a request again must find its entries stored.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::wire::Record;

/// The UUIDs of version 5 that are made here.
const NAMESPACE: Uuid = Uuid::from_u128(0x9b1f_5e0c_7c62_4d0a_a3b4_5d1e_0f6c_2a71);

type Hash = [u8; 32];

/// Makes the ids of the records of one request, which it is to be asked for in their order.
#[derive(Debug)]
pub(super) struct Ids<'a> {
    request: &'a [u8],
    /// Made when it is needed.
    whole: Option<Hash>,
    /// How many of equal records have an id.
    equal: HashMap<Hash, u32>,
}

impl<'a> Ids<'a> {
    pub(super) fn of(request: &'a [u8]) -> Self {
        Ids { request, whole: None, equal: HashMap::new() }
    }

    /// Of a record: of its bytes, and those of its resource and scope. Of equal ones in a request each has its own. One
    /// without any time would be equal to what another request says later, so `has_time` false adds the request.
    pub(super) fn next(&mut self, record: &Record<'_>, has_time: bool) -> Uuid {
        let mut hash = Sha256::new();
        for part in [record.resource, record.scope, record.bytes] {
            // Where one ends is a part of it.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        if !has_time {
            hash.update(self.whole.get_or_insert_with(|| Sha256::digest(self.request).into()));
        }
        let hash: Hash = hash.finalize().into();
        let ordinal = self.equal.entry(hash).or_default();
        let id = Uuid::new_v5(&NAMESPACE, &[&hash[..], &ordinal.to_be_bytes()].concat());
        *ordinal += 1;
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Record<'_> = Record { resource: b"resource", scope: b"scope", bytes: b"record" };

    #[test]
    fn a_request_that_is_sent_again_has_the_same_ids_and_equal_records_have_two() {
        let ids = || {
            let mut ids = Ids::of(b"request");
            [A, A, Record { bytes: b"other", ..A }].map(|record| ids.next(&record, true))
        };
        let [first, second, other] = ids();
        assert_eq!(ids(), [first, second, other]);
        assert!(first != second && second != other && other != first);
        // Stored entries have it: it must not change.
        assert_eq!(first.to_string(), "1cc3fbdc-70f7-51e0-9193-72f56c709386");
    }

    #[test]
    fn another_resource_or_scope_makes_another_id_wherever_the_bytes_stand() {
        let id = |record: Record<'_>| Ids::of(b"request").next(&record, true);
        let others = [
            Record { resource: b"resourc", scope: b"escope", ..A },
            Record { scope: b"scoper", bytes: b"ecord", ..A },
            Record { resource: b"", scope: b"resourcescope", ..A },
        ];
        for other in others {
            assert_ne!(id(other), id(A), "{other:?}");
        }
    }

    #[test]
    fn the_request_counts_where_there_is_no_time_and_only_there() {
        let id = |request: &[u8], has_time| Ids::of(request).next(&A, has_time);
        assert_eq!(id(b"one", true), id(b"two", true));
        assert_eq!(id(b"one", false), id(b"one", false));
        assert_ne!(id(b"one", false), id(b"two", false));
    }
}
