//! What a learner has tried so far: `progress.json` beside the directories of the labs.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::verdict::Status;

/// What was tried, by the number of the lab.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Progress {
    labs: BTreeMap<u32, Tried>,
    #[serde(skip)]
    file: PathBuf,
}

/// What was tried of one lab.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tried {
    /// How often it was checked.
    pub attempts: u32,
    /// How many hints were shown.
    pub hints: usize,
    /// The most points that a check had.
    pub best_score: usize,
    /// Whether it was passed once.
    pub passed: bool,
}

impl Progress {
    /// What stands in a directory; nothing yet, if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let file = dir.join("progress.json");
        let text = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Progress { file, ..Progress::default() });
            }
            text => text.with_context(|| file.display().to_string())?,
        };
        let progress: Progress = serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
        Ok(Progress { file, ..progress })
    }

    /// What was tried of a lab.
    pub fn of(&self, lab: u32) -> Tried {
        self.labs.get(&lab).cloned().unwrap_or_default()
    }

    /// Notes a check.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn checked(&mut self, lab: u32, status: Status, score: usize) -> anyhow::Result<()> {
        let tried = self.labs.entry(lab).or_default();
        tried.attempts += 1;
        tried.best_score = tried.best_score.max(score);
        tried.passed |= status == Status::Pass;
        self.write()
    }

    /// Notes that a hint was shown.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn hinted(&mut self, lab: u32, hints: usize) -> anyhow::Result<()> {
        let tried = self.labs.entry(lab).or_default();
        tried.hints = tried.hints.max(hints);
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let Some(dir) = self.file.parent() else { return Ok(()) };
        fs::create_dir_all(dir)?;
        fs::write(&self.file, serde_json::to_vec_pretty(&self)?)
            .with_context(|| self.file.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_there_the_next_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut progress = Progress::read(dir.path()).expect("nothing yet");
        progress.checked(3, Status::Fail, 2).expect("writable");
        progress.hinted(3, 1).expect("writable");
        progress.checked(3, Status::Pass, 7).expect("writable");
        progress.checked(3, Status::Fail, 1).expect("writable");
        let tried = Progress::read(dir.path()).expect("readable").of(3);
        assert_eq!((tried.attempts, tried.hints, tried.best_score, tried.passed), (3, 1, 7, true));
    }
}
