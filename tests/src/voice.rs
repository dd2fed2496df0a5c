//! The phrases that are not to come back. A reader of the field stumbles over them, since it has a word of its own.
//!
//! They are looked for where users read: README and docs, help texts, messages, the page, and the descriptions at
//! `/openapi.json`. Comments and names of code are no business of this.

use std::fmt;

/// A phrase, in lower case, and what the field says.
type Phrase = (&'static str, &'static str);

/// Phrases that stand nowhere.
const PHRASES: [Phrase; 71] = [
    // Measuring.
    ("processor time", "CPU time"),
    ("processors", "cores, or CPU"),
    ("of user and system", "user and system CPU time"),
    ("the floor", "baseline"),
    ("answered/s", "throughput, requests/s"),
    ("to answered", "response time"),
    ("how many callers", "concurrency"),
    ("who is ahead", "winner by cell; throughput, latency and CPU cost by …"),
    ("as fast as they can", "peak throughput"),
    ("at a rate that is given", "latency at a fixed rate"),
    ("under which circumstances", "environment"),
    ("and no measurement", "not a benchmark"),
    ("at the begin", "at the start"),
    ("makes the order", "random seed"),
    ("present directory", "current directory"),
    // What is certain.
    ("held against", "verified against; compared with"),
    ("for good", "durably; committed"),
    ("what is certain", "what is guaranteed"),
    ("cannot recognise", "cannot be deduplicated"),
    ("who tries again", "a retry"),
    ("caller who", "a client that"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("mends", "fixes"),
    ("in a word that does not change", "stable error code"),
    // Who calls, and how much.
    ("who asks", "a client that requests"),
    ("whoever asks", "a client that requests"),
    ("somebody", "a client; another process"),
    ("asks for a key", "requires an API key"),
    ("asked for a key", "an API key is required"),
    ("ask for one who", "ask whoever … for one"),
    ("calls at once than", "over the concurrency limit"),
    ("as it takes", "at its concurrency limit"),
    ("than it takes", "over the concurrency limit"),
    ("waits for its turn", "queues"),
    ("no room", "at its limit; full"),
    ("make room", "free space"),
    ("past so many", "once it exceeds"),
    ("takes longer, in milliseconds", "deadline in milliseconds"),
    // Ways and places.
    ("by http", "via http; over HTTP"),
    ("by rpc", "via rpc"),
    ("by rabbitmq", "via rabbitmq"),
    ("by grpc", "via grpc; over gRPC"),
    ("by which way", "the transport"),
    ("such address", "no such endpoint"),
    ("takes another method", "method not allowed"),
    ("where the stack is", "connection options"),
    ("before it encrypts", "prefix with tls:// for TLS"),
    ("amqps:// encrypts", "use amqps:// for TLS"),
    ("the authority", "the CA"),
    ("authority of", "CA certificate"),
    ("on the way between", "man in the middle"),
    ("keeps him out", "protection"),
    // What is down, and what comes after.
    ("is away", "is down; is unavailable"),
    ("not there yet", "is down; not up yet"),
    ("come again", "redelivered; reconnects"),
    ("comes again", "redelivered; reconnects"),
    ("go on with:", "resume with:"),
    ("goes on where", "resumes from that point"),
    ("times of storing", "`stored_at`"),
    ("tells stored entries", "streams entries as they are stored"),
    ("tells of itself", "telemetry"),
    ("collector of opentelemetry", "an OpenTelemetry collector"),
    // What is wrong with what was sent.
    ("makes no sense", "usage error"),
    ("no field of it", "unknown field"),
    ("stands in it twice", "duplicate field"),
    ("stands above already", "duplicate key"),
    ("half of a character", "unpaired surrogate"),
    ("json knows", "expected a value"),
    ("beyond all bounds", "number out of range"),
    ("the same; it wins", "overrides …"),
];

/// Phrases that stand nowhere in Russian, which is written for Russian engineers.
const RUSSIAN: [Phrase; 22] = [
    ("брокер", "broker: the services keep their Latin names"),
    ("трасса", "трейс; трассировка"),
    ("трассы", "трейсы; трассировка"),
    ("команда не имеет смысла", "ошибка в параметрах"),
    ("когда терпение", "когда истекает время ожидания"),
    ("убейте процесс", "проверьте на отказ"),
    ("на месте ли", "доступен ли"),
    ("пока его нет", "пока он недоступен"),
    ("как чувствуют себя", "состояние"),
    ("сообщает то, что известно наверняка", "в ответе — только то, что гарантировано"),
    ("вызовов сразу больше", "одновременных вызовов больше лимита"),
    ("хранится как его текст", "сохраняется в виде JSON-текста"),
    ("с другого конца", "другая сторона"),
    ("логи пишутся для программ", "логи в машиночитаемом JSON"),
    ("доказано многократными", "проверено многократными намеренными сбоями"),
    ("лента идёт", "лента включена"),
    ("имя, точно", "имя (точно)"),
    ("текст внутри", "текст содержит"),
    ("глубина очереди", "длина очереди"),
    ("часы у него грубые", "таймер неточен"),
    ("дважды сохраняется", "сохранится одна запись"),
    ("серия через каждый", "серия запросов по каждому"),
];

/// A phrase that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The number of its line, counted from 1.
    pub line: usize,
    phrase: Phrase,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phrase, instead) = self.phrase;
        write!(f, "line {}: {phrase:?}: write {instead:?}", self.line)
    }
}

/// The phrases in a text, wherever its lines are broken.
pub fn found_in(text: &str) -> Vec<Found> {
    // The text in lower case with one space between words, and the line that each byte of it comes from.
    let (mut flat, mut lines) = (String::from(" "), vec![1]);
    for (number, line) in (1..).zip(text.lines()) {
        for word in line.split_whitespace() {
            flat.push_str(&word.to_lowercase());
            flat.push(' ');
            lines.resize(flat.len(), number);
        }
    }
    let mut found = Vec::new();
    for phrase in PHRASES.into_iter().chain(RUSSIAN) {
        for (at, _) in flat.match_indices(phrase.0) {
            let before = flat[..at].chars().next_back();
            let after = flat[at + phrase.0.len()..].chars().next();
            let inside = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
            if !inside(before) && !inside(after) {
                found.push(Found { line: lines[at], phrase });
            }
        }
    }
    found.sort_by_key(|found| found.line);
    found
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use clap::CommandFactory;
    use proc_macro2::{Delimiter, TokenStream, TokenTree};

    use super::*;

    /// The repository.
    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .find(|path| path.join("Cargo.lock").exists())
            .expect("a root")
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The files below a directory that are to be looked at, in order.
    fn files(directory: &Path, wanted: &impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let entries =
            fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let mut found = Vec::new();
        for path in paths.into_iter().filter(|path| wanted(path)) {
            if path.is_dir() { found.extend(files(&path, wanted)) } else { found.push(path) }
        }
        found
    }

    fn has_extension(path: &Path, extensions: &[&str]) -> bool {
        path.extension().is_some_and(|own| extensions.iter().any(|extension| own == *extension))
    }

    /// Fails with every phrase in these texts, each by its name.
    fn are_plain(texts: impl IntoIterator<Item = (String, String)>) {
        let found: Vec<String> = texts
            .into_iter()
            .flat_map(|(name, text)| found_in(&text).into_iter().map(move |found| format!("{name}, {found}")))
            .collect();
        assert!(found.is_empty(), "{} phrases:\n{}", found.len(), found.join("\n"));
    }

    fn named(paths: Vec<PathBuf>) -> impl Iterator<Item = (String, String)> {
        paths.into_iter().map(|path| {
            let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            (name, read(&path))
        })
    }

    #[test]
    fn no_document_has_a_phrase_that_the_field_does_not_use() {
        let top = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path.is_file()
                && has_extension(path, &["md"])
                && (name.starts_with("README") || name == "SECURITY.md")
        };
        // Results are as they were written down.
        let docs =
            |path: &Path| (path.is_dir() && !path.ends_with("results")) || has_extension(path, &["md"]);
        let mut paths = files(root(), &top);
        paths.extend(files(&root().join("docs"), &docs));
        assert!(paths.len() > 3, "{paths:?}");
        are_plain(named(paths));
    }

    #[test]
    fn no_text_of_the_page_has_a_phrase_that_the_field_does_not_use() {
        let page = root().join("broker/page");
        are_plain(named(["strings.js", "index.html"].map(|name| page.join(name)).into()));
    }

    #[test]
    fn no_help_has_a_phrase_that_the_field_does_not_use() {
        let commands = [
            broker::Config::command(),
            broker::keys::new::NewKey::command(),
            logger::Config::command(),
            listener::Config::command(),
            cli::Config::command(),
            compare::config::Arguments::command(),
        ];
        let mut helps = Vec::new();
        for mut command in commands {
            command.build();
            add_helps(&mut command, &mut helps);
        }
        assert!(helps.len() > 10, "{}", helps.len());
        are_plain(helps);
    }

    /// The help of a command, and of each of its own.
    fn add_helps(command: &mut clap::Command, helps: &mut Vec<(String, String)>) {
        let name = format!("{} --help", command.get_bin_name().unwrap_or(command.get_name()));
        helps.push((name, command.render_long_help().to_string()));
        command.get_subcommands_mut().for_each(|command| add_helps(command, helps));
    }

    #[test]
    fn no_message_has_a_phrase_that_the_field_does_not_use() {
        let source = |path: &Path| {
            let is_test = path.file_stem().is_some_and(|name| name == "tests");
            !is_test && (path.is_dir() || has_extension(path, &["rs"]))
        };
        let crates = ["proto", "settings", "transport", "service", "logger", "listener", "broker", "cli"];
        let paths: Vec<PathBuf> =
            crates.iter().flat_map(|name| files(&root().join(name).join("src"), &source)).collect();
        let texts = named(paths).flat_map(|(name, text)| {
            let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut literals = Vec::new();
            add_literals(tokens, &mut literals);
            literals.into_iter().map(move |literal| (format!("{name}: {literal:.60}"), literal))
        });
        are_plain(texts);
    }

    /// The literals that are not of tests, nor of attributes but those of thiserror: comments, and what `--help` shows.
    fn add_literals(tokens: TokenStream, literals: &mut Vec<String>) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                // What it says is read by who reads the code.
                TokenTree::Ident(name) if name == "expect" => drop(tokens.next()),
                TokenTree::Punct(hash) if hash.as_char() == '#' => {
                    if matches!(tokens.peek(), Some(TokenTree::Punct(bang)) if bang.as_char() == '!') {
                        tokens.next();
                    }
                    let Some(TokenTree::Group(attribute)) = tokens.next() else { continue };
                    let text: String = attribute.to_string().split_whitespace().collect();
                    if text == "[cfg(test)]" {
                        // As far as its item goes.
                        let _ = tokens.find(|token| match token {
                            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                            TokenTree::Punct(end) => end.as_char() == ';',
                            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
                        });
                    } else if text.starts_with("[error(") {
                        add_literals(attribute.stream(), literals);
                    }
                }
                TokenTree::Group(group) => add_literals(group.stream(), literals),
                // A line of it may end with a backslash.
                TokenTree::Literal(literal) => literals.push(literal.to_string().replace("\\\n", "\n")),
                TokenTree::Punct(_) | TokenTree::Ident(_) => {}
            }
        }
    }

    #[test]
    fn a_phrase_is_found_over_the_end_of_a_line_and_not_within_a_word() {
        let found =
            |text: &str| found_in(text).iter().map(|found| (found.line, found.phrase.0)).collect::<Vec<_>>();
        assert_eq!(found("It is Held\n  against the store."), [(1, "held against")]);
        assert_eq!(found("a\nstored by http, amended"), [(2, "by http")]);
        assert_eq!(found("Лента идёт"), [(1, "лента идёт")]);
        assert_eq!(found("via http, over HTTP, recommended"), []);
    }

    #[test]
    fn the_literals_of_a_source_are_its_messages_and_no_tests_or_comments() {
        let source = "/// a comment\n#[arg(help = \"of an attribute\")]\nfn f() { g(\"first \\\n   line\").expect(\"a reason\") }\n\
                      #[cfg(test)]\nmod tests { const T: &str = \"of a test\"; }\nconst C: &str = \"last\";";
        let mut literals = Vec::new();
        add_literals(source.parse().expect("tokens"), &mut literals);
        assert_eq!(literals, ["\"first \n   line\"", "\"last\""]);
    }
}
