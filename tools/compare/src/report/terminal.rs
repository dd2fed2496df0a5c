//! The tables at the end of a run.

use std::fmt::Write;

use proto::Transport;

use super::{
    answer::answer,
    grid,
    numbers::{count, micros, millis, runs},
    peak::{Peak, interval, peaks, rate, stored},
    ratios::ratios,
};
use crate::{
    cell::{Part, bytes},
    record::{Record, Row},
    stats::Verdict,
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape},
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
    answer(record).iter().try_for_each(|sentence| writeln!(text, "{sentence}"))?;
    write_overview(record, text)?;
    write_winners(record, text)?;
    write_rates(record, text)?;
    writeln!(text, "\nRatios of this run\n")?;
    ratios(record).iter().try_for_each(|(what, value)| writeln!(text, "{what:<56} {value}"))
}

fn write_overview(record: &Record, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "\n{BASE_PAYLOAD} B, {BASE_CALLERS} clients, closed loop; every entry verified against the store\n"
    )?;
    writeln!(
        text,
        "{:<9} {:>10} {:>9} {:>8} {:>10} {:>10} {:>10} {:>9} {:>9} {:>6} {:>7} {:>6}",
        "",
        "requests/s",
        "stored/s",
        "of base",
        "resp. p50",
        "resp. p99",
        "stored p50",
        "stor. p99",
        "CPU/entry",
        "gen.",
        "errors",
        "lost"
    )?;
    let peaks = peaks(record);
    for Peak { subject, shared: row, of_baseline, .. } in &peaks {
        let (answered, stored_in) = (row.latencies(|m| &m.answered), row.latencies(|m| &m.stored));
        let lost: usize = row.repetitions.iter().map(|measured| measured.kept.lost).sum();
        writeln!(
            text,
            "{:<9} {:>10} {:>9} {:>8} {:>10} {:>10} {:>10} {:>9} {:>9} {:>6} {:>7} {:>6}",
            subject.as_str(),
            rate(row),
            stored(row),
            of_baseline.map_or_else(|| "-".to_owned(), |share| format!("{:.2}", share.middle)),
            millis(answered.percentile(0.5)),
            millis(answered.percentile(0.99)),
            millis(stored_in.percentile(0.5)),
            millis(stored_in.percentile(0.99)),
            micros(row.system_us()),
            format!("{:.0} %", row.generator_share(record.circumstances.cores) * 100.0),
            format!("{:.2} %", row.errors() * 100.0),
            lost,
        )?;
    }
    write_calls(&peaks, text)
}

/// What coalescing makes of a call.
fn write_calls(peaks: &[Peak<'_>], text: &mut String) -> std::fmt::Result {
    if peaks.iter().all(|peak| peak.own.is_none()) {
        return Ok(());
    }
    writeln!(text, "\nThe same with a call for each entry, beside coalesced\n")?;
    writeln!(
        text,
        "{:<9} {:>12} {:>12} {:>21} {:>13} {:>13}",
        "", "own calls/s", "coalesced/s", "gain", "CPU, own", "coalesced"
    )?;
    for peak in peaks {
        let Some(own) = peak.own else { continue };
        writeln!(
            text,
            "{:<9} {:>12} {:>12} {:>21} {:>13} {:>13}",
            peak.subject.as_str(),
            rate(own),
            rate(peak.shared),
            interval(peak.gain()),
            micros(own.system_us()),
            micros(peak.shared.system_us()),
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
            write!(text, " {:>9}{mark}", count(*rate))?;
        }
        writeln!(text, "  {}", in_words(&cell.verdict))?;
    }
    Ok(())
}

fn write_rates(record: &Record, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "\nOpen loop, {BASE_PAYLOAD} B: latency from the moment that a request was due; a row is the median of {}\n",
        runs(record.plan.open_repetitions)
    )?;
    let head = ["due/s", "resp. p50", "resp. p99", "stored p50", "stor. p99", "lowest", "highest"];
    write!(text, "{:<9}", "")?;
    head.iter().try_for_each(|word| write!(text, " {word:>10}"))?;
    writeln!(text, " {:>8}", "errors")?;
    let mut rows: Vec<_> = record.part(Part::Rates).chain(record.part(Part::Own)).collect();
    let rate = |row: &Row| match row.cell.shape {
        Shape::Open { rate } => rate,
        Shape::Closed { .. } => 0.0,
    };
    rows.sort_by(|a, b| a.cell.subject.cmp(&b.cell.subject).then(rate(a).total_cmp(&rate(b))));
    for row in rows {
        let Shape::Open { rate } = row.cell.shape else { continue };
        let answered = |part| row.percentile(|measured| &measured.answered, part).map(|of| of.middle);
        let half = row.percentile(|measured| &measured.stored, 0.5).map(|of| of.middle);
        let tail = row.percentile(|measured| &measured.stored, 0.99);
        write!(text, "{:<9} {:>10}", row.cell.subject.as_str(), count(rate))?;
        let all = [
            answered(0.5),
            answered(0.99),
            half,
            tail.map(|of| of.middle),
            tail.map(|of| of.low),
            tail.map(|of| of.high),
        ];
        all.iter()
            .try_for_each(|micros| write!(text, " {:>10}", millis(micros.map(|micros| micros as u64))))?;
        writeln!(text, " {:>7.2}%", row.errors() * 100.0)?;
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
