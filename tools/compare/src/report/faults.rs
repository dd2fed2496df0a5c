//! The table and the page of `compare faults`.

use std::{fmt::Write, path::Path};

use anyhow::Context;
use maud::{Markup, html};

use super::{
    document::{document, origin},
    look,
    numbers::{count, duration, millis},
    plot::{Axis, Lines, Point, Scale, Series, Ticks},
};
use crate::{
    faults::FaultsRecord,
    outage::{Broken, Step, Suffered},
    workload::{Ending, Subject},
};

/// Steps of a timeline in a second.
const STEPS: f64 = 4.0;

const HEAD: [&str; 11] = [
    "accepted",
    "refused",
    "unknown",
    "unsent",
    "stored",
    "lost",
    "altered",
    "duplicated",
    "longest answer",
    "longest to stored",
    "well after",
];

/// The table of the terminal.
pub fn faults_summary(record: &FaultsRecord) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_summary(record, &mut text);
    text
}

fn write_summary(record: &FaultsRecord, text: &mut String) -> std::fmt::Result {
    for broken in &record.faults {
        let seconds = (broken.to - broken.from).as_secs_f64();
        writeln!(text, "\n{}, for {seconds:.1} s", broken.what.as_str())?;
        let line = |text: &mut String, name: &str, words: &[String]| {
            write!(text, "{name:<9}")?;
            words.iter().try_for_each(|word| write!(text, " {word:>17}"))?;
            writeln!(text)
        };
        line(text, "", &HEAD.map(str::to_owned))?;
        for (transport, suffered) in &broken.by_transport {
            line(text, transport.as_str(), &columns(suffered))?;
        }
    }
    Ok(())
}

fn columns(suffered: &Suffered) -> [String; 11] {
    let ended = |endings: &[Ending]| -> String {
        count(endings.iter().filter_map(|ending| suffered.endings.get(ending)).sum::<u64>() as f64)
    };
    [
        ended(&[Ending::Accepted]),
        ended(&[Ending::Refused, Ending::Rejected]),
        ended(&[Ending::Unknown, Ending::Broken]),
        ended(&[Ending::Unsent]),
        count(suffered.kept.stored as f64),
        count(suffered.kept.lost as f64),
        count(suffered.kept.altered as f64),
        count(suffered.kept.duplicated as f64),
        millis(suffered.answered.longest()),
        millis(suffered.stored.longest()),
        suffered.well_after.map_or_else(|| "n/a".to_owned(), |after| format!("{:.2} s", after.as_secs_f64())),
    ]
}

/// Writes `report.html` beside the record.
///
/// # Errors
/// If it cannot be written.
pub fn write_faults(record: &FaultsRecord, directory: &Path) -> anyhow::Result<()> {
    const TITLE: &str = "The same failure, seen over four transports";
    let parts = html! {
        h1 { (TITLE) }
        p.note { (origin(&record.circumstances)) }
        (sections(&record.faults))
    };
    let page = directory.join("report.html");
    std::fs::write(&page, document(TITLE, &parts)).with_context(|| format!("cannot write {}", page.display()))
}

/// Each failure with its pictures and its table, and before them what the words mean.
pub(super) fn sections(faults: &[Broken]) -> Markup {
    html! {
        p { "All four transports at once at the same rate, with the same arrivals. Latency counts from the moment that "
            "a request was due. Refused: 503, certainly not stored. Unknown: 504 or no answer, so it may be stored. Well "
            "after: from when all processes ran again to the last request that was not accepted within half a second." }
        @for broken in faults { (section(broken)) }
    }
}

fn section(broken: &Broken) -> Markup {
    let (from, to) = (broken.from.as_secs_f64(), broken.to.as_secs_f64());
    let what = broken.what.as_str();
    let about = format!("Broken from {from:.1} s to {to:.1} s; by when requests were due.");
    let seconds = |value: f64| format!("{value:.0} s");
    let series = |value: fn(&Step) -> f64| -> Vec<Series> {
        let line = |(transport, suffered): (&proto::Transport, &Suffered)| Series {
            subject: Subject::Transport(*transport),
            points: (0..).zip(&suffered.timeline).map(|(at, step)| at_step(at, value(step))).collect(),
        };
        broken.by_transport.iter().map(line).collect()
    };
    let picture = |title: &str, label: &str, scale: Scale, number: &dyn Fn(f64) -> String, value| {
        let lines = Lines {
            title: &format!("{what}: {title}"),
            about: &about,
            x: Axis { label: "since the start", scale: Scale::Linear, ticks: Ticks::Round(&seconds) },
            y: Axis { label, scale, ticks: Ticks::Round(number) },
            series: series(value),
            broken: Some((from, to)),
        };
        lines.draw()
    };
    html! {
        h3 { (what) ", for " (format!("{:.1}", to - from)) " s" }
        (picture("accepted", "accepted/s", Scale::Linear, &count, |step| step.accepted as f64 * STEPS))
        (picture("the longest response", "longest response", Scale::Logarithmic, &duration, |step| {
            step.longest_us.max(100) as f64
        }))
        div.wide { table {
            thead { tr { th {} @for word in HEAD { th { (word) } } } }
            tbody { @for (transport, suffered) in &broken.by_transport {
                tr { td { (look::transport(*transport)) } @for value in columns(suffered) { td { (value) } } }
            } }
        } }
    }
}

fn at_step(at: u32, value: f64) -> Point {
    Point::from((f64::from(at) / STEPS, value))
}
