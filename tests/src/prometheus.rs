//! What a Prometheus asks of `/metrics`, and of the names in its rules and dashboards.
//!
//! [`Scrape::parse`] reads the text format as strictly as the format's description and Prometheus' own linter; what other
//! parsers would forgive is an error here.

mod query;

pub use query::{Matcher, Query, Selector};

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a series, by their names.
pub type Labels = BTreeMap<String, String>;

/// What was read off `/metrics` at once.
#[derive(Debug)]
pub struct Scrape {
    /// In the order of the text.
    pub families: Vec<Family>,
}

/// All that stands under one name.
#[derive(Debug)]
pub struct Family {
    /// The name.
    pub name: String,
    /// What its numbers are.
    pub kind: Kind,
    /// Its series, and the parts of them if they are histograms.
    pub samples: Vec<Sample>,
}

/// What the numbers of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bounds.
    Histogram,
}

/// One number.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The family's name; of a histogram with `_bucket`, `_sum` or `_count` behind it.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// It.
    pub value: f64,
}

impl Kind {
    /// As the text has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let all = [Kind::Counter, Kind::Gauge, Kind::Histogram];
        all.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| format!("no such type: {word:?}"))
    }
}

impl Scrape {
    /// Reads the text of `/metrics`.
    ///
    /// # Errors
    /// The first line that is wrong, or the first family, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let whole = text.strip_suffix('\n').ok_or("the last line has no end")?;
        let mut reading = Reading::default();
        for (number, line) in (1..).zip(whole.split('\n')) {
            reading.line(line).map_err(|error| format!("line {number}: {error}: {line}"))?;
        }
        let Reading { families, help, .. } = reading;
        if let Some(name) = help {
            return Err(format!("{name} has HELP and no TYPE"));
        }
        for family in &families {
            family.check().map_err(|error| format!("{}: {error}", family.name))?;
        }
        Ok(Scrape { families })
    }

    /// All numbers.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    /// The number of the series that has these labels and no others.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let is_it = |sample: &&Sample| {
            let mut own = sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            sample.name == name
                && sample.labels.len() == labels.len()
                && own.all(|label| labels.contains(&label))
        };
        self.samples().find(is_it).map(|sample| sample.value)
    }

    /// The sum of all series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples().filter(|sample| sample.name == name).map(|sample| sample.value).sum()
    }
}

/// Where reading has come to.
#[derive(Default)]
struct Reading {
    families: Vec<Family>,
    /// The name of the HELP line that was just read: its TYPE comes next.
    help: Option<String>,
    names: BTreeSet<String>,
    series: BTreeSet<(String, Labels)>,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("HELP without a text")?;
            if self.help.is_some() || help.trim().is_empty() {
                return Err("HELP twice, or without a text".to_owned());
            }
            check_metric_name(name)?;
            self.help = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("TYPE without a type")?;
            if self.help.take().as_deref() != Some(name) {
                return Err("TYPE without its HELP before it".to_owned());
            }
            if !self.names.insert(name.to_owned()) {
                return Err("a family that was there before".to_owned());
            }
            let kind = Kind::parse(kind)?;
            self.families.push(Family { name: name.to_owned(), kind, samples: Vec::new() });
        } else if line.starts_with('#') {
            return Err("neither HELP nor TYPE".to_owned());
        } else if !line.is_empty() {
            let sample = parse_sample(line)?;
            let family = self.families.last_mut().filter(|_| self.help.is_none());
            let family = family.filter(|family| family.has(&sample)).ok_or("it belongs to another family")?;
            if !self.series.insert((sample.name.clone(), sample.labels.clone())) {
                return Err("a series that was there before".to_owned());
            }
            family.samples.push(sample);
        }
        Ok(())
    }
}

impl Family {
    /// The labels that its series have, but for `le`.
    pub fn label_names(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|sample| sample.labels.keys().map(String::as_str));
        names.filter(|name| *name != "le").collect()
    }

    fn has(&self, sample: &Sample) -> bool {
        let rest = sample.name.strip_prefix(&self.name);
        let is_bucket = rest == Some("_bucket");
        let is_part = match self.kind {
            Kind::Counter | Kind::Gauge => rest == Some(""),
            Kind::Histogram => is_bucket || matches!(rest, Some("_sum" | "_count")),
        };
        is_part && sample.labels.contains_key("le") == is_bucket
    }

    fn check(&self) -> Result<(), String> {
        self.check_name()?;
        match self.kind {
            Kind::Gauge => Ok(()),
            Kind::Counter => match self.samples.iter().find(|sample| !is_count(sample.value)) {
                Some(sample) => Err(format!("no count: {sample:?}")),
                None => Ok(()),
            },
            Kind::Histogram => self.check_histograms(),
        }
    }

    /// As the naming rules of Prometheus have it: a total is a counter, and units are base units, written out.
    fn check_name(&self) -> Result<(), String> {
        if self.name.ends_with("_total") != (self.kind == Kind::Counter) {
            return Err("counters, and nothing else, end in _total".to_owned());
        }
        let bare = self.name.strip_suffix("_total").unwrap_or(&self.name);
        let last = bare.rsplit('_').next().unwrap_or(bare);
        const NOT_BASE: [&str; 14] = [
            "ms",
            "us",
            "ns",
            "milliseconds",
            "microseconds",
            "nanoseconds",
            "minutes",
            "hours",
            "days",
            "kb",
            "mb",
            "kibibytes",
            "megabytes",
            "percent",
        ];
        if NOT_BASE.contains(&last) || ["_bucket", "_sum", "_count"].iter().any(|part| bare.ends_with(part)) {
            return Err("no base unit, or the name of a part".to_owned());
        }
        if self.kind == Kind::Histogram && !["seconds", "bytes", "entries"].contains(&last) {
            return Err("a histogram without a unit".to_owned());
        }
        Ok(())
    }

    fn check_histograms(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        let (mut sums, mut counts) = (BTreeMap::new(), BTreeMap::new());
        for Sample { name, labels, value } in &self.samples {
            let mut labels = labels.clone();
            let le = labels.remove("le");
            match (le, name.ends_with("_sum")) {
                (Some(le), _) => buckets.entry(labels).or_default().push((parse_number(&le)?, *value)),
                (None, true) => drop(sums.insert(labels, *value)),
                (None, false) => drop(counts.insert(labels, *value)),
            }
        }
        if buckets.keys().ne(counts.keys()) || buckets.keys().ne(sums.keys()) {
            return Err("a series without its buckets, sum or count".to_owned());
        }
        for (labels, buckets) in buckets {
            let ascending = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let (bound, all) = buckets.last().copied().unwrap_or_default();
            let whole = bound == f64::INFINITY && all == counts[&labels];
            if !ascending || !whole || !buckets.iter().all(|(_, count)| is_count(*count)) {
                return Err(format!("the buckets of {labels:?} are {buckets:?}"));
            }
            if !sums[&labels].is_finite() || (all == 0.0 && sums[&labels] != 0.0) {
                return Err(format!("the sum of {labels:?} is {}", sums[&labels]));
            }
        }
        Ok(())
    }
}

fn is_count(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn check_metric_name(name: &str) -> Result<(), String> {
    // Capitals and colons may stand in a name; the rules ask for neither.
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(sound) {
        return Ok(());
    }
    Err(format!("{name:?} is no name of a metric"))
}

fn check_label_name(name: &str) -> Result<(), String> {
    // What begins with two underscores is Prometheus' own.
    if name == "__name__" || name.starts_with("__") {
        return Err(format!("{name:?} is no name of a label"));
    }
    check_metric_name(name)
}

fn parse_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("a name without a value")?;
    let (name, rest) = line.split_at(end);
    check_metric_name(name)?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = value.strip_prefix(' ').ok_or("no space before the value")?;
    Ok(Sample { name: name.to_owned(), labels, value: parse_number(value)? })
}

/// Reads up to the closing brace; the rest comes back.
fn parse_labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut labels = Labels::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        check_label_name(name)?;
        let (value, after) = parse_text(after)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} twice"));
        }
        match after.strip_prefix('}') {
            Some(after) => return Ok((labels, after)),
            None => rest = after.strip_prefix(',').ok_or("neither a comma nor a brace behind a label")?,
        }
    }
}

/// Reads up to the closing quote; the rest comes back.
fn parse_text(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next() {
                Some((_, '\\')) => '\\',
                Some((_, '"')) => '"',
                Some((_, 'n')) => '\n',
                other => return Err(format!("an escape that there is not: {other:?}")),
            }),
            c => value.push(c),
        }
    }
    Err("a label's value does not end".to_owned())
}

fn parse_number(text: &str) -> Result<f64, String> {
    let plain = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    match text {
        "+Inf" => Ok(f64::INFINITY),
        _ if text.chars().all(plain) => text.parse().map_err(|_| format!("{text:?} is no number")),
        _ => Err(format!("{text:?} is no number that we would show")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "\
# HELP calls_total Calls
# TYPE calls_total counter
calls_total{by=\"a \\\"quoted\\\" word\"} 3
calls_total{by=\"b\"} 0

# HELP wait_seconds Time
# TYPE wait_seconds histogram
wait_seconds_bucket{le=\"0.1\"} 1
wait_seconds_bucket{le=\"1\"} 1
wait_seconds_bucket{le=\"+Inf\"} 2
wait_seconds_sum 3.5
wait_seconds_count 2
";

    #[test]
    fn what_is_sound_is_read() {
        let scrape = Scrape::parse(SOUND).expect("it is sound");
        assert_eq!(scrape.value("calls_total", &[("by", "a \"quoted\" word")]), Some(3.0));
        assert_eq!(scrape.value("calls_total", &[]), None);
        assert_eq!(scrape.value("wait_seconds_sum", &[]), Some(3.5));
        assert_eq!(scrape.sum("calls_total"), 3.0);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (right, wrong) in [
            ("# HELP calls_total Calls\n", ""),
            ("# TYPE calls_total counter\n", ""),
            ("# TYPE calls_total counter", "# TYPE calls_total number"),
            ("# TYPE calls_total counter", "# TYPE calls_total gauge"),
            ("calls_total", "calls"),
            ("calls_total", "Calls_total"),
            ("wait_seconds", "wait_milliseconds"),
            ("wait_seconds", "wait"),
            ("{by=\"b\"} 0", "{by=\"b\"} -1"),
            ("{by=\"b\"} 0", "{by=\"b\"} NaN"),
            ("{by=\"b\"} 0", "{by=\"b\"} 0 1700000000"),
            ("{by=\"b\"} 0", "{by=\"b\",by=\"b\"} 0"),
            ("{by=\"b\"} 0", "{__by=\"b\"} 0"),
            ("{by=\"b\"} 0", "{by=\"b\"} 0\ncalls_total{by=\"b\"} 1"),
            ("{by=\"b\"} 0", "{by=\"\\b\"} 0"),
            ("{by=\"b\"} 0", "{by=\"b\"}0"),
            ("{by=\"b\"} 0", "{by=\"b\"} 0\nother_total 1"),
            ("{le=\"1\"} 1", "{le=\"1\"} 0"),
            ("{le=\"1\"} 1", "{le=\"0.01\"} 1"),
            ("{le=\"+Inf\"} 2", "{le=\"+Inf\"} 3"),
            ("wait_seconds_bucket{le=\"+Inf\"} 2\n", ""),
            ("wait_seconds_sum 3.5\n", ""),
            ("wait_seconds_count 2\n", ""),
            ("wait_seconds_count 2\n", "wait_seconds_count 2"),
            ("# TYPE wait_seconds histogram", "# TYPE calls_total counter"),
        ] {
            let text = SOUND.replace(right, wrong);
            assert_ne!(text, SOUND, "{right:?} is there to be replaced");
            assert!(Scrape::parse(&text).is_err(), "{wrong:?} instead of {right:?} is wrong");
        }
    }
}
