//! `cargo xtask mutants`: the checker on damaged histories: made up, of rusd and of etcd.
//!
//! The kinds of damage, who says whether a mutant is truly invalid, and which rule is to be blamed are the
//! checker's test `mutants`; here it runs optimised, with many mutants of each kind, and its table is kept
//! in `results/mutants.md`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{report, workspace};

/// Damage valid histories in every way, and compare the checker with other judges; kept in results/mutants.md
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many mutants of each kind of damage and each source of histories
    #[arg(long, default_value_t = 300)]
    mutants: u64,
}

/// Runs the test; a mutant that is judged wrongly fails it, and so us.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let table = workspace::target().join("mutants.md");
    let mut command =
        workspace::cargo(["test", "--release", "--package", "rusd-checker", "--test", "mutants"]);
    command.args(["--", "--nocapture", "--test-threads=1"]);
    command.env("MUTANTS", args.mutants.to_string()).env("MUTANTS_TABLE", &table);
    let start = Instant::now();
    let mut said_less = Vec::new();
    let status = workspace::tee(&mut command, &mut |line| said_less.extend(relaxed(line)))?;
    if !status.success() {
        return Ok(workspace::exit_code(status));
    }
    let read = || format!("cannot read {}", table.display());
    let told = std::fs::read_to_string(&table).with_context(read)?;
    let mut lines = vec![
        format!(
            "Valid histories, each damaged in one place; checker at {}. What is truly invalid is said by \
             stateright of small histories, which nobody watched, by a naive reading of what happened of \
             watches, and else by how the damage is done. All others must be accepted.",
            workspace::commit()
        ),
        String::new(),
    ];
    lines.extend(told.lines().map(str::to_owned));
    lines.extend(said_less);
    lines.push(format!("{:.0} s.", start.elapsed().as_secs_f64()));
    report::keep("mutants.md", &lines)?;
    Ok(ExitCode::SUCCESS)
}

/// The test's sentence about histories that say less.
fn relaxed(line: &str) -> Option<String> {
    // On one core the name of the test comes before it.
    let told = line.split(" ... ").last()?.trim();
    told.contains(" histories that say less: ").then(|| format!("{told}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_found_behind_the_name_of_its_test() {
        let told = "9 histories that say less: none invalid, 0 undecided";
        for line in [told.to_owned(), format!("test saying_less ... {told}")] {
            assert_eq!(relaxed(&line), Some(format!("{told}.")));
        }
        assert_eq!(relaxed("test saying_less ... ok"), None);
    }
}
