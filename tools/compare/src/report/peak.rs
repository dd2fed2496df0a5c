//! The peak of each transport: what a call for each entry costs, and what coalescing makes of it.

use maud::{Markup, html};

use super::{
    look,
    numbers::{count, micros, millis},
};
use crate::{
    cell::{Measured, Part, bytes},
    record::{Record, Row},
    stats::{Estimate, median, paired_ratio},
    workload::{BASE_CALLERS, BASE_PAYLOAD, Subject},
};

/// A row of the peak: a transport as it is shipped, and with a call for each entry where that was measured.
pub(super) struct Peak<'a> {
    pub(super) subject: Subject,
    pub(super) shared: &'a Row,
    pub(super) own: Option<&'a Row>,
    /// Requests per second over the baseline's.
    pub(super) of_baseline: Option<Estimate>,
}

impl Peak<'_> {
    /// Requests per second, coalesced over a call for each.
    pub(super) fn gain(&self) -> Option<Estimate> {
        let rate = Measured::accepted_per_second;
        paired_ratio(&self.shared.each(rate), &self.own?.each(rate))
    }
}

/// All rows, the baseline last.
pub(super) fn peaks(record: &Record) -> Vec<Peak<'_>> {
    let rate = Measured::accepted_per_second;
    let baseline = record.grid(Subject::Echo, BASE_PAYLOAD, BASE_CALLERS).map(|row| row.each(rate));
    let row = |subject| {
        let shared = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS)?;
        let own = record.part(Part::Calls).find(|row| row.cell.subject == subject);
        let of_baseline = baseline.as_ref().and_then(|baseline| paired_ratio(&shared.each(rate), baseline));
        Some(Peak { subject, shared, own, of_baseline })
    };
    Subject::ALL.into_iter().filter_map(row).collect()
}

/// Requests per second, the median.
pub(super) fn rate(row: &Row) -> String {
    count(median(&row.each(Measured::accepted_per_second)))
}

/// Entries stored per second, the median; nothing for what is only echoed.
pub(super) fn stored(row: &Row) -> String {
    match row.cell.subject {
        Subject::Transport(_) => count(median(&row.each(Measured::stored_per_second))),
        Subject::Echo => "-".to_owned(),
    }
}

/// A ratio with the ends of its interval.
pub(super) fn interval(estimate: Option<Estimate>) -> String {
    estimate
        .map_or_else(|| "-".to_owned(), |by| format!("{:.2} ({:.2} to {:.2})", by.middle, by.low, by.high))
}

/// The tables.
pub(super) fn section(record: &Record) -> Markup {
    let peaks = peaks(record);
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    html! {
        h2 { "Peak throughput: " (BASE_CALLERS) " clients, " (bytes(BASE_PAYLOAD)) }
        p { "A closed loop: each client sends the next entry when the last is answered. As shipped, entries that are "
            "in flight together share calls (coalescing); beside it each entry has a call of its own ("
            code { "BROKER_COALESCE=off" } "), which is what the transport costs. " code { "echo" } " is the baseline: "
            "decoded, checked and answered, delivered nowhere. " code { "rabbitmq" } " answers when RabbitMQ has "
            "confirmed; what counts for all alike is the time to stored." }
        div.wide { table {
            thead { tr {
                th {} th { "requests/s," br; "coalesced" } th { "requests/s," br; "a call for each" } th { "gain" }
                th { "CPU per entry," br; "coalesced" } th { "CPU per entry," br; "a call for each" }
                th { "stored/s," br; "coalesced" } th { "of the" br; "baseline" } th.words { "promise" }
            } }
            tbody { @for peak in &peaks {
                tr {
                    td { (look::named(peak.subject)) }
                    td { (rate(peak.shared)) }
                    td { (or_none(peak.own.map(rate))) }
                    td { (interval(peak.gain())) }
                    td { (micros(peak.shared.system_us())) }
                    td { (or_none(peak.own.map(|row| micros(row.system_us())))) }
                    td { (stored(peak.shared)) }
                    td { (peak.of_baseline.map_or_else(|| "-".to_owned(), |of| format!("{:.2}", of.middle))) }
                    td.words { (peak.subject.promise()) }
                }
            } }
        } }
        div.wide { table {
            caption { "Latency at the peak, coalesced" }
            thead { tr {
                th {} th { "response, p50" } th { "p99" } th { "p99.9" } th { "longest" }
                th { "time to stored, p50" } th { "p99" } th { "p99.9" } th { "longest" }
                th { "errors" } th { "lost" } th { "generator," br; "of all cores" }
            } }
            tbody { @for Peak { subject, shared: row, .. } in &peaks {
                tr {
                    td { (look::named(*subject)) }
                    @for latencies in [row.latencies(|m| &m.answered), row.latencies(|m| &m.stored)] {
                        @for part in [0.5, 0.99, 0.999] { td { (millis(latencies.percentile(part))) } }
                        td { (millis(latencies.longest())) }
                    }
                    td { (format!("{:.2} %", row.errors() * 100.0)) }
                    td { (row.repetitions.iter().map(|measured| measured.kept.lost).sum::<usize>()) }
                    td { (format!("{:.0} %", row.generator_share(record.circumstances.cores) * 100.0)) }
                }
            } }
        } }
        p.note { "Gain, and of the baseline: the median of the ratios within each repetition, which is not the ratio "
            "of the medians. Stored: until the logger's stamp, which it takes as a commit begins; so it is earlier than "
            "the answer, and stored/s, which counts until the last stamp, is a little above requests/s. CPU per entry is "
            "that of the system, without the generator." }
    }
}
