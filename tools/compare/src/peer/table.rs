//! The tables of a comparison with the peer, in Markdown that reads on a terminal as well.

use std::fmt::Write;

use super::{PeerCell, PeerRecord, Ran, Side};
use crate::{
    report::numbers::count,
    stats::{Estimate, median, paired_ratio},
    workload::Subject,
};

/// All tables: the ratios at a glance, and then each number of connections.
pub fn tables(record: &PeerRecord) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_tables(record, &mut text);
    text
}

fn write_tables(record: &PeerRecord, text: &mut String) -> std::fmt::Result {
    let own = &record.circumstances;
    let go = own.versions.get("Go").map_or("", String::as_str);
    writeln!(
        text,
        "Commit {}, {}; {} B, {} s per repetition; {} cores, {:.0} % CPU in use before the run; {}. Medians; the \
         ratios pair by pair, with the lowest and the highest.\n",
        own.commit,
        own.date.strftime("%Y-%m-%d %H:%M UTC"),
        record.payload_bytes,
        record.seconds,
        own.cores,
        own.busy * 100.0,
        go
    )?;
    write_ratios(record, text)?;
    let mut connections: Vec<usize> = record.cells.iter().map(|cell| cell.connections).collect();
    connections.dedup();
    for connections in connections {
        let cells: Vec<&PeerCell> =
            record.cells.iter().filter(|cell| cell.connections == connections).collect();
        writeln!(text, "\nConnections: {connections}\n")?;
        write_cells(&cells, text)?;
    }
    writeln!(text, "\nPeak memory, MiB:\n")?;
    let names = ["broker", "logger", "listener"];
    let head: Vec<&str> = [""].into_iter().chain(names).collect();
    let rows = record.peak_memory_mib.iter().map(|(side, peaks)| {
        let peaks = names.iter().map(|name| peaks.get(*name).map_or_else(|| "-".to_owned(), u64::to_string));
        [side.as_str().to_owned()].into_iter().chain(peaks).collect()
    });
    write_rows(&head, &rows.collect::<Vec<_>>(), text)
}

/// Ours over the peer's, in answers per second, and over `rabbitmq` also in entries stored per second.
fn write_ratios(record: &PeerRecord, text: &mut String) -> std::fmt::Result {
    let mut connections: Vec<usize> = record.cells.iter().map(|cell| cell.connections).collect();
    connections.dedup();
    let head: Vec<String> = ["ours : Go".to_owned()]
        .into_iter()
        .chain(connections.iter().flat_map(|connections| {
            [format!("{connections} connections"), format!("{connections}, a call for each")]
        }))
        .collect();
    let mut rows = Vec::new();
    for subject in Subject::ALL {
        let of = |connections: usize| {
            record.cells.iter().find(|cell| (cell.connections, cell.subject) == (connections, subject))
        };
        let mut row = |name: String, value: fn(&Ran) -> f64| {
            let ratios = connections.iter().flat_map(|connections| {
                [Side::Coalesced, Side::OwnCalls]
                    .map(|side| interval(of(*connections).and_then(|cell| ratio(cell, side, value))))
            });
            rows.push([name].into_iter().chain(ratios).collect::<Vec<String>>());
        };
        if !connections.iter().any(|connections| of(*connections).is_some()) {
            continue;
        }
        row(subject.as_str().to_owned(), |ran| ran.seen.per_second());
        if subject == Subject::Transport(proto::Transport::Rabbitmq) {
            row("rabbitmq, stored/s".to_owned(), stored_per_second);
        }
    }
    write_rows(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows, text)
}

fn write_cells(cells: &[&PeerCell], text: &mut String) -> std::fmt::Result {
    const HEAD: [&str; 12] = [
        "",
        "side",
        "answers/s",
        "ours : Go",
        "p50 ms",
        "p99 ms",
        "CPU µs/entry",
        "RabbitMQ µs/entry",
        "stored/s",
        "refused, broken",
        "lost (at least)",
        "taken by others",
    ];
    let mut rows = Vec::new();
    for cell in cells {
        for (side, runs) in &cell.by_side {
            let middle = |value: fn(&Ran) -> f64| median(&runs.iter().map(value).collect::<Vec<f64>>());
            let total = |value: fn(&Ran) -> u64| count(runs.iter().map(value).sum::<u64>() as f64);
            let is_stored = cell.subject != Subject::Echo;
            let if_stored = |value: String| if is_stored { value } else { "-".to_owned() };
            rows.push(vec![
                cell.subject.as_str().to_owned(),
                side.as_str().to_owned(),
                count(middle(|ran| ran.seen.per_second())),
                interval(ratio(cell, *side, |ran| ran.seen.per_second())),
                format!("{:.2}", middle(|ran| ran.seen.p50_us as f64) / 1e3),
                format!("{:.2}", middle(|ran| ran.seen.p99_us as f64) / 1e3),
                format!("{:.1}", middle(|ran| per_entry(ran, ran.cpu_time.as_secs_f64()))),
                if_stored(format!("{:.1}", middle(|ran| per_entry(ran, ran.rabbitmq.as_secs_f64())))),
                if_stored(count(middle(stored_per_second))),
                format!("{}, {}", total(|ran| ran.seen.rejected), total(|ran| ran.seen.broken)),
                if_stored(total(Ran::lost_at_least)),
                format!("{:.0} %", middle(|ran| ran.others) * 100.0),
            ]);
        }
    }
    write_rows(&HEAD, &rows, text)
}

/// In microseconds; what was stored after wrk had gone is counted, since its cost is.
fn per_entry(ran: &Ran, seconds: f64) -> f64 {
    seconds * 1e6 / ran.stored.max(ran.seen.accepted()).max(1) as f64
}

fn stored_per_second(ran: &Ran) -> f64 {
    ran.stored as f64 / ran.storing.as_secs_f64().max(1e-9)
}

/// A side of ours over the peer, pair by pair: the median, the lowest and the highest.
fn ratio(cell: &PeerCell, side: Side, value: fn(&Ran) -> f64) -> Option<Estimate> {
    if side == Side::Go {
        return None;
    }
    let each = |side| cell.by_side.get(&side).map(|runs| runs.iter().map(value).collect::<Vec<f64>>());
    let (of, to) = (each(side)?, each(Side::Go)?);
    let estimate = paired_ratio(&of, &to)?;
    let ratios = of.iter().zip(&to).map(|(of, to)| of / to);
    let (low, high) =
        ratios.fold((f64::INFINITY, 0.0_f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
    Some(Estimate { low, high, ..estimate })
}

fn interval(estimate: Option<Estimate>) -> String {
    let text = |by: Estimate| format!("{:.2} ({:.2} to {:.2})", by.middle, by.low, by.high);
    estimate.map_or_else(|| "-".to_owned(), text)
}

/// A table whose columns are as wide as what is in them.
fn write_rows(head: &[&str], rows: &[Vec<String>], text: &mut String) -> std::fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count(), 3]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        for (cell, width) in cells.zip(&widths) {
            let air = width - cell.chars().count().min(*width);
            write!(text, "| {cell}{} ", " ".repeat(air))?;
        }
        writeln!(text, "|")
    };
    line(&mut head.iter().map(|word| (*word).to_owned()))?;
    line(&mut widths.iter().map(|width| "-".repeat(*width)))?;
    rows.iter().try_for_each(|row| line(&mut row.iter().cloned()))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proto::Transport;

    use super::*;
    use crate::{peer::Seen, record::Circumstances};

    fn ran(requests: u64, stored: u64) -> Ran {
        let seen = Seen { requests, micros: 1_000_000, rejected: 0, broken: 0, p50_us: 900, p99_us: 2_000 };
        Ran {
            seen,
            stored,
            storing: Duration::from_secs(1),
            cpu_time: Duration::from_millis(500),
            rabbitmq: Duration::ZERO,
            others: 0.02,
        }
    }

    fn record() -> PeerRecord {
        let by_side = BTreeMap::from([
            (Side::Coalesced, vec![ran(30_000, 30_000), ran(20_000, 20_000), ran(28_000, 28_000)]),
            (Side::OwnCalls, vec![ran(15_000, 15_000), ran(9_000, 9_000), ran(14_000, 14_000)]),
            (Side::Go, vec![ran(10_000, 10_000), ran(8_000, 7_998), ran(10_000, 10_001)]),
        ]);
        let cell = PeerCell { connections: 64, subject: Subject::Transport(Transport::Http), by_side };
        PeerRecord {
            circumstances: Circumstances::now(1, None),
            seconds: 1,
            payload_bytes: 64,
            cells: vec![cell],
            peak_memory_mib: BTreeMap::from([(Side::Go, BTreeMap::from([("broker".to_owned(), 30)]))]),
        }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_pairs_with_the_lowest_and_the_highest() {
        let text = tables(&record());
        assert!(text.contains("| http      | 2.80 (2.50 to 3.00) | 1.40 (1.12 to 1.50)"), "{text}");
        assert!(text.contains("| 28,000 "), "{text}");
        assert!(text.contains("| Go "), "{text}");
    }

    #[test]
    fn what_was_accepted_and_is_not_stored_is_lost_and_what_is_beyond_that_is_no_gain() {
        assert_eq!(record().lost_at_least(), 2);
    }
}
