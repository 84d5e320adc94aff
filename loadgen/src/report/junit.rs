//! The run as a JUnit report: one test case for the verdict, one for the run itself, one for each
//! condition on what was measured.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{Outcome, RunReport};
use crate::metric::Checked;

/// Renders `junit.xml`.
pub fn render(report: &RunReport) -> Result<String, SerializeError> {
    let mut suite = TestSuite::new(format!("{} on {}", report.workload, report.system));
    suite.add_test_case(run(report));
    suite.add_test_case(verdict(report));
    for checked in &report.slo {
        suite.add_test_case(condition(checked));
    }
    let mut xml = Report::new("loadgen");
    xml.add_test_suite(suite);
    xml.to_string()
}

fn run(report: &RunReport) -> TestCase {
    let mut status = TestCaseStatus::success();
    if !report.incidents.is_empty() {
        status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(report.incidents.join("\n"));
    }
    TestCase::new("the run went well", status)
}

fn verdict(report: &RunReport) -> TestCase {
    let mut status = match report.outcome() {
        // A condition that was missed has a case of its own.
        Outcome::Ok | Outcome::SloMissed if report.judgement.is_none() => TestCaseStatus::skipped(),
        Outcome::Ok | Outcome::SloMissed => TestCaseStatus::success(),
        Outcome::Violation => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Unknown | Outcome::Failed => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if !matches!(report.outcome(), Outcome::Ok | Outcome::SloMissed) {
        status.set_message(report.headline());
        let violations = report.judgement.iter().flat_map(|j| j.verdict.violations());
        let told: Vec<String> = violations
            .map(|v| format!("{}: expected {}; got {}", v.rule, v.expected, v.got))
            .collect();
        status.set_description(told.join("\n"));
    }
    TestCase::new("the history keeps every promise", status)
}

fn condition(checked: &Checked) -> TestCase {
    let mut status = TestCaseStatus::success();
    if !checked.holds {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(format!("measured: {}", checked.in_words));
    }
    TestCase::new(format!("service level {}", checked.condition), status)
}
