//! Shows a record: tables on the terminal, a page with pictures, and rows for a spreadsheet.

mod csv;
mod faults;
mod grid;
mod html;
mod plot;
mod ratios;
mod terminal;

use std::path::Path;

use anyhow::Context;

use crate::record::Record;

pub use faults::{faults_summary, write_faults};
pub use grid::{GridCell, winners};
pub use terminal::summary;

/// Writes `report.html` and `cells.csv` beside the record.
///
/// # Errors
/// If they cannot be drawn or written.
pub fn write(record: &Record, directory: &Path) -> anyhow::Result<()> {
    let page = directory.join("report.html");
    std::fs::write(&page, html::page(record)?).with_context(|| format!("cannot write {}", page.display()))?;
    csv::write(record, &directory.join("cells.csv"))
}
