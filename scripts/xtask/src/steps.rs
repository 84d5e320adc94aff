//! A run of steps, and the table that says what ran.
//!
//! A step passes, fails or is skipped with a reason; a failure does not keep the later steps from
//! running, so one run shows everything that is wrong. The closing lines have the shape of
//! `cargo test`, because people and machines look for it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::report;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran and holds; the text says what was seen.
    Passed(String),
    /// It ran and does not hold.
    Failed(String),
    /// It did not run, and why.
    Skipped(String),
}

struct Step {
    name: String,
    outcome: Outcome,
    elapsed: Duration,
}

/// The steps so far.
#[derive(Default)]
pub(crate) struct Steps {
    steps: Vec<Step>,
}

impl Steps {
    /// Runs one step. An error is a failure of the step.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) {
        report::progress(&format!("== {name}"));
        let start = Instant::now();
        let outcome = step().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        if let Outcome::Failed(reason) = &outcome {
            report::error(&format!("{name}: {reason}"));
        }
        self.steps.push(Step { name: name.to_owned(), outcome, elapsed: start.elapsed() });
    }

    /// Whether every step so far passed or was skipped.
    pub(crate) fn hold(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step.outcome, Outcome::Failed(_)))
    }

    /// A row per step.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut rows = vec![vec!["step", "result", "time", "what was seen"]]
            .into_iter()
            .map(|row| row.into_iter().map(str::to_owned).collect())
            .collect::<Vec<Vec<String>>>();
        for step in &self.steps {
            let (result, note) = step.outcome.cells();
            let time = format!("{:.1} s", step.elapsed.as_secs_f64());
            rows.push(vec![step.name.clone(), result.to_owned(), time, first_line(note)]);
        }
        report::table(&rows)
    }

    /// The table and the closing lines.
    pub(crate) fn summary(&self, title: &str) -> Vec<String> {
        let mut lines = vec![String::new(), title.to_owned(), String::new()];
        lines.extend(self.table());
        lines.push(String::new());
        lines.push(format!("running {} steps", self.steps.len()));
        for step in &self.steps {
            let (result, note) = step.outcome.cells();
            let word = match step.outcome {
                Outcome::Passed(_) => "ok".to_owned(),
                Outcome::Failed(_) => "FAILED".to_owned(),
                Outcome::Skipped(_) => format!("{result}, {}", first_line(note)),
            };
            lines.push(format!("test {} ... {word}", step.name));
        }
        lines.push(String::new());
        lines.push(self.verdict());
        lines
    }

    /// Prints the summary; the exit code says whether every step held.
    pub(crate) fn finish(&self, title: &str) -> ExitCode {
        for line in self.summary(title) {
            report::line(&line);
        }
        if self.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn verdict(&self) -> String {
        let count = |wanted: fn(&Outcome) -> bool| {
            self.steps.iter().filter(|step| wanted(&step.outcome)).count()
        };
        let passed = count(|outcome| matches!(outcome, Outcome::Passed(_)));
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        let word = if failed == 0 { "ok" } else { "FAILED" };
        let elapsed: f64 = self.steps.iter().map(|step| step.elapsed.as_secs_f64()).sum();
        format!(
            "test result: {word}. {passed} passed; {failed} failed; {skipped} ignored; \
             0 measured; 0 filtered out; finished in {elapsed:.2}s"
        )
    }
}

impl Outcome {
    fn cells(&self) -> (&'static str, &str) {
        match self {
            Self::Passed(note) => ("passed", note),
            Self::Failed(note) => ("FAILED", note),
            Self::Skipped(note) => ("skipped", note),
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_failed_step_fails_the_run_and_later_steps_still_run() {
        let mut steps = Steps::default();
        steps.run("first", || bail!("broken"));
        steps.run("second", || Ok(Outcome::Passed("fine".to_owned())));
        assert!(!steps.hold());
        let summary = steps.summary("all").join("\n");
        assert!(summary.contains("test first ... FAILED"), "{summary}");
        assert!(summary.contains("test second ... ok"), "{summary}");
        assert!(
            summary.contains("test result: FAILED. 1 passed; 1 failed; 0 ignored"),
            "{summary}"
        );
    }

    #[test]
    fn a_skipped_step_is_named_with_its_reason() {
        let mut steps = Steps::default();
        steps.run("peers", || Ok(Outcome::Skipped("no Go".to_owned())));
        assert!(steps.hold());
        let summary = steps.summary("all").join("\n");
        assert!(summary.contains("test peers ... skipped, no Go"), "{summary}");
        assert!(summary.contains("test result: ok. 0 passed; 0 failed; 1 ignored"), "{summary}");
    }
}
