//! What every kind of store must do, in two parts: `store_suite!(sqlite)` runs both on one kind. It asks the contract
//! alone; what a kind does besides is tried beside it.

mod durability;
mod model;
mod promises;

use std::sync::Arc;

use proto::{Cursor, Failure, Outcome, Page, Query, StoredEntry, TailQuery, Time};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::{Answer, Arrival, Batch, Followed, Reader, Store, fixtures};

/// A place where a kind of store keeps entries, which vanishes when it is dropped.
pub(super) trait Place {
    /// The kind.
    type Store: Store;

    /// A new one.
    fn new() -> Self;

    /// Opens what is there.
    fn open(&mut self) -> Self::Store;

    /// Deletes what was stored before a time, as retention does.
    fn forget(&mut self, store: &mut Self::Store, before: Time);
}

/// One whose store outlives its logger.
pub(super) trait Durable: Place {
    /// How often the store is compared with its model over restarts and crashes.
    const CASES: u32 = model::CASES;

    /// Ends the logger of a store as `kill -9` does, and opens what is left.
    fn crash(&mut self, store: Self::Store) -> Self::Store;
}

/// Runs the suite on a kind of store, or some parts of it. Its module has the [`Place`]. A macro, since each test must be
/// one of its own.
macro_rules! store_suite {
    ($kind:ident) => {
        store_suite!($kind: promises in Place, durability in Place);
    };
    ($kind:ident: $($part:ident in $place:ident),+) => {
        mod $kind {
            $(mod $part {
                $part!(crate::store::$kind::$place);
            })+
        }
    };
}

macro_rules! promises {
    ($place:ty) => {
        tests!($place, promises:
            an_entry_is_read_back_as_it_was_written,
            the_same_content_again_is_a_duplicate_and_counted,
            other_content_under_the_same_id_is_a_conflict_that_changes_nothing,
            a_batch_of_all_or_none_is_taken_back_alone,
            each_entry_of_a_batch_has_its_own_result,
            an_id_twice_in_a_batch_is_a_duplicate_or_a_conflict,
            a_batch_without_entries_is_passed_over,
            the_store_does_what_its_model_does,
            an_empty_store_has_an_empty_page_and_no_next,
            the_newest_come_first_and_the_last_page_has_no_next,
            every_filter_finds_exactly_what_it_says_whatever_the_page_size,
            since_and_until_outside_of_what_is_stored_are_all_or_nothing,
            a_walk_misses_and_repeats_nothing_while_others_write,
            a_cursor_beyond_the_newest_entry_is_the_newest_page,
            many_readers_at_once_are_all_answered,
            a_tail_follows_in_the_order_of_storing_and_by_its_filters,
            a_tail_that_ends_is_told_all_before_its_end,
            what_came_twice_is_not_missed,
            what_is_deleted_is_missed_and_its_id_is_forgotten,
            a_cursor_of_another_store_is_refused,
            a_reader_is_told_of_each_commit_once,
            a_reader_is_told_that_the_store_is_closed,
            stored_at_never_goes_backwards,
            beyond_its_size_the_oldest_are_deleted,
            a_store_that_is_well_says_so,
        );
    };
}

macro_rules! durability {
    ($place:ty) => {
        tests!($place, durability:
            a_store_that_is_opened_again_has_everything,
            what_was_answered_is_there_after_a_crash,
            the_store_does_what_its_model_does_over_restarts_and_crashes,
            what_came_twice_is_not_missed_over_restarts,
            stored_at_never_goes_backwards_over_restarts,
        );
    };
}

macro_rules! tests {
    ($place:ty, $part:ident: $($name:ident,)+) => {
        $(#[test]
        fn $name() {
            crate::store::suite::$part::$name(crate::store::suite::Trial::<$place>::new());
        })+
    };
}

store_suite!(sqlite);
store_suite!(postgres: promises in Place, durability in OwnServer);

/// A store that is tried, without a word about who waits for whom.
struct Trial<P: Place> {
    runtime: Runtime,
    store: P::Store,
    reader: Reader,
    place: P,
}

impl<P: Place> Trial<P> {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut place = P::new();
        let store = place.open();
        let reader = store.reader();
        Trial { runtime, store, reader, place }
    }

    /// Stores one entry in a group of its own.
    fn store_one(&mut self, arrival: Arrival) -> Result<Outcome, Failure> {
        fixtures::store_one(&mut self.store, arrival)
    }

    fn commit(&mut self, group: &[Batch]) -> Vec<Answer> {
        self.store.commit(group).expect("committed")
    }

    fn get(&self, id: Uuid) -> Option<StoredEntry> {
        self.runtime.block_on(self.reader.get(id)).expect("readable")
    }

    fn page(&self, query: &Query) -> Page {
        self.runtime.block_on(self.reader.page(query.clone())).expect("readable")
    }

    /// Every entry that meets the query, newest first, in pages of its limit.
    fn walk(&self, mut query: Query) -> Vec<StoredEntry> {
        let mut found = Vec::new();
        loop {
            let page = self.page(&query);
            assert!(page.entries.len() <= query.limit);
            found.extend(page.entries);
            match page.next {
                Some(next) => assert!(query.cursor.replace(next).is_none_or(|last| next < last), "goes on"),
                None => return found,
            }
        }
    }

    fn all(&self) -> Vec<StoredEntry> {
        self.walk(Query { limit: 1_000, ..Query::default() })
    }

    fn follow(&mut self, query: TailQuery, after: i64) -> Followed {
        let query = Arc::new(query);
        let followed = self.reader.follow(&query, Cursor::after(after));
        self.runtime.block_on(followed).expect("readable")
    }

    /// Closes it in order, and opens it again.
    fn reopen(self) -> Self {
        self.replace(|place, store| {
            Box::new(store).close();
            place.open()
        })
    }

    fn replace(self, again: impl FnOnce(&mut P, P::Store) -> P::Store) -> Self {
        let Trial { runtime, store, reader, mut place } = self;
        drop(reader);
        let store = again(&mut place, store);
        let reader = store.reader();
        Trial { runtime, store, reader, place }
    }
}

impl<P: Durable> Trial<P> {
    fn crash(self) -> Self {
        self.replace(P::crash)
    }
}
