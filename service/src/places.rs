//! Slots that clients share, such as those for streams: at the limit, the client with the most gives one up for a
//! client with fewer.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// So many places and no more. Clones share them.
#[derive(Debug, Clone)]
pub struct Places<Holder>(Arc<Inner<Holder>>);

#[derive(Debug)]
struct Inner<Holder> {
    limit: usize,
    taken: Mutex<Taken<Holder>>,
}

#[derive(Debug)]
struct Taken<Holder> {
    next: u64,
    /// Each with the number of its place, the oldest first.
    by_holder: HashMap<Holder, Vec<(u64, CancellationToken)>>,
}

/// A place, until it is dropped or given up.
#[derive(Debug)]
pub struct Place<Holder: Hash + Eq> {
    places: Places<Holder>,
    holder: Holder,
    number: u64,
    given_up: CancellationToken,
}

impl<Holder: Clone + Hash + Eq> Places<Holder> {
    /// So many.
    pub fn new(limit: usize) -> Self {
        let taken = Mutex::new(Taken { next: 0, by_holder: HashMap::new() });
        Places(Arc::new(Inner { limit, taken }))
    }

    /// Takes one. If all are taken, the holder that has most gives up its newest, unless this one had as many then.
    pub fn take(&self, holder: Holder) -> Option<Place<Holder>> {
        let mut taken = self.taken();
        let own = taken.by_holder.get(&holder).map_or(0, Vec::len);
        let all: usize = taken.by_holder.values().map(Vec::len).sum();
        if all >= self.0.limit {
            let (most, places) = taken.by_holder.iter().max_by_key(|(_, places)| places.len())?;
            if places.len() <= own + 1 {
                return None;
            }
            let most = most.clone();
            let (_, given_up) = taken.by_holder.get_mut(&most)?.pop()?;
            given_up.cancel();
        }
        let (number, given_up) = (taken.next, CancellationToken::new());
        taken.next += 1;
        taken.by_holder.entry(holder.clone()).or_default().push((number, given_up.clone()));
        Some(Place { places: self.clone(), holder, number, given_up })
    }

    /// How many are taken.
    pub fn taken_now(&self) -> usize {
        self.taken().by_holder.values().map(Vec::len).sum()
    }
}

impl<Holder> Places<Holder> {
    fn taken(&self) -> MutexGuard<'_, Taken<Holder>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Holder: Hash + Eq> Place<Holder> {
    /// Tells when it had to be given up: what was done in it is to end.
    pub fn given_up(&self) -> CancellationToken {
        self.given_up.clone()
    }
}

impl<Holder: Hash + Eq> Drop for Place<Holder> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(places) = taken.by_holder.get_mut(&self.holder) {
            places.retain(|(number, _)| *number != self.number);
            if places.is_empty() {
                taken.by_holder.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_most_gives_its_newest_up_for_who_has_fewer() {
        let places = Places::new(4);
        let greedy: Vec<_> = (0..4).map(|_| places.take("greedy").expect("it is free")).collect();
        let given_up = || greedy.iter().map(|place| place.given_up.is_cancelled()).collect::<Vec<_>>();
        assert!(places.take("greedy").is_none(), "nobody gives up anything for one that has most itself");
        let first = places.take("other").expect("one is given up");
        assert_eq!(given_up(), [false, false, false, true]);
        let second = places.take("other").expect("one more");
        assert_eq!(given_up(), [false, false, true, true]);
        assert!(places.take("other").is_none(), "now they have as many");
        assert!(![&first, &second].iter().any(|place| place.given_up.is_cancelled()));
        drop((first, second, greedy));
        assert_eq!(places.taken_now(), 0, "what was given up is not counted down twice");
    }

    #[test]
    fn where_each_has_one_a_newcomer_is_refused_until_one_is_free() {
        let places = Places::new(2);
        let (first, _second) = (places.take(1), places.take(2));
        assert!(places.take(3).is_none());
        drop(first);
        assert!(places.take(3).is_some());
    }
}
