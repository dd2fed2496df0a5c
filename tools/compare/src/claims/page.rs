//! docs/claims.md and docs/claims.ru.md, of a record: the templates beside this file with the verdicts filled in.

use std::path::Path;

use anyhow::Context;

use super::{Claim, Language, Lecture, Record, Verdict, Warning, rules};

/// Columns of a line.
const COLUMNS: usize = 120;

const TEMPLATES: [(Language, &str, &str); 2] = [
    (Language::English, "claims.md", include_str!("page.md")),
    (Language::Russian, "claims.ru.md", include_str!("page.ru.md")),
];

/// The directories of the labs, by their numbers.
const LABS: [&str; 10] = [
    "01-four-wires",
    "02-again-but-once",
    "03-own-rpc",
    "04-queued-not-done",
    "05-ack-after-store",
    "06-from-the-proto",
    "07-streams",
    "08-kept-word",
    "09-follow-one-entry",
    "10-honest-clock",
];

/// Writes both pages beside the record.
///
/// # Errors
/// If they cannot be written.
pub fn write(record: &Record, directory: &Path) -> anyhow::Result<()> {
    for (language, name, _) in TEMPLATES {
        let file = directory.join(name);
        std::fs::write(&file, render(record, language))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A page.
pub fn render(record: &Record, language: Language) -> String {
    let [(_, _, english), (_, _, russian)] = TEMPLATES;
    let mut page = language.pick(english, russian).to_owned();
    let of = |verdict| topics(record, verdict, language);
    let parts = [
        ("{circumstances}", filled(&circumstances(record, language))),
        ("{supported}", of(Verdict::Supported)),
        ("{refuted}", of(Verdict::Refuted)),
        ("{depends}", of(Verdict::Depends)),
        ("{half true}", of(Verdict::HalfTrue)),
        ("{not shown}", of(Verdict::NotShown)),
        ("{table}", table(record, language)),
        ("{claims}", claims(record, language)),
    ];
    for (place, text) in parts {
        page = page.replace(place, text.trim_end());
    }
    page
}

/// The claims of a verdict: links to their sections, and what each is about.
fn topics(record: &Record, verdict: Verdict, language: Language) -> String {
    let claims = judged(record).filter(|(_, judged)| *judged == verdict).map(|(claim, _)| claim);
    let links = claims.map(|Claim { id, topic, .. }| {
        format!("[{id}](#{}-{id}) {}", word(language), language.pick(topic.0, topic.1))
    });
    let links: Vec<String> = links.collect();
    let links = if links.is_empty() {
        language.pick("none", "таких нет").to_owned()
    } else {
        links.join("; ")
    };
    // Within an item of a list, whose lines the template indents.
    lines(&links, COLUMNS - 2).join("\n  ")
}

/// What a section is called.
const fn word(language: Language) -> &'static str {
    match language {
        Language::English => "claim",
        Language::Russian => "тезис",
    }
}

fn circumstances(record: &Record, language: Language) -> String {
    let date = record.date.strftime("%Y-%m-%d");
    let (cores, mib) = (record.cores, language.whole(record.memory_mib as f64));
    let rustc = record.versions.get("rustc").cloned().unwrap_or_default();
    let Record { commit, processor, kernel, .. } = record;
    let warnings = record.warnings.iter().map(|warning| warning.text(language)).collect::<Vec<_>>();
    let warnings = if warnings.is_empty() { String::new() } else { format!(" **{}**", warnings.join(" ")) };
    language.pick(
        format!(
            "Measured {date} at commit {commit}: {processor}, {cores} cores, {mib} MiB, {kernel}, \
                 {rustc}.{warnings}"
        ),
        format!(
            "Измерено {date} на коммите {commit}: {processor}, ядер: {cores}, {mib} МиБ, {kernel}, \
                 {rustc}.{warnings}"
        ),
    )
}

impl Warning {
    const fn text(self, language: Language) -> &'static str {
        match (self, language) {
            (Warning::Quick, Language::English) => "A quick run: too short to be evidence.",
            (Warning::Quick, Language::Russian) => "Быстрый прогон: слишком короткий, чтобы что-то доказать.",
            (Warning::Debug, Language::English) => "Not a release build: no evidence.",
            (Warning::Debug, Language::Russian) => "Не релизная сборка: это не доказательство.",
            (Warning::Busy, Language::English) => "The machine was busy: no evidence.",
            (Warning::Busy, Language::Russian) => "Машина была занята: это не доказательство.",
        }
    }
}

/// The measured claims of a record, each with its verdict.
fn judged(record: &Record) -> impl Iterator<Item = (&'static Claim, Verdict)> {
    record.claims.iter().filter_map(|judged| {
        let claim = rules::all().find(|claim| claim.id == judged.id)?;
        Some((claim, judged.verdict))
    })
}

fn table(record: &Record, language: Language) -> String {
    let mut text = language.pick(
        "| | the lecture says | verdict |\n|---|---|---|\n".to_owned(),
        "| | в лекции | вердикт |\n|---|---|---|\n".to_owned(),
    );
    for (claim, verdict) in judged(record) {
        let id = claim.id;
        let said = language.pick(
            claim.quotes_en.iter().map(|quote| format!("“{quote}”")).collect::<Vec<_>>().join(" / "),
            claim
                .quotes
                .iter()
                .map(|(_, quote)| format!("«{}»", one_line(quote)))
                .collect::<Vec<_>>()
                .join(" / "),
        );
        text += &format!("| [{id}](#{}-{id}) | {said} | {} |\n", word(language), verdict.word(language));
    }
    text
}

fn claims(record: &Record, language: Language) -> String {
    let mut text = String::new();
    for (claim, verdict) in judged(record) {
        let heading = language.pick("Claim", "Тезис");
        text += &format!("### {heading} {}\n\n", claim.id);
        for (at, (lecture, quote)) in claim.quotes.iter().enumerate() {
            let quote = format!("«{}»", one_line(quote));
            let said = match (language, claim.quotes_en.get(at)) {
                (Language::English, Some(english)) => format!("{quote}: “{english}”"),
                (Language::English, None) | (Language::Russian, _) => quote,
            };
            text += &quoted(&format!("{said} ({})", source(*lecture, language)));
        }
        let said = (claim.rule)(&record.figures, language).map(|finding| finding.text);
        let said = said.unwrap_or_else(|| {
            language.pick("What it takes was not there.", "Не было того, что для этого нужно.").to_owned()
        });
        let verdict = capital(verdict.word(language));
        text += &filled(&format!("**{verdict}.** {said}"));
        text.push('\n');
        text += &filled(&pointers(claim, language));
        text.push('\n');
    }
    text
}

/// The lecture, as a link.
fn source(lecture: Lecture, language: Language) -> String {
    let word = language.pick("lecture", "лекция");
    format!("[{word} {}](../{})", lecture.number(), lecture.file())
}

/// How to measure it again, and where to look.
fn pointers(claim: &Claim, language: Language) -> String {
    let again = language.pick("Measure it again", "Измерить самому");
    let look = language.pick("look at", "посмотреть");
    let looks = claim.look.iter().map(|look| format!("`{look}`")).collect::<Vec<_>>().join(", ");
    let ending = language.pick("README.md", "README.ru.md");
    let lab = claim.lab.map(|lab| {
        let word = language.pick("lab", "задание");
        format!("; {word} [{lab}](../course/labs/{}/{ending})", LABS[usize::from(lab) - 1])
    });
    format!("{again}: `compare claims --only {}`; {look}: {looks}{}.", claim.id, lab.unwrap_or_default())
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The quotations in the sources are broken over lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    let lines = lines(text, COLUMNS - 2);
    lines.iter().map(|line| format!("> {line}\n")).collect::<String>() + "\n"
}

/// A paragraph in lines of no more than [`COLUMNS`].
fn filled(text: &str) -> String {
    lines(text, COLUMNS).join("\n") + "\n"
}

/// Broken at spaces, but not at those that keep a number and its unit together.
fn lines(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_broken_at_spaces_within_its_columns() {
        assert_eq!(lines("один два три", 8), ["один два", "три"]);
        assert_eq!(lines("1\u{a0}ms at", 4), ["1\u{a0}ms", "at"]);
    }
}
