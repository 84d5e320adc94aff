//! The answer on transactions in four forms: text for people, JSON for programs, JUnit for CI, graphs
//! for Graphviz.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as JUnit, TestCase, TestCaseStatus, TestSuite};

use super::TransactionsReport;
use crate::elle::Validity;

impl TransactionsReport {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }

    /// For programs.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report is plain data");
        text.push('\n');
        text
    }

    /// For CI, about the history called `name`: a test case for each anomaly that was found, and one
    /// for the verdict.
    pub fn to_junit(&self, name: &str) -> String {
        let mut suite = TestSuite::new(name);
        suite.set_time(Duration::from_secs_f64(self.check_seconds.max(0.0)));
        let case = |what: &str, status| {
            let mut case = TestCase::new(what, status);
            case.set_classname(name);
            case
        };
        for anomaly in &self.answer.anomaly_types {
            let own = self.explanations.iter().filter(|case| case.anomaly == *anomaly);
            let told: Vec<&str> = own.map(|case| case.text.as_str()).collect();
            let kind = match self.answer.valid {
                Validity::Unknown => NonSuccessKind::Error,
                Validity::Valid | Validity::Invalid => NonSuccessKind::Failure,
            };
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(format!("{anomaly} was found")).set_description(told.join("\n"));
            suite.add_test_case(case(&anomaly.to_string(), status));
        }
        let status = match self.answer.valid {
            Validity::Valid => TestCaseStatus::success(),
            Validity::Invalid | Validity::Unknown => {
                let kind = if self.answer.valid == Validity::Invalid {
                    NonSuccessKind::Failure
                } else {
                    NonSuccessKind::Error
                };
                let mut status = TestCaseStatus::non_success(kind);
                status.set_message(self.headline());
                status
            }
        };
        suite.add_test_case(case(self.model, status));
        let mut junit = JUnit::new("checker");
        junit.add_test_suite(suite);
        junit.to_string().expect("plain text is valid XML once escaped")
    }

    /// For Graphviz: a graph of each case that is listed.
    pub fn to_graphviz(&self) -> String {
        self.explanations.iter().map(|case| case.graph.as_str()).collect()
    }

    pub(crate) fn headline(&self) -> String {
        let expected = list(&self.expected);
        match self.answer.valid {
            Validity::Valid => format!("VALID: nothing was found that {expected} forbids"),
            Validity::Invalid => format!("INVALID: {}", list(&self.answer.anomaly_types)),
            Validity::Unknown => {
                let found = &self.answer.anomaly_types;
                let undecided = &self.answer.undecided;
                let reasons: Vec<String> = [(found, ""), (undecided, "undecided: ")]
                    .into_iter()
                    .filter(|(anomalies, _)| !anomalies.is_empty())
                    .map(|(anomalies, what)| format!("{what}{}", list(anomalies)))
                    .collect();
                format!("UNKNOWN: {}", reasons.join("; "))
            }
        }
    }

    /// What the history has.
    pub(crate) fn facts(&self) -> String {
        let counts = &self.counts;
        format!(
            "{}: {} transactions committed, {} aborted, {} of unknown outcome; {} reads and writes",
            self.model, counts.committed, counts.aborted, counts.unknown, counts.micro_operations
        )
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "{}", self.headline())?;
        if !self.answer.not.is_empty() {
            writeln!(text, "not {}", list(&self.answer.not))?;
        }
        if !self.answer.also_not.is_empty() {
            writeln!(text, "also not {}", list(&self.answer.also_not))?;
        }
        if self.answer.valid == Validity::Invalid && !self.answer.undecided.is_empty() {
            writeln!(text, "undecided beside these: {}", list(&self.answer.undecided))?;
        }
        for case in &self.explanations {
            write!(text, "\n{}", case.text)?;
        }
        for anomaly in &self.answer.anomaly_types {
            let found = &self.answer.anomalies[&anomaly.to_string()];
            let listed = u64::try_from(found.cases.len()).expect("usize fits u64");
            if found.count > listed {
                writeln!(text, "\nand {} more of {anomaly}", found.count - listed)?;
            }
        }
        if !self.explanations.is_empty() {
            text.push('\n');
        }
        writeln!(text, "{}", self.facts())?;
        writeln!(text, "expected {}; checked in {:.3} s", list(&self.expected), self.check_seconds)
    }
}

fn list(items: &[impl Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}
