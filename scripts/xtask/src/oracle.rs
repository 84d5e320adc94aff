//! `cargo xtask oracle`: the checker against stateright's tester, on many random small histories.
//!
//! The histories, the comparison and what must be among them (enough that are invalid, enough with
//! gaps that nothing pins) are the checker's test `oracle`; here it runs optimised, with the full
//! number, and what it counted is kept in `results/oracle.md`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{report, workspace};

/// Compare the checker with stateright's tester; the counts go to results/oracle.md
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many histories
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
}

/// Runs the test; a disagreement fails it, and so us.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let arguments =
        ["test", "--release", "--package", "rusd-checker", "--test", "oracle", "--", "--nocapture"];
    let mut command = workspace::cargo(arguments);
    command.env("ORACLE_HISTORIES", args.histories.to_string());
    let start = Instant::now();
    let mut counted = None;
    let status = workspace::tee(&mut command, &mut |line| {
        counted = counted.take().or_else(|| counts(line, args.histories));
    })?;
    if !status.success() {
        return Ok(workspace::exit_code(status));
    }
    let counted = counted.context("the test did not say what it counted")?;
    let lines = [
        format!(
            "The revision-guided check and stateright's tester judge the same random small \
             histories; checker at {}.",
            workspace::commit()
        ),
        String::new(),
        format!("{counted}. {:.0} s.", start.elapsed().as_secs_f64()),
    ];
    for line in &lines {
        report::line(line);
    }
    report::keep("oracle.md", &lines)?;
    Ok(ExitCode::SUCCESS)
}

/// The test's own sentence, if it is about as many histories as were asked for.
fn counts(line: &str, histories: u64) -> Option<String> {
    // On one core the name of the test comes before it.
    let told = line.split(" ... ").last()?.trim();
    let is_meant = told.starts_with(&format!("{histories} histories: "));
    (is_meant && told.contains("no disagreement")).then(|| told.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_full_number_without_disagreement_counts() {
        for (line, is_counted) in [
            ("1000 histories: 300 invalid, 70 with unpinned gaps; no disagreement", true),
            ("test agrees ... 1000 histories: 300 invalid; no disagreement", true),
            ("100 histories: 30 invalid; no disagreement", false),
            ("1000 histories: 300 invalid", false),
            ("test result: ok. 1 passed", false),
        ] {
            assert_eq!(counts(line, 1000).is_some(), is_counted, "{line}");
        }
    }
}
