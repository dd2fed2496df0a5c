//! `result.json`: version 2 of Exercism's format, so that its runners can read it, and what GitHub's grader reads.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    catalogue::Lab,
    check::Outcome,
    verdict::{Finding, Status},
};

/// Most characters of standard error that go into it.
const OUTPUT_CHARS: usize = 500;

/// An outcome as JSON.
pub fn result(lab: &Lab, outcome: &Outcome, hints: usize, out: &Path) -> Value {
    let tests: Vec<Value> = outcome.findings.iter().map(|finding| test(lab, finding, out)).collect();
    json!({
        "version": 2,
        "lab": outcome.number,
        "slug": outcome.slug,
        "language": outcome.language,
        "seed": outcome.seed,
        "status": outcome.verdict(),
        "score": outcome.score(),
        "max_score": outcome.findings.len(),
        "duration_ms": millis(outcome.took),
        "hints_used": hints,
        "fourwire_version": proto::release::VERSION,
        "machine": {
            "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            "stalled_ms": millis(outcome.stalled),
        },
        "message": outcome.message.as_ref().map(|message| &message.en),
        "tests": tests,
    })
}

fn test(lab: &Lab, finding: &Finding, out: &Path) -> Value {
    let failed = finding.failed.as_ref();
    let passed = finding.status == Status::Pass;
    let output =
        if passed || finding.status == Status::NotTried { None } else { tail(&out.join("program.log")) };
    json!({
        "id": finding.id,
        "name": lab.property(finding.id).map(|property| &property.title.en),
        "status": finding.status.as_str(),
        "score": u8::from(passed),
        "max_score": 1,
        "expected": failed.map(|failed| &failed.expected.en),
        "saw": failed.map(|failed| &failed.saw.en),
        "first": failed.and_then(|failed| failed.first.as_ref()).map(|first| &first.en),
        "message": finding.why(),
        "duration_ms": millis(finding.took),
        "output": output,
    })
}

fn millis(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// The end of a file.
fn tail(log: &Path) -> Option<String> {
    let bytes = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let skipped = text.chars().count().saturating_sub(OUTPUT_CHARS);
    Some(text.chars().skip(skipped).collect())
}
