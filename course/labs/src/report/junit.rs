//! JUnit's XML: a test suite per lab, a test case per property.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::{
    catalogue::Lab,
    check::Outcome,
    verdict::{Finding, Status},
};

/// An outcome as XML. What nobody knows is an error, and what was not tried is skipped.
///
/// # Errors
/// If it cannot be written.
pub fn junit(lab: &Lab, outcome: &Outcome) -> anyhow::Result<String> {
    let mut suite = TestSuite::new(format!("lab-{}", lab.name()));
    suite.set_time(outcome.took);
    if outcome.unusable.is_some() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        if let Some(message) = &outcome.message {
            status.set_message(message.en.clone());
        }
        suite.add_test_case(TestCase::new("the program can be started", status));
    }
    for finding in &outcome.findings {
        let title = lab.property(finding.id).map_or_else(String::new, |property| property.title.en.clone());
        let mut case = TestCase::new(format!("{} {title}", finding.id), status(finding));
        case.set_classname(lab.name()).set_time(finding.took);
        suite.add_test_case(case);
    }
    let mut report = Report::new("labs");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn status(finding: &Finding) -> TestCaseStatus {
    let because = |mut status: TestCaseStatus, message: Option<String>| {
        if let Some(message) = message {
            status.set_message(message);
        }
        status
    };
    let message = || finding.message.as_ref().map(|message| message.en.clone());
    match finding.status {
        Status::Pass => TestCaseStatus::success(),
        Status::Fail => {
            let failed = finding.failed.as_ref().map(ToString::to_string);
            because(TestCaseStatus::non_success(NonSuccessKind::Failure), failed)
        }
        Status::Unknown => because(TestCaseStatus::non_success(NonSuccessKind::Error), message()),
        Status::NotTried => because(TestCaseStatus::skipped(), message()),
    }
}
