//! One page that needs nothing else: no script, no network, pictures inside.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use proto::Transport;

use super::{
    grid,
    plot::{self, Axis, Labels, Series},
    ratios::ratios,
    terminal::{in_words, millis},
};
use crate::{
    cell::{Cell, Keeping, Measured, Part, bytes},
    measure::GENERATOR,
    record::{Record, Row},
    stack::PROCESSES,
    stats::{Verdict, median, paired_ratio},
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .7rem; text-align: right; }
td { white-space: nowrap; } td.words { white-space: normal; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #666; vertical-align: bottom; }
td.best { font-weight: 700; background: #e8eef4; } caption { text-align: left; color: #444; padding-bottom: .3rem; }
.warning { border: 2px solid #a33; padding: .5rem 1rem; margin: 1rem 0; } .note { color: #444; }
div.wide { overflow-x: auto; } figure { margin: 1.5rem 0; } dt { font-weight: 600; } dd { margin: 0 0 .3rem 1rem; }
";

/// The page.
pub(super) fn page(record: &Record) -> anyhow::Result<String> {
    let parts = html! {
        h1 { "Four transports, side by side" }
        p.note {
            (record.circumstances.date.strftime("%Y-%m-%d %H:%M UTC")) ", commit " (record.circumstances.commit)
            ", seed " (record.circumstances.seed) ". How it was measured, and what it cannot tell: docs/comparing.md."
        }
        @if !record.warnings.is_empty() {
            div.warning { strong { "Before you use these figures" }
                ul { @for warning in &record.warnings { li { (warning) } } }
            }
        }
        (overview(record))
        (winners(record))
        (pictures(record)?)
        (rates(record))
        (batches(record))
        (prices(record))
        (wire(record))
        (circumstances(record))
    };
    Ok(document("Four transports, side by side", &parts))
}

/// A page around its parts.
pub(crate) fn document(title: &str, parts: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (parts) }
        }
    };
    page.into_string()
}

fn overview(record: &Record) -> Markup {
    let baseline = record.grid(Subject::Echo, BASE_PAYLOAD, BASE_CALLERS);
    let baseline = baseline.map(|row| row.each(Measured::accepted_per_second));
    let rows = Subject::ALL
        .into_iter()
        .filter_map(|subject| record.grid(subject, BASE_PAYLOAD, BASE_CALLERS).map(|row| (subject, row)));
    let rows: Vec<(Subject, &Row)> = rows.collect();
    html! {
        h2 { "Peak throughput: " (BASE_CALLERS) " clients, " (bytes(BASE_PAYLOAD)) }
        p { "A closed loop: each client sends the next entry when the last is answered. " code { "echo" } " is the "
            "baseline: decoded, checked and answered, delivered nowhere. " code { "rabbitmq" } " answers when RabbitMQ has confirmed; what counts for "
            "all alike is the time to stored." }
        div.wide { table {
            thead { tr {
                th {} th { "promise" } th { "requests/s" } th { "of the baseline" } th { "stored/s" } th { "errors" }
                th { "lost" } th { "generator," br; "of all cores" }
            } }
            tbody { @for (subject, row) in &rows {
                @let rate = row.each(Measured::accepted_per_second);
                @let share = baseline.as_ref().and_then(|baseline| paired_ratio(&rate, baseline));
                tr {
                    td { (subject.as_str()) }
                    td.words { (subject.promise()) }
                    td { (format!("{:.0}", median(&rate))) }
                    td { (share.map_or_else(|| "n/a".into(), |share| format!("{:.2}", share.middle))) }
                    @if *subject == Subject::Echo { td { "-" } }
                    @else { td { (format!("{:.0}", median(&row.each(Measured::stored_per_second)))) } }
                    td { (format!("{:.2} %", row.errors() * 100.0)) }
                    td { (row.repetitions.iter().map(|measured| measured.kept.lost).sum::<usize>()) }
                    td { (format!("{:.0} %", row.generator_share(record.circumstances.cores) * 100.0)) }
                }
            } }
        } }
        div.wide { table {
            thead { tr {
                th {} th { "response, p50" } th { "p99" } th { "p99.9" } th { "longest" }
                th { "time to stored, p50" } th { "p99" } th { "p99.9" } th { "longest" }
            } }
            tbody { @for (subject, row) in &rows {
                tr {
                    td { (subject.as_str()) }
                    @for latencies in [row.latencies(|m| &m.answered), row.latencies(|m| &m.stored)] {
                        @for part in [0.5, 0.99, 0.999] { td { (millis(latencies.percentile(part))) } }
                        td { (millis(latencies.longest())) }
                    }
                }
            } }
        } }
        p.note { "Of the baseline: the median of the ratios within each repetition, which is not the ratio of the medians. Stored: "
            "until the logger's stamp, which it takes as a commit begins; so it is earlier than the answer, and stored/s, "
            "which counts until the last stamp, is a little above requests/s." }
    }
}

fn two(latencies: &crate::cell::Latencies) -> String {
    format!("{}, {}", millis(latencies.percentile(0.5)), millis(latencies.percentile(0.99)))
}

fn winners(record: &Record) -> Markup {
    html! {
        h2 { "Winner by cell" }
        p { "Entries stored per second, medians of " (record.plan.repetitions) " repetitions in random order. A winner "
            "is named only where the intervals of 95 % around its ratios to all others lie above what the same "
            "transport differs from itself in this run (" (format!("{:.3}", grid::noise(record))) " ×)." }
        div.wide { table {
            thead { tr {
                th { "payload" } th { "clients" }
                @for transport in Transport::ALL { th { (transport.as_str()) } }
                th { "verdict" }
            } }
            tbody { @for cell in grid::winners(record) {
                @let winner = match &cell.verdict {
                    Verdict::Winner { of, .. } => Some(*of),
                    Verdict::Indistinguishable { .. } | Verdict::Alone | Verdict::TooFew => None,
                };
                tr {
                    td { (bytes(cell.payload_bytes)) }
                    td { (cell.callers) }
                    @for (transport, rate) in &cell.rates {
                        td.best[winner == Some(*transport)] { (format!("{rate:.0}")) }
                    }
                    td { (in_words(&cell.verdict)) }
                }
            } }
        } }
    }
}

fn pictures(record: &Record) -> anyhow::Result<Markup> {
    let pictures = [throughput(record)?, time_to_stored(record)?, cpu_time(record)?];
    Ok(html! {
        h2 { "In pictures" }
        @for svg in pictures { figure { (PreEscaped(svg)) } }
    })
}

fn throughput(record: &Record) -> anyhow::Result<String> {
    let number = |value: &f64| if *value >= 10.0 { format!("{value:.0}") } else { format!("{value}") };
    let by_callers = Subject::ALL.into_iter().map(|subject| {
        let rows = record
            .part(Part::Grid)
            .filter(|row| row.cell.subject == subject && row.cell.payload_bytes == BASE_PAYLOAD);
        let points = rows.filter_map(|row| match row.cell.shape {
            Shape::Closed { callers } => {
                Some((callers as f64, median(&row.each(Measured::stored_per_second))))
            }
            Shape::Open { .. } => None,
        });
        // The rows stand in the order in which they were first measured.
        let mut points: Vec<(f64, f64)> = points.collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series { name: subject.as_str().to_owned(), points }
    });
    plot::lines(
        &Labels {
            title: "Entries per second by clients, 64 B (stored; echo: answered)",
            x: "clients",
            y: "entries per second",
            x_number: &number,
            y_number: &number,
        },
        (Axis::Logarithmic, Axis::Logarithmic),
        &by_callers.collect::<Vec<_>>(),
    )
}

fn time_to_stored(record: &Record) -> anyhow::Result<String> {
    let micros = |value: &f64| millis(Some(*value as u64));
    // How many times rarer than one half: 1 is p50, 2 is p75, and so on; drawn by 1 / (1 - part).
    let part = |value: &f64| {
        format!("{:.4} %", (1.0 - 1.0 / value) * 100.0).replace(".0000", "").replace("00 %", " %")
    };
    let series = Transport::ALL.into_iter().filter_map(|transport| {
        let row = record.grid(Subject::Transport(transport), BASE_PAYLOAD, BASE_CALLERS)?;
        let curve = row.latencies(|measured| &measured.stored).curve();
        let points = curve.into_iter().filter(|(part, _)| *part < 0.9999 && *part > 0.0);
        let points = points.map(|(part, micros)| (1.0 / (1.0 - part), micros as f64));
        Some(Series { name: transport.to_string(), points: points.collect() })
    });
    plot::lines(
        &Labels {
            title: "Time to stored, closed loop, 64 clients",
            x: "part of the entries that took no longer",
            y: "",
            x_number: &part,
            y_number: &micros,
        },
        (Axis::Logarithmic, Axis::Logarithmic),
        &series.collect::<Vec<_>>(),
    )
}

fn cpu_time(record: &Record) -> anyhow::Result<String> {
    let names: Vec<&str> = PROCESSES.into_iter().chain([GENERATOR]).collect();
    let bars = Subject::ALL.into_iter().filter_map(|subject| {
        let row = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS)?;
        let cpu = row.processor_us();
        let parts = names.iter().map(|name| cpu.get(*name).copied().unwrap_or_default()).collect();
        Some((subject.as_str().to_owned(), parts))
    });
    let bars: Vec<(String, Vec<f64>)> = bars.collect();
    plot::stacked("CPU time per entry, 64 clients, 64 B", "microseconds", &bars, &names)
}

fn rates(record: &Record) -> Markup {
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
            "knee; the knee is the highest of the rates that were tried at which each window had at most 0.1 % errors and a p99 of at most "
            "50 ms, for the response and to stored." }
        p { "Knees: " @for (transport, knee) in &record.knees { (transport.as_str()) " " (format!("{knee:.0}")) "/s. " } }
        div.wide { table {
            thead { tr {
                th {} th { "due/s" } th { "response" br; "p50, p99" } th { "p99.9" } th { "to stored" br; "p50, p99" }
                th { "errors" } th { "generator late" br; "p99" }
            } }
            tbody { @for row in rows {
                @let (answered, stored) = (row.latencies(|m| &m.answered), row.latencies(|m| &m.stored));
                tr {
                    td { (row.cell.subject.as_str()) @if let Some(part) = own_part(row) { ", " (format!("{:.0}", part * 100.0)) " % of its own knee" } }
                    td { (format!("{:.0}", rate(row))) }
                    td { (two(&answered)) }
                    td { (millis(answered.percentile(0.999))) }
                    td { (two(&stored)) }
                    td { (format!("{:.2} %", row.errors() * 100.0)) }
                    td { (millis(row.latencies(|m| &m.late).percentile(0.99))) }
                }
            } }
        } }
    }
}

fn batches(record: &Record) -> Markup {
    let mut sizes: Vec<usize> = record.part(Part::Batches).map(|row| row.cell.batch).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let rate = |transport: Transport, batch: usize| {
        let row = record
            .part(Part::Batches)
            .find(|row| (row.cell.subject, row.cell.batch) == (Subject::Transport(transport), batch));
        row.map_or_else(
            || "n/a".into(),
            |row| format!("{:.0}", median(&row.each(Measured::stored_per_second))),
        )
    };
    html! {
        h2 { "In batches" }
        div.wide { table {
            caption { "Entries stored per second, 8 clients, " (bytes(BASE_PAYLOAD)) " each" }
            thead { tr { th { "entries in a request" } @for transport in Transport::ALL { th { (transport.as_str()) } } } }
            tbody { @for batch in sizes {
                tr { td { (batch) } @for transport in Transport::ALL { td { (rate(transport, batch)) } } }
            } }
        } }
    }
}

fn prices(record: &Record) -> Markup {
    let ratio = |transport: Transport| {
        let subject = Subject::Transport(transport);
        let nothing = record.part(Part::Durability).find(|row| row.cell.subject == subject)?;
        let synced = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS)?;
        let rate = Measured::accepted_per_second;
        Some((paired_ratio(&synced.each(rate), &nothing.each(rate))?, median(&nothing.each(rate))))
    };
    html! {
        h2 { "What things cost" }
        div.wide { table {
            caption { "Ratios of this run: less bound to this machine than its rates" }
            tbody { @for (what, value) in ratios(record) { tr { td { (what) } td { (value) } } } }
        } }
        div.wide { table {
            caption { "The price of durability: the same with a store that keeps nothing, " (BASE_CALLERS) " clients" }
            thead { tr { th {} th { "requests/s, nothing kept" } th { "synced : nothing kept" } } }
            tbody { @for transport in Transport::ALL { @if let Some((ratio, nothing)) = ratio(transport) {
                tr { td { (transport.as_str()) } td { (format!("{nothing:.0}")) }
                    td { (format!("{:.2} ({:.2} to {:.2})", ratio.middle, ratio.low, ratio.high)) } }
            } } }
        } }
        div.wide { table {
            caption { "The price of a connection that is not kept, one client: the broker's own clients, each entry on "
                "a kept connection and on one that is dialled for it" }
            thead { tr { th {} th { "kept, p50" } th { "dialled anew, p50" } } }
            tbody { @for anew in &record.anew { tr {
                td { (anew.transport.as_str()) } td { (millis(anew.kept.percentile(0.5))) }
                td { (millis(anew.anew.percentile(0.5))) }
            } } }
        } }
        @if let (Some(own), false) = (record.grid(Subject::Transport(Transport::Rabbitmq), BASE_PAYLOAD, BASE_CALLERS), record.bare.is_empty()) {
            p { "A bare publisher with confirms, which does nothing else, gets " (format!("{:.0}", median(&record.bare)))
                " messages a second from the same RabbitMQ with " (BASE_CALLERS) " in flight; " code { "rabbitmq" } " over the broker has "
                @if let Some(ratio) = paired_ratio(&own.each(Measured::accepted_per_second), &record.bare) {
                    (format!("{:.2} ({:.2} to {:.2})", ratio.middle, ratio.low, ratio.high)) " of it."
                }
            }
        }
        div.wide { table {
            caption { "The most memory, MiB, over all cells of " (bytes(BASE_PAYLOAD)) " with " (BASE_CALLERS) " clients" }
            thead { tr { th {} @for name in PROCESSES { th { (name) } } } }
            tbody { @for subject in Subject::ALL { @if let Some(row) = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS) {
                @let peaks = row.peak_memory_mib();
                tr { td { (subject.as_str()) }
                    @for name in PROCESSES { td { (format!("{:.0}", peaks.get(name).copied().unwrap_or_default())) } } }
            } } }
        } }
    }
}

fn wire(record: &Record) -> Markup {
    html! {
        h2 { "Bytes on the wire" }
        div.wide { table {
            caption { "Counted where TCP carries them, without its own headers; 8 clients. The first entry opens the "
                "connection." }
            thead { tr { th { "hop" } th { "transport" } th { "payload" } th { "out" } th { "back" } th { "first, out" } th { "first, back" } } }
            tbody { @for wire in &record.wire { @for (name, hop) in &wire.hops { tr {
                td { (name) } td { (wire.transport.as_str()) } td { (bytes(wire.payload_bytes)) }
                td { (format!("{:.0}", hop.out)) } td { (format!("{:.0}", hop.back)) }
                td { (hop.first_out) } td { (hop.first_in) }
            } } } }
        } }
    }
}

fn circumstances(record: &Record) -> Markup {
    let own = &record.circumstances;
    html! {
        h2 { "Environment" }
        dl {
            dt { "Machine" } dd { (own.processor) ", " (own.cores) " cores, " (own.memory_mib) " MiB, " (own.kernel)
                ", " (format!("{:.0} %", own.busy * 100.0)) " CPU in use before the run" }
            dt { "Versions" } dd { @for (name, version) in &own.versions { (name) " " (version) ". " } }
            dt { "Arguments" } dd { code { "compare " (own.arguments.join(" ")) } }
            dt { "Settings" } dd {
                @if own.foreign { "a system that somebody else had started: its build, settings and store are not known" }
                @else {
                    "the services' defaults: TCP_NODELAY, no TLS, no compression, release profile"
                    @for (name, value) in &own.settings { ", " code { (name) "=" (value) } }
                }
            }
            dt { "Cells" } dd { (record.rows.len()) " cells, " (record.rows.iter().map(|row| row.repetitions.len()).sum::<usize>())
                " measurements, " (entries(record)) " entries, each verified against the store" }
        }
    }
}

fn entries(record: &Record) -> usize {
    let kept = |cell: &Cell| cell.store == Keeping::Synced && cell.subject != Subject::Echo;
    let rows = record.rows.iter().filter(|row| kept(&row.cell));
    rows.flat_map(|row| &row.repetitions).map(|measured| measured.kept.stored).sum()
}
