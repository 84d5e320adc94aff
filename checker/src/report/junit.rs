//! The report as a JUnit file: one test case a rule, so that CI names what broke.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as JUnit, TestCase, TestCaseStatus, TestSuite};

use super::text::violation;
use crate::verdict::{Report, Rule, Verdict};

/// Renders a report about the history called `name`.
pub fn render(report: &Report, name: &str) -> String {
    let mut suite = TestSuite::new(name);
    suite.set_time(Duration::from_secs_f64(report.timing.check_seconds.max(0.0)));
    for rule in Rule::ALL {
        suite.add_test_case(case(report, rule, name));
    }
    if let Verdict::Unknown { reason } = &report.verdict {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(reason.as_str()).set_type("unknown");
        let mut case = TestCase::new("decided", status);
        case.set_classname(name);
        suite.add_test_case(case);
    }
    let mut junit = JUnit::new("checker");
    junit.add_test_suite(suite);
    junit.to_string().expect("plain text is valid XML once escaped")
}

fn case(report: &Report, rule: Rule, name: &str) -> TestCase {
    let broken: Vec<_> =
        report.verdict.violations().iter().filter(|violation| violation.rule == rule).collect();
    let status = if broken.is_empty() {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        let told: String = broken.iter().map(|broken| violation(broken)).collect();
        status.set_message(format!("{rule} broke")).set_type(rule.id()).set_description(told);
        status
    };
    let mut case = TestCase::new(rule.id(), status);
    case.set_classname(name);
    case
}
