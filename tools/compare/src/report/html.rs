//! The page of a run.

use maud::{Markup, html};

use super::{
    answer::answer,
    charts, costs,
    document::{document, origin},
    faults, peak, tables,
};
use crate::record::Record;

const TITLE: &str = "Four transports, side by side";

/// The page: the answer, a picture of it, and then what is behind it.
pub(super) fn page(record: &Record) -> String {
    let parts = html! {
        h1 { (TITLE) }
        @for sentence in answer(record) { p.answer { (in_code(&sentence)) } }
        (warnings(record))
        @if let Some(picture) = charts::to_stored_by_rate(record) { (picture) }
        p.note { (origin(&record.circumstances)) " How it was measured, and what it cannot tell: docs/comparing.md." }
        (tables::winners(record))
        (charts::throughput(record))
        (peak::section(record))
        (charts::cpu_time(record))
        @if let Some(picture) = charts::bytes_per_entry(record) { (picture) }
        @if !record.faults.is_empty() {
            h2 { "When something breaks" }
            (faults::sections(&record.faults))
        }
        (tables::rates(record))
        (charts::to_stored_at_peak(record))
        (tables::batches(record))
        (costs::section(record))
        (tables::environment(record))
    };
    document(TITLE, &parts)
}

fn warnings(record: &Record) -> Markup {
    const SHOWN: usize = 3;
    let (first, rest) = record.warnings.split_at(SHOWN.min(record.warnings.len()));
    html! {
        @if !first.is_empty() {
            div.warning { strong { "Before you use these figures" }
                ul { @for warning in first { li { (warning) } } }
                @if !rest.is_empty() {
                    details { summary { (rest.len()) " more" }
                        ul { @for warning in rest { li { (warning) } } }
                    }
                }
            }
        }
    }
}

/// What stands between backticks as code.
fn in_code(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
