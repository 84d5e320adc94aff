//! The answer on calls in four forms: text for people, JSON for programs, JUnit for CI, a graph for
//! Graphviz.

use std::fmt::{self, Write as _};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as JUnit, TestCase, TestCaseStatus, TestSuite};

use super::{CallCounts, CallsReport};
use crate::report::graphviz::Graph;

impl CallsReport {
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

    /// For CI, about the history called `name`.
    pub fn to_junit(&self, name: &str) -> String {
        let kind = match self.verdict {
            "valid" => None,
            "invalid" => Some(NonSuccessKind::Failure),
            _ => Some(NonSuccessKind::Error),
        };
        let status = kind.map_or_else(TestCaseStatus::success, |kind| {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(self.headline());
            if let Some(why) = &self.counterexample {
                status.set_description(why.text.as_str());
            }
            status
        });
        let mut case = TestCase::new(self.model, status);
        case.set_classname(name);
        let mut suite = TestSuite::new(name);
        suite.set_time(self.time());
        suite.add_test_case(case);
        let mut junit = JUnit::new("checker");
        junit.add_test_suite(suite);
        junit.to_string().expect("plain text is valid XML once escaped")
    }

    /// For Graphviz: why there is no order, as a graph. The calls that have one follow each other;
    /// those without a place stand beside.
    pub fn to_graphviz(&self) -> String {
        let Some(why) = &self.counterexample else { return String::new() };
        let mut graph = Graph::new(&format!("no order of the calls on {}", why.object));
        let calls = [&why.ordered[..], &why.unplaced].concat();
        for call in &calls {
            let returned = call.returned.map_or("?".to_owned(), |returned| returned.to_string());
            let title = format!("process {} [{}, {returned}]", call.process, call.invoked);
            graph.node(&title, &call.call);
        }
        for place in 1..why.ordered.len() {
            graph.arrow(place - 1, place, "label=\"then\"");
        }
        let last = why.ordered.len().checked_sub(1);
        for place in why.ordered.len()..calls.len() {
            if let Some(last) = last {
                graph.arrow(last, place, "label=\"no place\", style=dashed, color=\"#c0392b\"");
            }
        }
        graph.note(&[format!("the state is then {}", why.states.join(" or "))]);
        graph.finish()
    }

    fn time(&self) -> Duration {
        Duration::from_nanos(self.check_nanoseconds)
    }

    pub(crate) fn headline(&self) -> String {
        match (&self.reason, &self.counterexample) {
            (Some(reason), _) => format!("UNKNOWN: {reason}"),
            (None, Some(why)) => format!("INVALID: no order of the calls on {}", why.object),
            (None, None) => "VALID: the calls have an order that explains every answer".into(),
        }
    }

    /// What the history has.
    pub(crate) fn facts(&self) -> String {
        let CallCounts { calls, objects, unknown, .. } = self.counts;
        format!("{}: {calls} calls on {objects} objects; {unknown} of unknown outcome", self.model)
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "{}", self.headline())?;
        if let Some(why) = &self.counterexample {
            writeln!(text, "\n{}", why.text)?;
        }
        writeln!(text, "{}", self.facts())?;
        let counts = &self.counts;
        writeln!(
            text,
            "engine {}: {} objects by zones, {} by wgl in {} steps; checked in {:.3} s",
            self.engine,
            counts.by_zones,
            counts.by_search,
            counts.steps,
            self.time().as_secs_f64()
        )
    }
}
