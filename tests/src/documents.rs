//! What the documents name must exist: the files in backticks, the targets of links, the headings that a link leads to.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The endings of the files that documents name. What has none of them, or no slash at its end, is no path of ours.
const ENDINGS: [&str; 14] =
    ["rs", "md", "sh", "proto", "toml", "yml", "yaml", "json", "js", "py", "html", "css", "c", "lock"];

/// Made at run time or by a build, or not ours: documents name what is in them all the same.
const MADE: [&str; 9] = [
    ".git",
    ".run",
    "data",
    "target",
    "report.json",
    "report.html",
    "result.json",
    "progress.json",
    "peer.md",
];

#[test]
fn every_file_that_the_documents_name_exists() {
    let tree = tree();
    let mut missing = Vec::new();
    for document in documents() {
        let text = read(&document);
        for path in in_backticks(&text).into_iter().flat_map(|text| spelled_out(&text)) {
            if is_of_ours(&path) && !exists(&tree, &path) {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "these are not there:\n{}", missing.join("\n"));
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents().into_iter().chain(results()) {
        for link in links(&read(&document)) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let directory = Path::new(&document).parent().expect("a document is in a directory");
            let target = if path.is_empty() { PathBuf::from(&document) } else { directory.join(path) };
            let target = root().join(target);
            let found = match heading {
                "" => target.exists(),
                heading => fs::read_to_string(target).is_ok_and(|page| anchors(&page).contains(heading)),
            };
            if !found {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn lines_of_the_documents_have_at_most_120_columns() {
    let mut wide = Vec::new();
    for document in documents().into_iter().chain(results()) {
        let text = read(&document);
        // A row of a table and a line of JSON cannot be broken.
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with(['|', '{']));
        let lines = lines.filter(|(_, line)| line.chars().count() > 120);
        wide.extend(lines.map(|(number, _)| format!("{document}:{}", number + 1)));
    }
    assert!(wide.is_empty(), "wider than 120 columns:\n{}", wide.join("\n"));
}

#[test]
fn the_rules_find_what_they_should() {
    let text = "`a.rs` and `b` and\n\n    `not/this.rs`\n\n```\n`nor/this.rs`\n```\n`c/{d,e}.rs`";
    assert_eq!(in_backticks(text), ["a.rs", "b", "c/{d,e}.rs"]);
    assert_eq!(spelled_out("c/{d,e}.rs"), ["c/d.rs", "c/e.rs"]);
    for path in ["logger/src/writer.rs", "chaos/", "config.rs", "broker/src/gone.rs"] {
        assert!(is_of_ours(path), "{path}");
    }
    for other in [
        "data/logs.db",
        "target/quick/broker",
        "GET /logs/",
        "https://example.org/a.rs",
        "a b.rs",
        "…/ca.pem",
    ] {
        assert!(!is_of_ours(other), "{other}");
    }
    let tree = tree();
    for there in ["tests/src/documents.rs", "documents.rs", "tests/src/"] {
        assert!(exists(&tree, there), "{there}");
    }
    for missing in ["src/documents.rs", "ests/src/documents.rs", "nowhere.rs", "src/"] {
        assert!(!exists(&tree, missing), "{missing}");
    }
    assert_eq!(links("a [b](c.md#d) and [e](f)"), ["c.md#d", "f"]);
    assert_eq!(links("<img src=\"a.svg\"> <source srcset=\"b.webp\">"), ["a.svg", "b.webp"]);
    assert!(anchors("# One\n## What a 202 guarantees\n### `load`, \"x\"").contains("what-a-202-guarantees"));
    assert!(anchors("### `load`, \"x\"").contains("load-x"));
}

/// The documents that speak of the code as it is: neither dated results nor the list of changes.
fn documents() -> Vec<String> {
    let mut documents = pages("");
    documents.extend(pages("docs/"));
    documents.extend(pages("course/labs/"));
    for lab in fs::read_dir(root().join("course/labs")).expect("the directory can be read") {
        let lab = lab.expect("an entry");
        // `work` is what learners write.
        if lab.path().join("lab.toml").exists() {
            documents.extend(pages(&format!("course/labs/{}/", lab.file_name().to_string_lossy())));
        }
    }
    documents.retain(|document| document != "CHANGELOG.md");
    assert!(documents.len() > 10, "all of them are found");
    documents
}

fn results() -> Vec<String> {
    pages("docs/results/")
}

/// The pages of a directory, which is empty or ends in a slash.
fn pages(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).expect("the directory can be read");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".md")).map(|name| format!("{directory}{name}")).collect()
}

/// What stands between backticks, outside of blocks of code.
fn in_backticks(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    let parts: Vec<&str> = prose.split('`').collect();
    parts
        .chunks(2)
        .filter_map(|pair| pair.get(1))
        .filter(|part| !part.is_empty())
        .map(|part| one_line(part))
        .collect()
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn spelled_out(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((words, after)) = rest.split_once('}') else { return vec![path.to_owned()] };
    words.split(',').map(|word| format!("{before}{word}{after}")).collect()
}

/// Whether it is the path of a file or a directory that is committed here.
fn is_of_ours(path: &str) -> bool {
    let plain = path.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
    let first = path.split('/').next().unwrap_or_default();
    let is_directory = path.ends_with('/') && !path.starts_with('/');
    let ending =
        path.rsplit_once('.').is_some_and(|(before, ending)| !before.is_empty() && ENDINGS.contains(&ending));
    plain && !path.starts_with('/') && !MADE.contains(&first) && (is_directory || ending)
}

/// Whether there is such a file or directory. A name alone, such as `intake.rs`, may be that of a file anywhere.
fn exists(tree: &BTreeSet<String>, path: &str) -> bool {
    let anywhere = || tree.iter().any(|known| known.ends_with(&format!("/{path}")));
    tree.contains(path) || (!path.contains('/') && anywhere())
}

/// The paths of all files, and of all directories with a slash at their end.
fn tree() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root().join(&directory)).expect("the directory can be read") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            if MADE.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{directory}{name}");
            if entry.file_type().expect("a type").is_dir() {
                open.push(format!("{path}/"));
                found.insert(format!("{path}/"));
            } else {
                found.insert(path);
            }
        }
    }
    found
}

/// The targets of the links, and the pictures.
fn links(text: &str) -> Vec<String> {
    let between = |before: &str, after: char| {
        let targets = text.split(before).skip(1).filter_map(|rest| rest.split_once(after));
        targets.map(|(target, _)| target.to_owned()).collect::<Vec<_>>()
    };
    [between("](", ')'), between(" src=\"", '"'), between(" srcset=\"", '"')].concat()
}

/// What links to the headings of a page are called.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let named = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(named).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
