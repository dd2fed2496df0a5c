//! The tables at the end of a run.

use std::fmt::Write;

use proto::Transport;

use super::{grid, ratios::ratios};
use crate::{
    cell::{Measured, Part, bytes},
    record::Record,
    stats::{Verdict, median},
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

/// What a run has shown, in some forty lines.
pub fn summary(record: &Record) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_summary(record, &mut text);
    text
}

fn write_summary(record: &Record, text: &mut String) -> std::fmt::Result {
    for warning in &record.warnings {
        writeln!(text, "WARNING: {warning}")?;
    }
    write_overview(record, text)?;
    write_winners(record, text)?;
    write_rates(record, text)?;
    writeln!(text, "\nRatios of this run\n")?;
    ratios(record).iter().try_for_each(|(what, value)| writeln!(text, "{what:<56} {value}"))
}

fn write_overview(record: &Record, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "\n{} B, {BASE_CALLERS} clients, closed loop; every entry verified against the store\n",
        BASE_PAYLOAD
    )?;
    writeln!(
        text,
        "{:<9} {:>10} {:>9} {:>10} {:>10} {:>10} {:>10} {:>9} {:>8} {:>6} {:>7} {:>6}",
        "",
        "answered/s",
        "stored/s",
        "of base",
        "answ. p50",
        "answ. p99",
        "stored p50",
        "stor. p99",
        "CPU us",
        "gen.",
        "errors",
        "lost"
    )?;
    let baseline = record.grid(Subject::Echo, BASE_PAYLOAD, BASE_CALLERS);
    let baseline = baseline.map(|row| row.each(Measured::accepted_per_second));
    for subject in Subject::ALL {
        let Some(row) = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS) else { continue };
        let (answered, stored) = (row.latencies(|m| &m.answered), row.latencies(|m| &m.stored));
        let rate = row.each(Measured::accepted_per_second);
        let share = baseline.as_ref().and_then(|baseline| crate::stats::paired_ratio(&rate, baseline));
        let stored_rate = match subject {
            Subject::Transport(_) => format!("{:.0}", median(&row.each(Measured::stored_per_second))),
            Subject::Echo => "-".to_owned(),
        };
        let system: f64 = row
            .processor_us()
            .iter()
            .filter(|(name, _)| *name != crate::measure::GENERATOR)
            .map(|(_, us)| us)
            .sum();
        let lost: usize = row.repetitions.iter().map(|measured| measured.kept.lost).sum();
        writeln!(
            text,
            "{:<9} {:>10.0} {:>9} {:>10} {:>10} {:>10} {:>10} {:>9} {:>8.1} {:>6} {:>7} {:>6}",
            subject.as_str(),
            median(&rate),
            stored_rate,
            share.map_or_else(|| "-".to_owned(), |share| format!("{:.2}", share.middle)),
            millis(answered.percentile(0.5)),
            millis(answered.percentile(0.99)),
            millis(stored.percentile(0.5)),
            millis(stored.percentile(0.99)),
            system,
            format!("{:.0} %", row.generator_share(record.circumstances.cores) * 100.0),
            format!("{:.2} %", row.errors() * 100.0),
            lost,
        )?;
    }
    Ok(())
}

fn write_winners(record: &Record, text: &mut String) -> std::fmt::Result {
    writeln!(text, "\nEntries stored per second, by payload and clients; * is ahead of all others\n")?;
    write!(text, "{:<9} {:>7} ", "payload", "clients")?;
    Transport::ALL.iter().try_for_each(|transport| write!(text, " {:>10}", transport.as_str()))?;
    writeln!(text, "  verdict")?;
    for cell in grid::winners(record) {
        write!(text, "{:<9} {:>7} ", bytes(cell.payload_bytes), cell.callers)?;
        let winner = match &cell.verdict {
            Verdict::Winner { of, .. } => Some(*of),
            Verdict::Indistinguishable { .. } | Verdict::Alone | Verdict::TooFew => None,
        };
        for (transport, rate) in &cell.rates {
            let mark = if winner == Some(*transport) { "*" } else { " " };
            write!(text, " {:>9}{mark}", format!("{rate:.0}"))?;
        }
        writeln!(text, "  {}", in_words(&cell.verdict))?;
    }
    Ok(())
}

fn write_rates(record: &Record, text: &mut String) -> std::fmt::Result {
    writeln!(text, "\nOpen loop, {BASE_PAYLOAD} B: latency from the moment that a request was due\n")?;
    writeln!(
        text,
        "{:<9} {:>8} {:>10} {:>10} {:>11} {:>8}",
        "", "due/s", "answ. p50", "answ. p99", "answ. p99.9", "errors"
    )?;
    let mut rows: Vec<_> = record.part(Part::Rates).chain(record.part(Part::Own)).collect();
    rows.sort_by_key(|row| row.cell.to_string());
    for row in rows {
        let answered = row.latencies(|m| &m.answered);
        let Shape::Open { rate } = row.cell.shape else { continue };
        writeln!(
            text,
            "{:<9} {:>8.0} {:>10} {:>10} {:>11} {:>7.2}%",
            row.cell.subject.as_str(),
            rate,
            millis(answered.percentile(0.5)),
            millis(answered.percentile(0.99)),
            millis(answered.percentile(0.999)),
            row.errors() * 100.0,
        )?;
    }
    Ok(())
}

/// A verdict as a sentence.
pub(super) fn in_words(verdict: &Verdict<Transport>) -> String {
    match verdict {
        Verdict::Winner { of, second, by } => {
            format!("{of}, {:.2} x {second} ({:.2} to {:.2})", by.middle, by.low, by.high)
        }
        Verdict::Indistinguishable { of, second } => format!("{of} and {second} indistinguishable"),
        Verdict::Alone => "alone".to_owned(),
        Verdict::TooFew => "too few repetitions for a verdict".to_owned(),
    }
}

/// Microseconds as milliseconds, with three digits that mean something.
pub(super) fn millis(micros: Option<u64>) -> String {
    match micros {
        None => "n/a".to_owned(),
        Some(micros @ 0..1_000) => format!("{:.3} ms", micros as f64 / 1e3),
        Some(micros @ 1_000..10_000) => format!("{:.2} ms", micros as f64 / 1e3),
        Some(micros @ 10_000..100_000) => format!("{:.1} ms", micros as f64 / 1e3),
        Some(micros) => format!("{:.0} ms", micros as f64 / 1e3),
    }
}
