//! The table and the page of `compare faults`.

use std::{fmt::Write, path::Path};

use anyhow::Context;
use maud::{Markup, PreEscaped, html};
use proto::Transport;

use super::{
    html::document,
    plot::{self, Axis, Labels, Series},
    terminal::millis,
};
use crate::{
    faults::{Broken, FaultsRecord, Step, Suffered},
    workload::Ending,
};

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
    let count = |endings: &[Ending]| -> u64 {
        endings.iter().filter_map(|ending| suffered.endings.get(ending)).sum()
    };
    [
        count(&[Ending::Accepted]).to_string(),
        count(&[Ending::Refused, Ending::Rejected]).to_string(),
        count(&[Ending::Unknown, Ending::Broken]).to_string(),
        count(&[Ending::Unsent]).to_string(),
        suffered.kept.stored.to_string(),
        suffered.kept.lost.to_string(),
        suffered.kept.altered.to_string(),
        suffered.kept.duplicated.to_string(),
        millis(suffered.answered.longest()),
        millis(suffered.stored.longest()),
        suffered.well_after.map_or_else(|| "n/a".to_owned(), |after| format!("{:.2} s", after.as_secs_f64())),
    ]
}

/// Writes `report.html` beside the record.
///
/// # Errors
/// If it cannot be drawn or written.
pub fn write_faults(record: &FaultsRecord, directory: &Path) -> anyhow::Result<()> {
    let sections = record.faults.iter().map(section).collect::<anyhow::Result<Vec<Markup>>>()?;
    let parts = html! {
        h1 { "The same failure, seen over four transports" }
        p.note {
            (record.circumstances.date.strftime("%Y-%m-%d %H:%M UTC")) ", commit " (record.circumstances.commit) ", "
            (format!("{:.0}", record.rate)) " requests a second over each transport, all four at once, with the same "
            "arrivals. Latency counts from the moment that a request was due."
        }
        dl {
            dt { "refused" } dd { "503: certainly not stored; retry" }
            dt { "unknown" } dd { "504, or no answer: it may be stored; resend with the same id" }
            dt { "well after" } dd { "from when all processes were there again to the last request that was not accepted "
                "within half a second" }
        }
        @for section in sections { (section) }
    };
    let page = directory.join("report.html");
    let text = document("The same failure, seen over four transports", &parts);
    std::fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))
}

fn section(broken: &Broken) -> anyhow::Result<Markup> {
    let (from, to) = (broken.from.as_secs_f64(), broken.to.as_secs_f64());
    let seconds = |value: &f64| format!("{value:.0} s");
    let number = |value: &f64| format!("{value:.0}");
    let micros = |value: &f64| millis(Some(*value as u64));
    let series = |value: fn(&Step) -> f64| -> Vec<Series> {
        let line = |(transport, suffered): (&Transport, &Suffered)| Series {
            name: transport.to_string(),
            points: suffered
                .timeline
                .iter()
                .enumerate()
                .map(|(at, step)| (at as f64 / 4.0, value(step)))
                .collect(),
        };
        broken.by_transport.iter().map(line).collect()
    };
    let accepted = plot::lines(
        &Labels {
            title: &format!("{}: accepted per second, by when they were due", broken.what.as_str()),
            x: &format!("broken from {from:.1} s to {to:.1} s"),
            y: "accepted per second",
            x_number: &seconds,
            y_number: &number,
        },
        (Axis::Linear, Axis::Linear),
        &series(|step| step.accepted as f64 * 4.0),
    )?;
    let longest = plot::lines(
        &Labels {
            title: &format!("{}: the longest answer, by when it was due", broken.what.as_str()),
            x: &format!("broken from {from:.1} s to {to:.1} s"),
            y: "",
            x_number: &seconds,
            y_number: &micros,
        },
        (Axis::Linear, Axis::Logarithmic),
        &series(|step| step.longest_us.max(100) as f64),
    )?;
    Ok(html! {
        h2 { (broken.what.as_str()) }
        div.wide { table {
            thead { tr { th {} @for word in HEAD { th { (word) } } } }
            tbody { @for (transport, suffered) in &broken.by_transport {
                tr { td { (transport.as_str()) } @for value in columns(suffered) { td { (value) } } }
            } }
        } }
        figure { (PreEscaped(accepted)) }
        figure { (PreEscaped(longest)) }
    })
}
