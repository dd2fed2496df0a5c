//! What a run answers, in two sentences: which transport to take for throughput, and what it takes at a rate that all
//! carry. They come from the verdicts alone, so a run that has none says so.

use std::collections::BTreeMap;

use proto::Transport;

use super::{
    grid::{self, GridCell},
    numbers::{count, duration, micros},
};
use crate::{
    cell::{Part, bytes},
    record::{Record, Row},
    stats::Verdict,
    workload::{BASE_CALLERS, BASE_PAYLOAD, Shape, Subject},
};

/// Cells that are named one by one; more are counted.
const NAMED: usize = 3;

/// The two sentences.
pub(super) fn answer(record: &Record) -> [String; 2] {
    let cells = grid::winners(record);
    if !record.is_sound() {
        return [
            "A promise was broken in this run: the store does not hold what was answered.".to_owned(),
            "Which cells that were stands in the warnings; none of them is compared.".to_owned(),
        ];
    }
    let has_verdicts = !cells.iter().any(|cell| cell.verdict == Verdict::TooFew);
    if !has_verdicts || cells.is_empty() {
        return [
            format!("This run is too short to say which transport is the fastest: {}.", repetitions(record)),
            "Run `make compare`, which takes about 15 minutes, for an answer.".to_owned(),
        ];
    }
    [throughput(&cells), at_a_rate(record).unwrap_or_else(|| cost(record))]
}

fn repetitions(record: &Record) -> String {
    let plural = if record.plan.repetitions == 1 { "" } else { "s" };
    format!("it has {} repetition{plural}, and a verdict takes six", record.plan.repetitions)
}

fn throughput(cells: &[GridCell]) -> String {
    let mut won: BTreeMap<Transport, Vec<(&GridCell, f64)>> = BTreeMap::new();
    for cell in cells {
        if let Verdict::Winner { of, by, .. } = &cell.verdict {
            won.entry(*of).or_default().push((cell, by.middle));
        }
    }
    let mut won: Vec<_> = won.into_iter().collect();
    won.sort_by_key(|(_, cells)| std::cmp::Reverse(cells.len()));
    let named: usize = won.iter().map(|(_, cells)| cells.len()).sum();
    if won.is_empty() {
        return format!(
            "No transport stores more entries per second than all others in any of the {} cells: choose by what you \
             need.",
            cells.len()
        );
    }
    let (first, _) = won[0];
    let each = won.iter().map(|(transport, won)| {
        let who = if *transport == first { "it" } else { transport.as_str() };
        wins(who, won)
    });
    let each: Vec<String> = each.collect();
    let rest = match cells.len() - named {
        0 => String::new(),
        rest => format!("; in the other {rest} of {} cells none is ahead", cells.len()),
    };
    format!("For the most entries per second take {first}: {}{rest}.", each.join("; "))
}

fn wins(who: &str, won: &[(&GridCell, f64)]) -> String {
    let by = won.iter().map(|(_, by)| *by);
    let (least, most) = (by.clone().fold(f64::INFINITY, f64::min), by.fold(0.0, f64::max));
    let by = if most - least < 0.005 { format!("{most:.2}") } else { format!("{least:.2} to {most:.2}") };
    let place = |(cell, _): &(&GridCell, f64)| {
        let plural = if cell.callers == 1 { "" } else { "s" };
        format!("{} with {} client{plural}", bytes(cell.payload_bytes), cell.callers)
    };
    let places = if won.len() <= NAMED {
        format!(" ({})", won.iter().map(place).collect::<Vec<_>>().join(", "))
    } else {
        String::new()
    };
    let plural = if won.len() == 1 { "" } else { "s" };
    format!("{who} wins {} cell{plural}{places} by {by} times the second", won.len())
}

/// The rate nearest to half of the slowest knee that all were measured at, and the p99 to stored of each.
fn at_a_rate(record: &Record) -> Option<String> {
    let half = record.knees.values().copied().fold(f64::INFINITY, f64::min) / 2.0;
    let rate_of = |row: &Row| match row.cell.shape {
        Shape::Open { rate } => Some(rate),
        Shape::Closed { .. } => None,
    };
    let rates = record.part(Part::Rates).filter_map(rate_of);
    let rate = rates.min_by(|a, b| (a - half).abs().total_cmp(&(b - half).abs()))?;
    let mut waits = Vec::new();
    for transport in Transport::ALL {
        let row = record.part(Part::Rates).find(|row| {
            row.cell.subject == Subject::Transport(transport) && row.cell.shape == Shape::Open { rate }
        })?;
        let p99 = row.percentile(|measured| &measured.stored, 0.99)?;
        waits.push((transport, p99.middle));
    }
    waits.sort_by(|a, b| a.1.total_cmp(&b.1));
    let each: Vec<String> =
        waits.iter().map(|(transport, p99)| format!("{} over {transport}", short(*p99))).collect();
    let (last, others) = each.split_last()?;
    Some(format!(
        "At {} requests/s, which all four carry, 99 of 100 entries are stored within {} and {last}.",
        count(rate),
        others.join(", ")
    ))
}

/// Two digits are enough to choose by.
fn short(micros: f64) -> String {
    let digits = 10_f64.powf(micros.max(1.0).log10().floor() - 1.0);
    duration((micros / digits).round() * digits)
}

fn cost(record: &Record) -> String {
    let costs = Transport::ALL.into_iter().filter_map(|transport| {
        let row = record.grid(Subject::Transport(transport), BASE_PAYLOAD, BASE_CALLERS)?;
        Some((transport, row.system_us()))
    });
    let mut costs: Vec<(Transport, f64)> = costs.filter(|(_, cost)| *cost > 0.0).collect();
    costs.sort_by(|a, b| a.1.total_cmp(&b.1));
    match costs.as_slice() {
        [(least, low), .., (most, high)] => format!(
            "With {BASE_CALLERS} clients an entry takes {} of CPU time over {least} and {} over {most}.",
            micros(*low),
            micros(*high)
        ),
        _ => "No rate was found that all four carry.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Estimate;

    fn cell(callers: usize, verdict: Verdict<Transport>) -> GridCell {
        GridCell { payload_bytes: 64, callers, rates: Vec::new(), verdict }
    }

    fn ahead(of: Transport, by: f64) -> Verdict<Transport> {
        let by = Estimate { middle: by, low: by, high: by };
        Verdict::Winner { of, second: Transport::Http, by }
    }

    #[test]
    fn the_winners_are_named_with_their_cells() {
        let level = Verdict::Indistinguishable { of: Transport::Http, second: Transport::Rpc };
        let one = [cell(1, level.clone()), cell(8, level.clone()), cell(64, ahead(Transport::Rpc, 1.47))];
        assert_eq!(
            throughput(&one),
            "For the most entries per second take rpc: it wins 1 cell (64 B with 64 clients) by 1.47 times the \
             second; in the other 2 of 3 cells none is ahead."
        );
        let none = [cell(1, level.clone()), cell(8, level)];
        assert!(throughput(&none).starts_with("No transport"), "{}", throughput(&none));
        let many: Vec<GridCell> =
            (1..=5).map(|at| cell(at, ahead(Transport::Rpc, 1.0 + at as f64 / 10.0))).collect();
        assert_eq!(
            throughput(&many),
            "For the most entries per second take rpc: it wins 5 cells by 1.10 to 1.50 times the second."
        );
    }

    #[test]
    fn two_digits_are_enough() {
        assert_eq!(
            [1_234.0, 12_345.0, 987.0, 2_345_678.0].map(short),
            ["1.2 ms", "12 ms", "0.99 ms", "2.3 s"]
        );
    }
}
