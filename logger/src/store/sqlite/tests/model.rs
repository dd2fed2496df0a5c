//! The store against a model of it, under random operations.

use std::{collections::BTreeMap, fs};

use proptest::prelude::*;
use proto::{BatchMode, Code, Outcome, Query};

use super::{super::prune, connection, page::Budget, walk};
use tempfile::TempDir;

use crate::store::{Batch, Store, StoreUrl, fixtures::*};

/// Together at least 10,000 steps. Each case opens files, so they are few and long.
const CASES: u32 = 100;
const LEAST_STEPS: usize = 100;

#[derive(Debug, Clone)]
enum Step {
    /// Batches of (id, content), each all or none or not; committed as one group.
    Commit(Vec<(BatchMode, Vec<(u128, u8)>)>),
    Reopen,
    /// What is in the files at this moment is all that the next start finds.
    Crash,
    /// Deletes what is older than the entry of this place, counted from the oldest.
    Prune(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop_oneof![Just(BatchMode::AllOrNone), Just(BatchMode::Each)];
    let batch = (mode, prop::collection::vec((0..40_u128, 0..2_u8), 1..5));
    let step = prop_oneof![
        16 => prop::collection::vec(batch, 1..4).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
        2 => (0..20_usize).prop_map(Step::Prune),
    ];
    prop::collection::vec(step, LEAST_STEPS..LEAST_STEPS + 10)
}

/// What is stored: its content, and how often it was written.
type Model = BTreeMap<u128, (u8, u32)>;

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

fn commit(store: &mut Store, model: &mut Model, batches: &[(BatchMode, Vec<(u128, u8)>)]) {
    let group: Vec<Batch> = batches
        .iter()
        .map(|(mode, entries)| Batch {
            arrivals: entries.iter().map(|(id, number)| arrival(*id, &content(*number))).collect(),
            mode: *mode,
        })
        .collect();
    let answers = store.commit(&group).expect("committed");
    for ((mode, entries), answer) in batches.iter().zip(answers) {
        let answer = answer
            .map(|results| results.into_iter().map(|result| result.map_err(|failure| failure.code)).collect())
            .map_err(|failure| failure.code);
        assert_eq!(answer, expect(model, *mode, entries));
    }
}

fn stored(store: &mut Store) -> Model {
    let entries = walk(store, Query { limit: 15, ..Query::default() }, Budget::DEFAULT);
    entries
        .into_iter()
        .map(|entry| {
            let number = u8::from(entry.data == content(1));
            assert_eq!(entry.data, content(number));
            (entry.id.as_u128() - 1, (number, entry.attempts))
        })
        .collect()
}

fn prune_both(store: &mut Store, model: &mut Model, place: usize) {
    let mut entries = walk(store, Query::default(), Budget::DEFAULT);
    entries.reverse();
    let Some(horizon) = entries.get(place).map(|entry| entry.stored_at) else {
        return;
    };
    prune::step(connection(store), Some(horizon), None, prune::Step::USUAL).expect("pruned");
    for entry in entries.iter().filter(|entry| entry.stored_at < horizon) {
        model.remove(&(entry.id.as_u128() - 1));
    }
}

/// What survives here survives in the cache of the file system: the model is not about a loss of power, and
/// syncing would take most of the time.
fn without_sync(mut store: Store) -> Store {
    connection(&mut store).pragma_update(None, "synchronous", "OFF").expect("a setting");
    store
}

/// As a process that is killed leaves them: the log is not taken over, and its index is rebuilt.
fn crash(store: Store, url: &StoreUrl) -> (TempDir, StoreUrl, Store) {
    let old = file(url);
    let directory = tempfile::tempdir().expect("a directory");
    let new = directory.path().join("logs.db");
    for end in ["", "-wal"] {
        let with_end = |path: &std::path::Path| format!("{}{end}", path.display());
        fs::copy(with_end(old), with_end(&new)).expect("the store is open, so both are there");
    }
    drop(store);
    let url = StoreUrl::Sqlite(new);
    let store = Store::open(&url).expect("opened after a crash");
    (directory, url, without_sync(store))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn the_store_does_what_its_model_does(steps in steps()) {
        let (mut _directory, mut url, store) = new_store();
        let mut store = without_sync(store);
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Commit(batches) => commit(&mut store, &mut model, &batches),
                Step::Reopen => {
                    store.close();
                    store = without_sync(Store::open(&url).expect("opened again"));
                }
                Step::Crash => (_directory, url, store) = crash(store, &url),
                Step::Prune(place) => prune_both(&mut store, &mut model, place),
            }
            assert_eq!(stored(&mut store), model);
        }
    }
}
