//! What can be said of the labs without running one.

use std::{collections::BTreeSet, fs};

use crate::{catalogue, words::Locale};

/// The words of a text, whatever its line breaks.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_lab_is_complete() {
    let labs = catalogue::all().expect("readable");
    assert!(labs.len() >= 4, "they are found");
    for lab in &labs {
        let name = lab.name();
        assert!(lab.dir.ends_with(&name), "{name} is in a directory of that name");
        assert_eq!(lab.hints.len(), 3, "{name}: hints");
        assert!(lab.limit_s <= 60, "{name}: the limit");
        assert!(lab.property(lab.start_fails).is_some(), "{name}: start_fails");
        assert!(lab.product_passes.iter().all(|id| lab.property(*id).is_some()), "{name}: product_passes");
        let ids: Vec<u32> = lab.properties.iter().map(|property| property.id).collect();
        assert!(ids.iter().copied().eq(1..=ids.len() as u32), "{name}: {ids:?}");
        for language in lab.languages() {
            for kind in ["start", "solution"] {
                let dir = lab.dir.join(kind).join(language);
                let file = ["main.py", "main.rs", "main.go"].into_iter().find(|file| dir.join(file).exists());
                let text = fs::read_to_string(dir.join(file.expect("one file"))).expect("readable");
                let limit = if language == "python" { 200 } else { 240 };
                assert!(text.lines().count() <= limit, "{name}: {kind} in {language} is too long");
                assert_eq!(
                    text.contains("TODO"),
                    kind == "start",
                    "{name}: TODO in the {kind} in {language}"
                );
            }
        }
    }
}

#[test]
fn every_property_stands_in_the_readme_and_has_a_mutant() {
    for lab in catalogue::all().expect("readable") {
        let name = lab.name();
        for (file, locale) in [("README.md", Locale::En), ("README.ru.md", Locale::Ru)] {
            let readme = words(&fs::read_to_string(lab.dir.join(file)).expect("readable"));
            for property in &lab.properties {
                let line = words(&format!("{}. {}", property.id, property.title.of(locale)));
                assert!(readme.contains(&line), "{name}/{file} does not say: {line}");
            }
        }
        let mutants = lab.mutants().expect("readable");
        assert!(mutants.iter().filter(|mutant| mutant.ci).count() >= 4, "{name}: mutants in CI");
        let caught: BTreeSet<u32> = mutants.iter().map(|mutant| mutant.caught_by).collect();
        assert!(caught.iter().all(|id| lab.property(*id).is_some()), "{name}: {caught:?}");
        // The first is that it works at all: the start fails it, or what it does wrong.
        let without: Vec<u32> = lab
            .properties
            .iter()
            .map(|property| property.id)
            .filter(|id| *id != 1 && !caught.contains(id))
            .collect();
        assert!(without.is_empty(), "{name}: no mutant for the properties {without:?}");
    }
}

#[test]
fn every_mutant_fits_its_solution() {
    let mut in_ci = 0;
    let labs = catalogue::all().expect("readable");
    for lab in &labs {
        let solution = fs::read_to_string(lab.dir.join("solution/python/main.py")).expect("readable");
        for mutant in lab.mutants().expect("readable") {
            let text = mutant.apply(&solution).unwrap_or_else(|error| panic!("{}: {error}", lab.name()));
            assert_ne!(text, solution, "{}: {}", lab.name(), mutant.name);
            assert!(!mutant.why.en.is_empty() && !mutant.why.ru.is_empty());
            in_ci += usize::from(mutant.ci);
        }
    }
    assert!(labs.len() < 10 || in_ci >= 48, "{in_ci} mutants in CI");
}

#[test]
fn a_mutant_that_fits_twice_or_never_is_refused() {
    let mut mutant = catalogue::lab(1).expect("there is one").mutants().expect("readable").remove(0);
    mutant.replace = vec![("a".to_owned(), "b".to_owned())];
    assert_eq!(mutant.apply("cat").expect("once"), "cbt");
    mutant.apply("banana").expect_err("three times");
    mutant.apply("dog").expect_err("never");
}
