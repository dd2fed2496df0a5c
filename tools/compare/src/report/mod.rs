//! Shows a record: tables on the terminal, a page with pictures, and rows for a spreadsheet.

mod answer;
mod charts;
mod costs;
mod csv;
mod document;
mod faults;
mod figures;
mod grid;
mod html;
mod look;
pub(crate) mod numbers;
mod peak;
mod plot;
mod ratios;
mod tables;
mod terminal;

use std::path::Path;

use anyhow::Context;

use crate::record::Record;

pub use faults::{faults_summary, write_faults};
pub use grid::{GridCell, winners};
pub use terminal::summary;

/// Writes `report.html`, `cells.csv` and `figures.json` beside the record.
///
/// # Errors
/// If they cannot be written.
pub fn write(record: &Record, directory: &Path) -> anyhow::Result<()> {
    let page = directory.join("report.html");
    std::fs::write(&page, html::page(record)).with_context(|| format!("cannot write {}", page.display()))?;
    let file = directory.join("figures.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&figures::figures(record))?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    csv::write(record, &directory.join("cells.csv"))
}
