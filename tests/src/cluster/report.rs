//! The table of a run, as a page of `docs/results`.

use std::{fmt::Write, time::Duration};

use compare::claims::Language;

use super::{Outcome, watched::Seen};

/// The page. `what` says in a sentence or two on what was run.
pub fn page(day: &str, what: &str, outcomes: &[Outcome]) -> String {
    let mut page = format!("# The cluster under faults, {day}\n\n{what}\n\n");
    page.push_str(
        "| fault | rounds | accepted | refused | after 1 s | unknown | connections broken | gap, direct | gap, rabbitmq | broken |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for Outcome { fault, rounds, seen, broken, .. } in outcomes {
        let Seen { direct, rabbitmq, accepted, refused, refused_late, unknown, broken_connections, .. } =
            seen;
        let broken = if broken.is_empty() { "–".to_owned() } else { broken.join("; ") };
        let _ = writeln!(
            page,
            "| {fault} | {rounds} | {} | {} | {} | {} | {} | {} | {} | {broken} |",
            grouped(*accepted),
            grouped(*refused),
            grouped(*refused_late),
            grouped(*unknown),
            grouped(*broken_connections),
            seconds(direct.longest),
            seconds(rabbitmq.longest),
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
    Language::English.whole(number as f64)
}
