//! docs/claims.md and its Russian twin: written of docs/claims.json, and of nothing else; every quotation is in the
//! lectures, and every command exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, error::ErrorKind};
use compare::{
    claims::{Language, Lecture, Record, page, rules},
    stats::median,
};
use proto::Transport;

const PAGES: [(Language, &str); 2] = [(Language::English, "claims.md"), (Language::Russian, "claims.ru.md")];

/// The sentences of the lectures that are judged, opinion and history among them.
const CLAIMS: u8 = 38;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn record() -> Record {
    Record::read(&root().join("docs")).expect("docs/claims.json is a record")
}

#[test]
fn the_pages_are_those_of_the_committed_figures() {
    for (language, name) in PAGES {
        let (written, page) = (page::render(&record(), language), read(&format!("docs/{name}")));
        let differs = written.lines().zip(page.lines()).position(|(one, other)| one != other);
        assert!(
            written == page,
            "docs/{name} differs from its figures, at line {}: `compare claims --draw docs` writes it again",
            differs.map_or(0, |line| line + 1)
        );
    }
}

#[test]
fn the_verdicts_are_those_of_the_rules() {
    let record = record();
    assert_eq!(record.clone().judged_again().claims, record.claims);
    for claim in rules::all() {
        let findings = Language::ALL.map(|language| (claim.rule)(&record.figures, language));
        let [english, russian] = findings.map(|finding| finding.map(|finding| finding.verdict));
        assert_eq!(english, russian, "claim {} is judged alike in both languages", claim.id);
        assert!(record.claims.iter().any(|judged| judged.id == claim.id), "claim {} is measured", claim.id);
    }
}

#[test]
fn another_measurement_is_another_verdict() {
    let judged = |record: &Record, id: u8| {
        record
            .claims
            .iter()
            .find(|judged| judged.id == id)
            .map(|judged| judged.verdict)
            .expect("it is measured")
    };
    let before = record();
    let mut other = before.clone();
    let grid = other.figures.grid.as_mut().expect("the grid was measured");
    // grpc is ahead of all, everywhere.
    let best = grid.rows.iter().map(|row| median(&row.per_second)).fold(0.0, f64::max);
    for row in &mut grid.rows {
        if row.subject == compare::workload::Subject::Transport(Transport::Grpc) {
            row.per_second.iter_mut().for_each(|rate| *rate = best * 10.0);
        }
    }
    let wires = other.figures.wires.as_mut().expect("the wires were looked at");
    wires.acknowledged_before_the_last[0] = 0;
    let shop = other.figures.shop.as_mut().expect("the shop was open");
    shop.passed_the_check = shop.paid;
    let queues = other.figures.queues.as_mut().expect("queues were tried");
    queues.listener_killed[1] = 1;
    let after = other.judged_again();
    for id in [4, 8, 11, 18, 27, 36, 37] {
        assert_ne!(judged(&before, id), judged(&after, id), "claim {id}");
    }
}

#[test]
fn every_sentence_that_is_judged_has_a_number_once() {
    let measured: BTreeSet<u8> = rules::all().map(|claim| claim.id).collect();
    assert_eq!(measured.len(), rules::all().count(), "no number is given twice");
    for (_, name) in PAGES {
        let page = read(&format!("docs/{name}"));
        // The first cell of a row.
        let written =
            page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok());
        let written: BTreeSet<u8> = written.collect();
        assert!(written.is_disjoint(&measured), "{name}");
        assert_eq!(
            written.union(&measured).copied().collect::<Vec<_>>(),
            (1..=CLAIMS).collect::<Vec<_>>(),
            "{name}"
        );
    }
}

/// The text without Markdown's marks, with one space between words.
fn plain(text: &str) -> String {
    let text: String = text.chars().filter(|letter| !"*`".contains(*letter)).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the parts of a quotation, between which something is left out, stand in a text in this order.
fn is_quoted(quote: &str, text: &str) -> bool {
    let (mut rest, quote) = (text, plain(quote));
    for part in quote.split('…').map(str::trim).filter(|part| !part.is_empty()) {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[test]
fn every_quotation_is_in_its_lecture() {
    let lecture = |lecture: Lecture| plain(&read(lecture.file()));
    for claim in rules::all() {
        assert!(
            !claim.quotes.is_empty() && claim.quotes_en.len() <= claim.quotes.len(),
            "claim {}",
            claim.id
        );
        for (source, quote) in claim.quotes {
            assert!(is_quoted(quote, &lecture(*source)), "claim {}: {quote}", claim.id);
        }
    }
    let both = [Lecture::RpcGrpc, Lecture::WaysToTalk].map(lecture);
    // In tables the sentence is the beginning of a cell; the labs' teachers get some, too.
    for page in
        ["docs/claims.md", "docs/claims.ru.md", "course/labs/TEACHING.md", "course/labs/TEACHING.ru.md"]
    {
        let text = read(page);
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let quotes: Vec<&str> =
            rows.filter_map(|row| Some(row.split_once("| «")?.1.split_once('»')?.0)).collect();
        assert!(quotes.len() > 5, "{page} quotes the lectures");
        for quote in quotes {
            assert!(both.iter().any(|lecture| is_quoted(quote, lecture)), "{page}: {quote}");
        }
    }
    assert!(!is_quoted("RPC … this is in no lecture", &both[0]));
}

#[test]
fn a_lab_names_the_claims_that_it_shows() {
    let labs: Vec<PathBuf> = fs::read_dir(root().join("course/labs"))
        .expect("the labs")
        .map(|lab| lab.expect("an entry").path())
        .filter(|lab| lab.join("lab.toml").exists())
        .collect();
    for claim in rules::all() {
        let Some(number) = claim.lab else { continue };
        let is_it = |lab: &&PathBuf| {
            lab.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{number:02}-")))
        };
        let lab = labs.iter().find(is_it).unwrap_or_else(|| panic!("there is no lab {number}"));
        for (name, page, word) in
            [("README.md", "claims.md", "claim"), ("README.ru.md", "claims.ru.md", "тезис")]
        {
            let text = fs::read_to_string(lab.join(name)).expect("a README");
            let link = format!("docs/{page}#{word}-{})", claim.id);
            assert!(text.contains(&link), "{}/{name}: {link}", lab.display());
        }
    }
}

/// What stands between backticks, on one line.
fn in_backticks(text: &str) -> Vec<String> {
    let prose: Vec<&str> = text.lines().filter(|line| !line.starts_with("    ")).collect();
    let prose = prose.join("\n");
    prose.split('`').skip(1).step_by(2).map(plain).collect()
}

#[test]
fn every_command_that_the_pages_name_exists() {
    let makefile = read("Makefile");
    let mut tried = 0;
    for (_, name) in PAGES {
        for command in in_backticks(&read(&format!("docs/{name}"))) {
            let words: Vec<&str> = command.split(' ').collect();
            let parsed = match words[0] {
                "compare" => compare::config::Arguments::command().try_get_matches_from(&words).map(drop),
                "fourwire" => cli::Config::command().try_get_matches_from(&words).map(drop),
                "make" => {
                    assert!(makefile.contains(&format!("\n{}:", words[1])), "{name}: {command}");
                    Ok(())
                }
                _ => continue,
            };
            // A command may be named without its file.
            let names = |error: &clap::Error| error.kind() == ErrorKind::MissingRequiredArgument;
            if let Err(error) = parsed {
                assert!(names(&error), "{name}: {command}: {error}");
            }
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}
