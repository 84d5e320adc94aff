//! `cargo xtask check`: everything the gate runs before a commit.
//!
//! Format, lints, docs, the fast tests (T0-T3) and tidy. No network but loopback, no peers, no release
//! build.

use std::process::ExitCode;

use anyhow::Result;

use crate::steps::{Outcome, Steps};
use crate::{tidy, workspace};

/// Run format, clippy, docs, the fast tests and tidy
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the steps and prints their summary.
pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::default();
    all(&mut steps);
    steps.finish("cargo xtask check")
}

/// The steps of `check`, for `test` to begin with.
pub(crate) fn all(steps: &mut Steps) {
    steps.run("tidy", tidy::step);
    steps.run("format", || plain(&["fmt", "--all", "--check"], "formatted"));
    steps.run("clippy", || {
        plain(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], "no warnings")
    });
    steps.run("clippy with every feature", || {
        let arguments =
            ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
        plain(&arguments, "no warnings")
    });
    steps.run("docs", || {
        let mut command = workspace::cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        workspace::must(&mut command)?;
        Ok(Outcome::Passed("no warnings".to_owned()))
    });
    steps.run("tests T0-T3", tests);
}

fn plain(arguments: &[&str], note: &str) -> Result<Outcome> {
    workspace::must(&mut workspace::cargo(arguments))?;
    Ok(Outcome::Passed(note.to_owned()))
}

fn tests() -> Result<Outcome> {
    let mut counted = Counted::default();
    let mut command = workspace::cargo(["test", "--workspace", "--no-fail-fast"]);
    let status = workspace::tee(&mut command, &mut |line| counted.line(line))?;
    let note = format!("{} passed, {} failed", counted.passed, counted.failed);
    if !status.success() {
        return Ok(Outcome::Failed(note));
    }
    if counted.passed == 0 {
        return Ok(Outcome::Failed("no test ran".to_owned()));
    }
    Ok(Outcome::Passed(note))
}

/// Tests counted from the result lines that `cargo test` prints.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    passed: u64,
    failed: u64,
}

impl Counted {
    fn line(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(word)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let mut counted = Counted::default();
        counted.line("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        counted.line("test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 0.00s");
        counted.line("running 3 tests");
        assert_eq!(counted, Counted { passed: 15, failed: 2 });
    }
}
