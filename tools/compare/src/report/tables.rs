//! The tables of the page: winners, rates, batches, and the environment.

use maud::{Markup, html};
use proto::Transport;

use super::{
    grid, look,
    numbers::{count, millis},
    terminal::in_words,
};
use crate::{
    cell::{Cell, Keeping, Measured, Part, bytes},
    record::{Record, Row, noise},
    stats::{Estimate, Verdict, median},
    workload::{BASE_PAYLOAD, Shape, Subject},
};

/// The grid.
pub(super) fn winners(record: &Record) -> Markup {
    html! {
        h2 { "Winner by cell" }
        p { "Entries stored per second, medians of " (record.plan.repetitions) " repetitions in random order. A winner "
            "is named only where the intervals of 95 % around its ratios to all others lie above what the same "
            "transport differs from itself in this run (" (format!("{:.3}", noise(&record.rows))) " ×)." }
        div.wide { table #winners {
            thead { tr {
                th { "payload" } th { "clients" }
                @for transport in Transport::ALL { th { (look::transport(transport)) } }
                th.words { "verdict" }
            } }
            tbody { @for cell in grid::winners(record) {
                @let winner = match &cell.verdict {
                    Verdict::Winner { of, .. } => Some(*of),
                    Verdict::Indistinguishable { .. } | Verdict::Alone | Verdict::TooFew => None,
                };
                tr {
                    td { (bytes(cell.payload_bytes)) }
                    td { (cell.callers) }
                    @for transport in Transport::ALL {
                        @let rate = cell.rates.iter().find(|(of, _)| *of == transport).map(|(_, rate)| *rate);
                        td.best[winner == Some(transport)] { (rate.map_or_else(|| "n/a".to_owned(), count)) }
                    }
                    td.words {
                        @if let Some(winner) = winner { (look::transport(winner)) ", " }
                        (beyond_its_winner(&cell.verdict))
                    }
                }
            } }
        } }
    }
}

/// A verdict in words, without the winner's name, which stands before it with its mark.
fn beyond_its_winner(verdict: &Verdict<Transport>) -> String {
    let words = in_words(verdict);
    match verdict {
        Verdict::Winner { of, .. } => words.replacen(&format!("{of}, "), "", 1),
        Verdict::Indistinguishable { .. } | Verdict::Alone | Verdict::TooFew => words,
    }
}

/// A percentile of the repetitions: the median, and the ends.
fn spread(estimate: Option<Estimate>) -> Markup {
    let read = |micros: f64| millis(Some(micros as u64));
    html! {
        @match estimate {
            None => { "n/a" }
            Some(of) => {
                (read(of.middle))
                @if of.high > of.low { " " small { "(" (read(of.low)) " to " (read(of.high)) ")" } }
            }
        }
    }
}

/// The open loop.
pub(super) fn rates(record: &Record) -> Markup {
    let mut rows: Vec<&Row> = record.part(Part::Rates).chain(record.part(Part::Own)).collect();
    let rate = |row: &Row| match row.cell.shape {
        Shape::Open { rate } => rate,
        Shape::Closed { .. } => 0.0,
    };
    rows.sort_by(|a, b| rate(a).total_cmp(&rate(b)).then(a.cell.subject.cmp(&b.cell.subject)));
    let own_part = |row: &Row| match row.cell.subject {
        Subject::Transport(transport) if row.cell.part == Part::Own => {
            record.knees.get(&transport).map(|knee| rate(row) / knee)
        }
        Subject::Transport(_) | Subject::Echo => None,
    };
    html! {
        h2 { "Latency at a fixed rate" }
        p { "An open loop: requests are due as independent clients have them, whatever became of those before, and "
            "latency counts from the moment that a request was due. The same rates for all are parts of the slowest "
            "knee; the knee is the highest of the rates that were tried at which each window had at most 0.1 % errors "
            "and a p99 of at most 50 ms, for the response and to stored." }
        p { "Runs behind each cell: " (record.plan.open_repetitions) ". A percentile is the median of those of the "
            "runs, with the lowest and the highest in brackets: a single pause of the machine is the p99 of one run alone." }
        p { "Knees: "
            @for (transport, knee) in &record.knees { (look::transport(*transport)) " " (count(*knee)) "/s. " }
        }
        div.wide { table {
            thead { tr {
                th {} th { "due/s" } th { "response, p50" } th { "p99" } th { "to stored, p50" } th { "p99" }
                th { "errors" } th { "generator late" br; "p99" } th { "runs" }
            } }
            tbody { @for row in rows {
                tr {
                    td {
                        (look::named(row.cell.subject))
                        @if let Some(part) = own_part(row) { ", " (format!("{:.0}", part * 100.0)) " % of its own knee" }
                    }
                    td { (count(rate(row))) }
                    @for part in [0.5, 0.99] { td { (spread(row.percentile(|m| &m.answered, part))) } }
                    @for part in [0.5, 0.99] { td { (spread(row.percentile(|m| &m.stored, part))) } }
                    td { (format!("{:.2} %", row.errors() * 100.0)) }
                    td { (millis(row.latencies(|m| &m.late).percentile(0.99))) }
                    td { (row.repetitions.len()) }
                }
            } }
        } }
    }
}

/// Batches.
pub(super) fn batches(record: &Record) -> Markup {
    let mut sizes: Vec<usize> = record.part(Part::Batches).map(|row| row.cell.batch).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let rate = |transport: Transport, batch: usize| {
        let row = record
            .part(Part::Batches)
            .find(|row| (row.cell.subject, row.cell.batch) == (Subject::Transport(transport), batch));
        row.map_or_else(|| "n/a".to_owned(), |row| count(median(&row.each(Measured::stored_per_second))))
    };
    html! {
        h2 { "In batches" }
        div.wide { table {
            caption { "Entries stored per second, 8 clients, " (bytes(BASE_PAYLOAD)) " each" }
            thead { tr {
                th { "entries in a request" }
                @for transport in Transport::ALL { th { (look::transport(transport)) } }
            } }
            tbody { @for batch in sizes {
                tr { td { (batch) } @for transport in Transport::ALL { td { (rate(transport, batch)) } } }
            } }
        } }
    }
}

/// Where and how it was measured.
pub(super) fn environment(record: &Record) -> Markup {
    let own = &record.circumstances;
    let measurements: usize = record.rows.iter().map(|row| row.repetitions.len()).sum();
    html! {
        h2 { "Environment" }
        dl {
            dt { "Machine" } dd {
                (own.processor) ", " (own.cores) " cores, " (count(own.memory_mib as f64)) " MiB, " (own.kernel) ", "
                 (format!("{:.0} %", own.busy * 100.0)) " CPU in use before the run"
            }
            dt { "Versions" } dd {
                "commit " (own.commit) ". " @for (name, version) in &own.versions { (name) " " (version) ". " }
            }
            dt { "Arguments" } dd { code { "compare " (own.arguments.join(" ")) } }
            dt { "Settings" } dd {
                @if own.foreign { "a system that ran already: its build, settings and store are not known" }
                @else {
                    "the services' defaults: coalescing, TCP_NODELAY, no TLS, no compression, release profile"
                    @for (name, value) in &own.settings { ", " code { (name) "=" (value) } }
                }
            }
            dt { "Cells" } dd { (record.rows.len()) " cells, " (count(measurements as f64)) " measurements, "
                (count(entries(record) as f64)) " entries, each verified against the store" }
            @if !record.took.is_zero() {
                dt { "Duration" } dd { (record.took.as_secs() / 60) " min " (record.took.as_secs() % 60) " s" }
            }
        }
    }
}

fn entries(record: &Record) -> usize {
    let kept = |cell: &Cell| cell.store == Keeping::Synced && cell.subject != Subject::Echo;
    let rows = record.rows.iter().filter(|row| kept(&row.cell));
    rows.flat_map(|row| &row.repetitions).map(|measured| measured.kept.stored).sum()
}
