//! The store that keeps nothing: every entry is new, and forgotten.

use proto::Outcome;

use super::{Answer, Batch};

/// What is answered to a group.
pub(super) fn answers(group: &[Batch]) -> Vec<Answer> {
    group.iter().map(|batch| Ok(batch.arrivals.iter().map(|_| Ok(Outcome::Stored)).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Store, StoreUrl, fixtures::*};
    use super::*;

    #[tokio::test]
    async fn everything_is_stored_and_nothing_is_there() {
        let mut store = Store::open(&StoreUrl::Nothing).expect("nothing to open");
        let group = [each(vec![arrival(1, "a"), arrival(2, "b")]), all_or_none(vec![arrival(1, "c")])];
        let answers = store.commit(&group).expect("no disk that could fail");
        assert_eq!(answers, [Ok(vec![Ok(Outcome::Stored); 2]), Ok(vec![Ok(Outcome::Stored)])]);
        assert_eq!(store.reader().get(id(1)).await, Ok(None));
    }
}
