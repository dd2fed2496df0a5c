//! The ids of records, which have none of their own: an exporter that sends a request again must find its entries stored.

use std::{collections::HashMap, ptr};

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
    /// What the hash of a record begins with, of the last resource and scope: hashed for each record, they may be gigabytes.
    begun: Option<Begun<'a>>,
    /// How many of equal records have an id.
    equal: HashMap<Hash, u32>,
}

#[derive(Debug)]
struct Begun<'a> {
    resource: &'a [u8],
    with_resource: Sha256,
    scope: &'a [u8],
    with_scope: Sha256,
}

impl<'a> Ids<'a> {
    pub(super) fn of(request: &'a [u8]) -> Self {
        Ids { request, whole: None, begun: None, equal: HashMap::new() }
    }

    /// Of a record: of its bytes, and those of its resource and scope. Of equal ones in a request each has its own. One
    /// without any time would be equal to what another request says later, so `has_time` false adds the request.
    pub(super) fn next(&mut self, record: &Record<'a>, has_time: bool) -> Uuid {
        let mut hash = with(self.begin(record), record.bytes);
        if !has_time {
            hash.update(self.whole.get_or_insert_with(|| Sha256::digest(self.request).into()));
        }
        let hash: Hash = hash.finalize().into();
        let ordinal = self.equal.entry(hash).or_default();
        let id = Uuid::new_v5(&NAMESPACE, &[&hash[..], &ordinal.to_be_bytes()].concat());
        *ordinal += 1;
        id
    }

    /// The hash of a record's resource and scope, which is kept: records of a scope stand together, as its scopes do.
    fn begin(&mut self, record: &Record<'a>) -> Sha256 {
        let Record { resource, scope, .. } = *record;
        let before = self.begun.take().filter(|before| ptr::eq(before.resource, resource));
        let begun = match before {
            Some(before) if ptr::eq(before.scope, scope) => before,
            before => {
                let with_resource =
                    before.map_or_else(|| with(Sha256::new(), resource), |before| before.with_resource);
                let with_scope = with(with_resource.clone(), scope);
                Begun { resource, with_resource, scope, with_scope }
            }
        };
        self.begun.insert(begun).with_scope.clone()
    }
}

/// A hash, and then these bytes; where they end is a part of it.
fn with(mut hash: Sha256, bytes: &[u8]) -> Sha256 {
    hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(bytes);
    hash
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
        let id = |record: Record<'static>| Ids::of(b"request").next(&record, true);
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
    fn what_came_before_in_a_request_makes_no_other_id() {
        let (resource, scope) = (&b"another resource"[..], &b"another scope"[..]);
        let all = [A, Record { scope, ..A }, A, Record { resource, ..A }, Record { resource, scope, ..A }, A];
        let mut ids = Ids::of(b"request");
        let together = all.map(|record| ids.next(&record, true));
        let alone = |index: usize| Ids::of(b"request").next(&all[index], true);
        assert_eq!(together[..2], [alone(0), alone(1)]);
        assert_eq!(together[3..5], [alone(3), alone(4)]);
        // Equal ones, each with an id of its own whatever stands between them.
        let mut ids = Ids::of(b"request");
        assert_eq!([together[0], together[2], together[5]], [A; 3].map(|record| ids.next(&record, true)));
    }

    #[test]
    fn the_request_counts_where_there_is_no_time_and_only_there() {
        let id = |request: &[u8], has_time| Ids::of(request).next(&A, has_time);
        assert_eq!(id(b"one", true), id(b"two", true));
        assert_eq!(id(b"one", false), id(b"one", false));
        assert_ne!(id(b"one", false), id(b"two", false));
    }
}
