//! `cargo xtask oracle`: the checker against stateright's tester, on many random small histories.
//!
//! The histories, the comparison and what must be among them (enough that are invalid, enough with
//! gaps that nothing pins) are the checker's tests `oracle` and `search`; here they run optimised, with
//! the full number, and what they counted is kept in `results/oracle.md` and `results/search.md`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::{report, workspace};

/// Compare the checker with stateright's tester; the counts go to results/oracle.md
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many histories; of each engine, with --search [default: 100000, or 500000 of each engine]
    #[arg(long)]
    histories: Option<u64>,
    /// The engines for histories without revisions instead, which are also compared with trying every
    /// order; the counts go to results/search.md
    #[arg(long)]
    search: bool,
}

/// A comparison that is a test of the checker.
struct Comparison {
    test: &'static str,
    /// Tests whose name has this.
    filter: &'static str,
    /// Tells the test how many histories.
    variable: &'static str,
    kept_in: &'static str,
    what: &'static str,
}

const REVISIONS: Comparison = Comparison {
    test: "oracle",
    filter: "",
    variable: "ORACLE_HISTORIES",
    kept_in: "oracle.md",
    what: "The revision-guided check and stateright's tester judge the same random small histories",
};

const SEARCH: Comparison = Comparison {
    test: "search",
    filter: "agree",
    variable: "SEARCH_HISTORIES",
    kept_in: "search.md",
    what: "The engines for histories without revisions, stateright's tester and trying every order \
           judge the same random small histories, of every kind of object",
};

/// Runs the test; a disagreement fails it, and so us.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let comparison = if args.search { SEARCH } else { REVISIONS };
    let histories = args.histories.unwrap_or(if args.search { 500_000 } else { 100_000 });
    let mut command =
        workspace::cargo(["test", "--release", "--package", "rusd-checker", "--test"]);
    command.args([comparison.test, "--", "--nocapture", comparison.filter]);
    command.env(comparison.variable, histories.to_string());
    let start = Instant::now();
    let mut told = Vec::new();
    let status = workspace::tee(&mut command, &mut |line| told.extend(counts(line)))?;
    if !status.success() {
        return Ok(workspace::exit_code(status));
    }
    let total: u64 = told.iter().map(|(histories, _)| histories).sum();
    let asked = if args.search { ENGINES * histories } else { histories };
    ensure!(total >= asked, "the test counted {total} histories of {asked}");
    let mut lines =
        vec![format!("{}; checker at {}.", comparison.what, workspace::commit()), String::new()];
    let bullet = if args.search { "- " } else { "" };
    lines.extend(told.iter().map(|(_, counted)| format!("{bullet}{counted}.")));
    lines.push(String::new());
    lines.push(format!("{total} histories in {:.0} s.", start.elapsed().as_secs_f64()));
    for line in &lines {
        report::line(line);
    }
    report::keep(comparison.kept_in, &lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Engines for histories without revisions.
const ENGINES: u64 = 2;

/// The test's own sentence, and about how many histories it is, if nobody disagreed on them.
fn counts(line: &str) -> Option<(u64, String)> {
    // On one core the name of the test comes before it.
    let told = line.split(" ... ").last()?.trim().strip_suffix("; no disagreement")?;
    let (named, _) = told.split_once(" histories: ")?;
    let histories = named.split(' ').next_back()?.parse().ok()?;
    Some((histories, format!("{told}; no disagreement")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sentences_without_disagreement_count() {
        for (line, counted) in [
            ("1000 histories: 300 invalid, 70 with unpinned gaps; no disagreement", Some(1000)),
            ("test agrees ... 1000 histories: 300 invalid; no disagreement", Some(1000)),
            ("zones, cas register: 50 histories: 30 illegal; no disagreement", Some(50)),
            ("1000 histories: 300 invalid", None),
            ("test result: ok. 1 passed", None),
        ] {
            assert_eq!(counts(line).map(|(histories, _)| histories), counted, "{line}");
        }
    }
}
