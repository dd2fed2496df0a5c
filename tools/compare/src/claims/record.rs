//! What a run of `compare claims` leaves: the figures, and the verdicts that the rules make of them.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Figures, Language, Verdict, rules};
use crate::record::Circumstances;

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// When it began.
    pub date: Timestamp,
    /// The commit of the working directory.
    pub commit: String,
    /// The processor.
    pub processor: String,
    /// How many cores of it.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The system.
    pub kernel: String,
    /// Versions of what is measured.
    pub versions: BTreeMap<String, String>,
    /// What makes it no evidence.
    pub warnings: Vec<Warning>,
    /// The verdicts.
    pub claims: Vec<Judged>,
    /// What was measured.
    pub figures: Figures,
}

/// A claim and its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// Its number.
    pub id: u8,
    /// What the rule says.
    pub verdict: Verdict,
}

/// What makes a run no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// It was too short.
    Quick,
    /// A build that is not for measuring.
    Debug,
    /// The machine was busy.
    Busy,
}

impl Record {
    /// The record of a run.
    pub(super) fn new(
        circumstances: Circumstances,
        warnings: Vec<Warning>,
        figures: Figures,
        ids: impl IntoIterator<Item = u8>,
    ) -> Self {
        let claims = ids.into_iter().map(|id| Judged { id, verdict: Verdict::NotShown }).collect();
        let Circumstances { date, commit, processor, cores, memory_mib, kernel, versions, .. } =
            circumstances;
        // Its version; what comes after it is the machine's own business.
        let kernel = kernel.split('-').next().unwrap_or_default().to_owned();
        let record = Record {
            date,
            commit,
            processor,
            cores,
            memory_mib,
            kernel,
            versions,
            warnings,
            claims,
            figures,
        };
        record.judged_again()
    }

    /// The same figures with the verdicts that the rules make of them now.
    #[must_use]
    pub fn judged_again(mut self) -> Self {
        for judged in &mut self.claims {
            let claim = rules::all().find(|claim| claim.id == judged.id);
            let finding = claim.and_then(|claim| (claim.rule)(&self.figures, Language::English));
            judged.verdict = finding.map_or(Verdict::NotShown, |finding| finding.verdict);
        }
        self
    }

    /// Reads the record of a directory.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let file = directory.join("claims.json");
        let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no record of claims", file.display()))
    }

    /// Writes it down.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let file = directory.join("claims.json");
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}
