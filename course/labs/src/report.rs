//! An outcome as text for people, as `result.json`, and as JUnit.

mod json;
mod junit;
mod text;

use std::path::Path;

pub use self::{
    json::result,
    junit::junit,
    text::{Again, Text},
};
use crate::{catalogue::Lab, check::Outcome};

/// Writes `result.json` and `junit.xml` beside the program's log.
///
/// # Errors
/// If they cannot be written.
pub fn write(lab: &Lab, outcome: &Outcome, hints: usize, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("result.json"), format!("{:#}\n", result(lab, outcome, hints, out)))?;
    std::fs::write(out.join("junit.xml"), junit(lab, outcome)?)?;
    Ok(())
}
