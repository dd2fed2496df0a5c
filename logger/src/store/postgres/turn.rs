//! The entries as a group sees them that has the turn: what is there already, and what the group adds.

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
};

use tokio_postgres::Row;
use uuid::Uuid;

use super::cause::Cause;
use crate::store::{
    Arrival, Batch,
    decide::{Added, Content, Table},
};

/// In memory: nobody else writes while the turn is ours.
#[derive(Debug, Default)]
pub(super) struct Turn<'a> {
    there: HashMap<Uuid, There<'a>>,
    /// What the group does, in its order.
    steps: Vec<Step<'a>>,
    /// How many steps there were when the batch began that may be taken back.
    began: usize,
}

/// An entry that is there.
#[derive(Debug)]
struct There<'a> {
    /// `None`, where it is longer than what came.
    content: Option<Content<'a>>,
    /// How often it has come before this group; 0 if this group brings it.
    attempts: i64,
}

#[derive(Debug)]
enum Step<'a> {
    Add(&'a Arrival),
    CountAgain(Uuid),
}

/// What a group changes.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// Entries that are new, in the order of their numbers.
    pub(super) new: Vec<New<'a>>,
    /// Entries that were there and have come again.
    pub(super) again: Vec<Again>,
}

/// A new entry.
#[derive(Debug)]
pub(super) struct New<'a> {
    pub(super) arrival: &'a Arrival,
    /// How often it comes in this group.
    pub(super) attempts: i64,
}

/// An entry that has come again.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) id: Uuid,
    /// How often.
    pub(super) more: i64,
    /// How often it has come then in all.
    pub(super) attempts: i64,
}

impl<'a> Turn<'a> {
    /// One in which these rows are there; their columns are those of `LOOK`.
    ///
    /// # Errors
    /// If a row is none.
    pub(super) fn new(rows: &'a [Row]) -> Result<Self, Cause> {
        let mut there = HashMap::with_capacity(rows.len());
        for row in rows {
            // Where none is there, there is still the clock.
            let Some(id) = row.try_get::<_, Option<Uuid>>(1)? else { continue };
            let (name, level, data): (&str, &str, Option<&str>) =
                (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            let content = data.map(|data| Content { name, level, data });
            there.insert(id, There { content, attempts: row.try_get(5)? });
        }
        Ok(Turn { there, ..Turn::default() })
    }

    /// What is to be written.
    pub(super) fn plan(self) -> Plan<'a> {
        let mut plan = Plan::default();
        // Where an id stands in one of the two lists.
        let mut places: HashMap<Uuid, usize> = HashMap::new();
        for step in &self.steps {
            match step {
                Step::Add(arrival) => {
                    places.insert(arrival.entry.id(), plan.new.len());
                    plan.new.push(New { arrival, attempts: 1 });
                }
                Step::CountAgain(id) => {
                    let before = self.there.get(id).map_or(0, |there| there.attempts);
                    match places.entry(*id) {
                        Entry::Occupied(place) if before == 0 => plan.new[*place.get()].attempts += 1,
                        Entry::Occupied(place) => {
                            let again = &mut plan.again[*place.get()];
                            (again.more, again.attempts) = (again.more + 1, again.attempts + 1);
                        }
                        Entry::Vacant(place) => {
                            place.insert(plan.again.len());
                            plan.again.push(Again { id: *id, more: 1, attempts: before + 1 });
                        }
                    }
                }
            }
        }
        plan
    }
}

impl<'a> Table<'a> for Turn<'a> {
    type Error = Infallible;

    fn add(&mut self, arrival: &'a Arrival) -> Result<Added, Infallible> {
        let content = Content::from(arrival);
        Ok(match self.there.entry(arrival.entry.id()) {
            Entry::Occupied(there) => Added::There { same: there.get().content == Some(content) },
            Entry::Vacant(place) => {
                place.insert(There { content: Some(content), attempts: 0 });
                self.steps.push(Step::Add(arrival));
                Added::New
            }
        })
    }

    fn count_again(&mut self, id: Uuid) -> Result<(), Infallible> {
        self.steps.push(Step::CountAgain(id));
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Infallible> {
        self.began = self.steps.len();
        Ok(())
    }

    fn keep(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn take_back(&mut self) -> Result<(), Infallible> {
        for step in self.steps.drain(self.began..) {
            if let Step::Add(arrival) = step {
                self.there.remove(&arrival.entry.id());
            }
        }
        Ok(())
    }
}

/// The ids of a group, each once, with the bytes of the longest data that came under it.
pub(super) fn asked(group: &[Batch]) -> (Vec<Uuid>, Vec<i32>) {
    let mut longest: HashMap<Uuid, usize> = HashMap::new();
    for arrival in group.iter().flat_map(|batch| &batch.arrivals) {
        let bytes = longest.entry(arrival.entry.id()).or_default();
        *bytes = (*bytes).max(arrival.entry.data().len());
    }
    longest.into_iter().map(|(id, bytes)| (id, i32::try_from(bytes).unwrap_or(i32::MAX))).unzip()
}
