//! `compare diff`: two reports side by side.

use std::fmt::Write;

use crate::{
    cell::{Measured, Part},
    record::Record,
    report,
    stats::{Verdict, median},
};

/// Two runs are not interleaved: the machine may have had another speed. Less than this is not to be read.
const MACHINE: f64 = 0.15;

/// What differs, cell by cell, and whether the same win.
pub fn diff(before: &Record, after: &Record) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_diff(before, after, &mut text);
    text
}

fn write_diff(before: &Record, after: &Record, text: &mut String) -> std::fmt::Result {
    let about = |record: &Record| {
        let own = &record.circumstances;
        format!("{} of {}, seed {}", own.commit, own.date.strftime("%Y-%m-%d %H:%M UTC"), own.seed)
    };
    writeln!(text, "before: {}\nafter:  {}", about(before), about(after))?;
    writeln!(
        text,
        "\nEntries stored per second; the two runs were not interleaved: within {:.0} % (~) nothing is said\n",
        MACHINE * 100.0
    )?;
    writeln!(text, "{:<44} {:>10} {:>10} {:>8}", "", "before", "after", "ratio")?;
    for row in &before.rows {
        if matches!(row.cell.part, Part::Knee | Part::Rates | Part::Own) {
            continue;
        }
        let Some(other) = after.rows.iter().find(|other| other.cell == row.cell) else { continue };
        let rate = Measured::stored_per_second;
        let (own, other) = (median(&row.each(rate)), median(&other.each(rate)));
        let ratio = other / own;
        let mark = if (ratio - 1.0).abs() <= MACHINE { "~" } else { "" };
        writeln!(text, "{:<44} {own:>10.0} {other:>10.0} {ratio:>7.2}{mark}", row.cell.to_string())?;
    }
    let winner = |verdict: &Verdict<_>| match verdict {
        Verdict::Winner { of, .. } => Some(*of),
        Verdict::Indistinguishable { .. } | Verdict::Alone | Verdict::TooFew => None,
    };
    let (mut both, mut same) = (0, 0);
    let others = report::winners(after);
    for cell in report::winners(before) {
        let place = (cell.payload_bytes, cell.callers);
        let other = others.iter().find(|other| (other.payload_bytes, other.callers) == place);
        let named = (winner(&cell.verdict), other.and_then(|other| winner(&other.verdict)));
        if let (Some(own), Some(other)) = named {
            both += 1;
            same += usize::from(own == other);
        }
    }
    writeln!(text, "\nCells of the grid with a winner in both: {both}; the same one in {same} of them.")
}
