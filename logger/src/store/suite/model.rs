//! The store against a model of it, under random operations.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::TestRunner};
use proto::{BatchMode, Code, Outcome, Query, StoredEntry};

use super::{Place, Trial};
use crate::store::{Batch, fixtures::arrival};

/// Cases over restarts and crashes, together at least 10,000 steps. Each opens files, so they are few and long.
pub(super) const CASES: u32 = 100;
const LEAST_STEPS: usize = 100;

/// Cases without: what they try the others try too.
pub(super) const FEW_CASES: u32 = 20;

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Batches of (id, content), each all or none or not; committed as one group.
    Commit(Vec<(BatchMode, Vec<(u128, u8)>)>),
    /// Deletes what is older than the entry of this place, counted from the oldest.
    Delete(usize),
    End(End),
}

/// How a store ends before it is opened again.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Reopen,
    /// What is kept at this moment is all that the next start finds.
    Crash,
}

fn commit_step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![Just(BatchMode::AllOrNone), Just(BatchMode::Each)];
    let batch = (mode, prop::collection::vec((0..40_u128, 0..2_u8), 1..5));
    prop::collection::vec(batch, 1..4).prop_map(Step::Commit)
}

fn delete_step() -> impl Strategy<Value = Step> {
    (0..20_usize).prop_map(Step::Delete)
}

fn many(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step, LEAST_STEPS..LEAST_STEPS + 10)
}

pub(super) fn commits_and_deletions() -> impl Strategy<Value = Vec<Step>> {
    many(prop_oneof![8 => commit_step(), 1 => delete_step()])
}

pub(super) fn all_steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![Just(End::Reopen), Just(End::Crash)].prop_map(Step::End);
    many(prop_oneof![8 => commit_step(), 1 => delete_step(), 1 => end])
}

/// What is stored: its content, and how often it was written.
type Model = BTreeMap<u128, (u8, u32)>;

/// Does what the steps say to new stores of a kind, and holds each against its model after each step.
pub(super) fn compare<P: Place>(
    cases: u32,
    steps: impl Strategy<Value = Vec<Step>>,
    end: impl Fn(Trial<P>, End) -> Trial<P>,
) {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(cases));
    let compared = runner.run(&steps, |steps| {
        let (mut it, mut model) = (Trial::<P>::new(), Model::new());
        for step in steps {
            match step {
                Step::Commit(batches) => commit(&mut it, &mut model, &batches),
                Step::Delete(place) => delete(&mut it, &mut model, place),
                Step::End(how) => it = end(it, how),
            }
            assert_eq!(stored(&it), model);
        }
        Ok(())
    });
    compared.unwrap_or_else(|error| panic!("{error}"));
}

fn expect_one(model: &mut Model, id: u128, content: u8) -> Result<Outcome, Code> {
    match model.get_mut(&id) {
        None => {
            model.insert(id, (content, 1));
            Ok(Outcome::Stored)
        }
        Some((stored, attempts)) if *stored == content => {
            *attempts += 1;
            Ok(Outcome::Duplicate)
        }
        Some(_) => Err(Code::Conflict),
    }
}

fn expect(
    model: &mut Model,
    mode: BatchMode,
    entries: &[(u128, u8)],
) -> Result<Vec<Result<Outcome, Code>>, Code> {
    let before = model.clone();
    let results: Vec<_> = entries.iter().map(|(id, content)| expect_one(model, *id, *content)).collect();
    match (mode, results.iter().find_map(|result| result.err())) {
        (BatchMode::AllOrNone, Some(code)) => {
            *model = before;
            Err(code)
        }
        (BatchMode::AllOrNone, None) | (BatchMode::Each, _) => Ok(results),
    }
}

fn content(number: u8) -> String {
    format!("content {number}")
}

fn commit<P: Place>(it: &mut Trial<P>, model: &mut Model, batches: &[(BatchMode, Vec<(u128, u8)>)]) {
    let group: Vec<Batch> = batches
        .iter()
        .map(|(mode, entries)| Batch {
            arrivals: entries.iter().map(|(id, number)| arrival(*id, &content(*number))).collect(),
            mode: *mode,
        })
        .collect();
    for ((mode, entries), answer) in batches.iter().zip(it.commit(&group)) {
        let answer = answer
            .map(|results| results.into_iter().map(|result| result.map_err(|failure| failure.code)).collect())
            .map_err(|failure| failure.code);
        assert_eq!(answer, expect(model, *mode, entries));
    }
}

fn number(entry: &StoredEntry) -> u128 {
    entry.id.as_u128() - 1
}

fn stored<P: Place>(it: &Trial<P>) -> Model {
    let entries = it.walk(Query { limit: 15, ..Query::default() });
    let stored = entries.into_iter().map(|entry| {
        let content_number = u8::from(entry.data == content(1));
        assert_eq!(entry.data, content(content_number));
        (number(&entry), (content_number, entry.attempts))
    });
    stored.collect()
}

fn delete<P: Place>(it: &mut Trial<P>, model: &mut Model, place: usize) {
    let mut entries = it.all();
    entries.reverse();
    let Some(before) = entries.get(place).map(|entry| entry.stored_at) else {
        return;
    };
    it.place.forget(&mut it.store, before);
    for entry in entries.iter().filter(|entry| entry.stored_at < before) {
        model.remove(&number(entry));
    }
}
