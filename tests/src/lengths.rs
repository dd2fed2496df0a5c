//! Shows that no file of the product and no function of `compare` has become too long to be read at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The crates of the product, and most lines of one of their files before its tests.
const PRODUCT: [&str; 11] = [
    "broker",
    "cli",
    "explain",
    "gathered",
    "listener",
    "logger",
    "proto",
    "service",
    "settings",
    "spans",
    "transport",
];
const FILE: usize = 300;

/// Most lines of a function of `compare`.
const FUNCTION: usize = 60;

#[test]
fn no_file_of_the_product_has_more_than_300_lines_before_its_tests() {
    let files: Vec<_> = PRODUCT.iter().flat_map(|name| sources(&root().join(name).join("src"))).collect();
    assert!(files.len() > PRODUCT.len(), "{}", files.len());
    let lengths = files.iter().map(|file| (file, before_tests(&read(file))));
    let long: Vec<_> = lengths.filter(|(_, lines)| *lines > FILE).collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn no_function_of_compare_has_more_than_60_lines() {
    let files = sources(&root().join("tools/compare/src"));
    let functions: Vec<_> = files.iter().flat_map(|file| functions(&read(file))).collect();
    assert!(functions.len() > 100, "{}", functions.len());
    let long: Vec<_> = functions.iter().filter(|(_, lines)| *lines > FUNCTION).collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn lines_are_counted_as_they_are_read() {
    let text = "#[cfg(test)]\nmod suite;\n\nimpl A {\n    fn one(\n        a: u8,\n    ) {\n        b();\n    }\n}\n\nfn two();\n\nfn three() {}\n\n\
                #[cfg(test)]\nmod tests {\n    fn four() {\n        c();\n    }\n}\n";
    assert_eq!(before_tests(text), 15);
    let own = |(name, lines): (&str, usize)| (name.to_owned(), lines);
    assert_eq!(functions(text), [("one", 5), ("two", 1), ("three", 1), ("four", 3)].map(own));
}

/// How many lines come before the tests.
fn before_tests(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    // A module of tests in a file of its own may be named at the top.
    let are_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    let tests = lines.windows(2).position(are_tests);
    tests.unwrap_or(lines.len())
}

/// Each function, and its lines. rustfmt has set them: one ends where a line as deep as its first begins with its end.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((before, rest)) = line.split_once("fn ") else { continue };
        let words = before.trim_start();
        if !(words.is_empty() || words.split(' ').all(is_before_a_function)) {
            continue;
        }
        let name = rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        let depth = line.len() - line.trim_start().len();
        let is_end = |line: &&str| {
            let own = line.trim_start();
            line.len() - own.len() == depth && (own == "}" || own.ends_with("{}") || own.ends_with(';'))
        };
        let end = if is_end(line) { Some(0) } else { lines[at..].iter().position(is_end) };
        found.push((name.to_owned(), end.expect("rustfmt ends it") + 1));
    }
    found
}

fn is_before_a_function(word: &str) -> bool {
    word.is_empty() || word.starts_with("pub") || matches!(word, "async" | "const" | "unsafe" | "extern")
}

/// The files below a directory, but for those that are tests as a whole.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if name == "tests" || name == "suite" {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
