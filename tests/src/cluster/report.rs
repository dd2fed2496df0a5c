//! The table of a run, as a page of `docs/results`.

use std::{fmt::Write, time::Duration};

use super::{Outcome, watched::Seen};

/// The page. `what` says in a sentence or two on what was run.
pub fn page(day: &str, what: &str, outcomes: &[Outcome]) -> String {
    let mut page = format!("# The cluster under faults, {day}\n\n{what}\n\n");
    page.push_str(
        "| fault | rounds | accepted | refused | after 1 s | unknown | connections lost | gap, direct | gap, rabbitmq | broken |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for Outcome { fault, rounds, seen, broken, .. } in outcomes {
        let Seen { gaps, accepted, refused, refused_late, unknown, cut, .. } = seen;
        let broken = if broken.is_empty() { "–".to_owned() } else { broken.join("; ") };
        let _ = writeln!(
            page,
            "| {fault} | {rounds} | {} | {} | {} | {} | {} | {} | {} | {broken} |",
            grouped(*accepted),
            grouped(*refused),
            grouped(*refused_late),
            grouped(*unknown),
            grouped(*cut),
            seconds(gaps[0]),
            seconds(gaps[1]),
        );
    }
    if let Some(Outcome { verdict, .. }) = outcomes.last() {
        let violations = verdict.violations().map(|(word, count)| format!("{word} {count}")).join(", ");
        let _ = writeln!(
            page,
            "\nOf all {} entries of the run together: {violations}; {} accepted, {} stored.",
            grouped(verdict.sent as u64),
            grouped(verdict.accepted as u64),
            grouped(verdict.stored as u64),
        );
    }
    page
}

fn seconds(gap: Duration) -> String {
    format!("{:.2} s", gap.as_secs_f64())
}

/// With commas, as the other pages have them.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
