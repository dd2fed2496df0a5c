//! A page that needs nothing else: no script, no network, pictures inside.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot;
use crate::record::Circumstances;

const STYLE: &str = include_str!("report.css");

/// A page around its parts.
pub(super) fn document(title: &str, parts: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (plot::patterns()) (parts) }
        }
    };
    page.into_string()
}

/// When and of what.
pub(super) fn origin(circumstances: &Circumstances) -> String {
    let date = circumstances.date.strftime("%Y-%m-%d %H:%M UTC");
    format!("Measured {date}, commit {}, seed {}.", circumstances.commit, circumstances.seed)
}
