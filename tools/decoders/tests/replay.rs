//! Feeds the decoders with the bytes that fuzzing has found to be of interest.

use std::{
    collections::BTreeSet,
    fs, panic,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use decoders::{TARGETS, Target};

/// Far more than it takes: past it, an input is found that takes too long.
const TIME_LIMIT: Duration = Duration::from_secs(30);

fn fuzz(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(place)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.expect("a file").path()).collect()
}

/// The names without what stands behind the dot.
fn names(place: &str) -> BTreeSet<String> {
    let stem = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
    files(&fuzz(place)).iter().map(stem).collect()
}

/// The inputs for which the target panics; it has said why.
fn failing(name: &str, target: Target) -> Vec<PathBuf> {
    let corpus = files(&fuzz("corpus").join(name));
    assert!(!corpus.is_empty(), "{name} has an empty corpus");
    let panics = |path: &PathBuf| {
        let input = fs::read(path).expect("readable");
        panic::catch_unwind(|| target(&input)).is_err()
    };
    corpus.into_iter().filter(panics).collect()
}

#[test]
fn every_input_of_the_corpus_is_decoded_as_it_must_be() {
    let begun = Instant::now();
    let failing: Vec<PathBuf> = TARGETS.iter().flat_map(|(name, target)| failing(name, *target)).collect();
    assert!(failing.is_empty(), "{failing:#?}");
    assert!(begun.elapsed() < TIME_LIMIT, "it took {:?}", begun.elapsed());
}

#[test]
fn every_decoder_is_fuzzed_and_has_a_corpus() {
    let decoders: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), decoders);
    assert_eq!(names("corpus"), decoders);
}
