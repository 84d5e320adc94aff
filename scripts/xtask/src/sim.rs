//! `cargo xtask sim`: whole clusters in one thread, from seeds.
//!
//! `test` runs fresh seeds each time and names them, so that what was found once can be found again.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{report, workspace};

/// Simulate whole clusters with faults, from seeds; the first violation ends it
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many schedules
    #[arg(long, default_value_t = SCHEDULES_TESTED)]
    schedules: u64,
    /// The first seed; the others follow it. Drawn from the time if absent
    #[arg(long)]
    seed: Option<u64>,
    /// Whole servers, with connections over a simulated network
    #[arg(long)]
    whole: bool,
    /// Plant one bug after the other instead, each of which must be found; the table goes to
    /// results/bite-sim.md, or with --whole to results/bite-sim-whole.md
    #[arg(long)]
    plants: bool,
    /// Keep what was found in results/sim.md, or with --whole in results/sim-whole.md
    #[arg(long)]
    keep: bool,
}

/// Schedules in which a planted bug must be found.
const SCHEDULES_PLANTED: u64 = 2000;
/// How much of what was found the table shows.
const FOUND_CHARS_SHOWN: usize = 120;
/// A bug that can be planted.
struct Plant {
    name: &'static str,
    /// What it does, for people.
    what: &'static str,
    /// How what is found begins: anything else was found by chance.
    shown_by: &'static [&'static str],
    /// Whether whole servers show it in a few hundred schedules.
    is_shown_whole: bool,
}

const PLANTS: [Plant; 8] = [
    Plant {
        name: "vote-not-persisted",
        what: "a vote is not written before it is given",
        shown_by: &["election safety"],
        is_shown_whole: true,
    },
    Plant {
        name: "sync-skipped-by-follower",
        what: "a follower promises entries that it has not synced",
        shown_by: &["durability"],
        is_shown_whole: true,
    },
    Plant {
        name: "applied-index-apart",
        what: "the engine's applied index is written apart from the data",
        // What is missing may be an entry that a member must have to go on, or a revision between others.
        shown_by: &["state equality", "not recovered", "failed: it cannot start: tree kv_rev"],
        is_shown_whole: true,
    },
    Plant {
        name: "commit-earlier-terms",
        what: "a leader counts entries of earlier terms as committed by a quorum",
        shown_by: &["leader completeness", "durability"],
        is_shown_whole: false,
    },
    Plant {
        name: "log-kept-after-snapshot",
        what: "a snapshot is installed, and the log goes on with what it has",
        shown_by: &["failed"],
        is_shown_whole: false,
    },
    Plant {
        name: "learner-counted",
        what: "a leader counts what learners have as if they were voters",
        shown_by: &["durability"],
        is_shown_whole: false,
    },
    Plant {
        name: "read-context-reused",
        what: "a round of reads goes out again under a context that was given up",
        shown_by: &["linearizable/stale-read"],
        is_shown_whole: false,
    },
    Plant {
        name: "deposed-leader-expires",
        what: "a member that led once goes on expiring leases",
        shown_by: &["lease/early-expiry"],
        is_shown_whole: false,
    },
];

/// How the simulator's first line begins if it has found one.
const VIOLATION: &str = "seed ";
/// Of the pass of `test`.
const SCHEDULES_TESTED: u64 = 500;
/// Of them, so many of whole servers, which take longer.
const SCHEDULES_TESTED_WHOLE: u64 = 30;
/// Fresh seeds lie apart, so that passes do not share schedules.
const SEEDS_APART: u64 = 1_000_000;

/// Builds the simulator, runs it, prints a summary.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.plants {
        return plants(args.whole);
    }
    let commit = workspace::commit();
    let mut steps = Steps::default();
    let mut headline = None;
    steps.run("simulation", || {
        let program = build(&[], &workspace::target())?;
        let simulator = Simulator { program, is_whole: args.whole };
        let outcome = simulator.run(args.schedules, args.seed, None)?;
        if let Outcome::Passed(line) = &outcome {
            headline = Some(line.clone());
        }
        Ok(outcome)
    });
    if args.keep
        && let Some(headline) = headline
    {
        let (title, whole, file) = if args.whole {
            ("# Schedules of whole servers, over a simulated network", "--whole ", "sim-whole.md")
        } else {
            ("# Schedules of simulated clusters", "", "sim.md")
        };
        let count = args.schedules;
        let command = format!("`cargo xtask sim {whole}--schedules {count}`, commit {commit}.");
        report::keep(file, &[title.to_owned(), String::new(), command, String::new(), headline])?;
    }
    Ok(steps.finish("cargo xtask sim"))
}

/// Plants each bug, and none.
fn plants(is_whole: bool) -> Result<ExitCode> {
    let program = build(&["--features", "planted-bugs"], &workspace::target().join("bite"))?;
    let simulator = Simulator { program, is_whole };
    let mut steps = Steps::default();
    for plant in PLANTS.iter().filter(|plant| plant.is_shown_whole || !is_whole) {
        steps.run(plant.name, || {
            let outcome = simulator.run(SCHEDULES_PLANTED, Some(1), Some(plant.name))?;
            Ok(plant.judge(outcome))
        });
    }
    let sound = if is_whole { SCHEDULES_TESTED_WHOLE } else { SCHEDULES_TESTED };
    steps.run("without a bug", || simulator.run(sound, Some(1), None));
    report::keep(if is_whole { "bite-sim-whole.md" } else { "bite-sim.md" }, &steps.table())?;
    Ok(steps.finish("cargo xtask sim --plants"))
}

impl Plant {
    fn judge(&self, outcome: Outcome) -> Outcome {
        let what = self.what;
        match outcome {
            Outcome::Passed(line) => Outcome::Failed(format!("{what}: not found. {line}")),
            Outcome::Failed(found) if self.is_shown(&found) => {
                let found: String = found.chars().take(FOUND_CHARS_SHOWN).collect();
                Outcome::Passed(format!("{what}: found. {found}"))
            }
            other => other,
        }
    }

    /// Whether the simulator's first line is of a seed, and says what this bug does, to whichever member.
    fn is_shown(&self, found: &str) -> bool {
        let said = found.strip_prefix(VIOLATION).and_then(|rest| rest.split_once(": "));
        let Some((_, said)) = said else { return false };
        let of_member = said.strip_prefix('m').and_then(|rest| rest.split_once(' '));
        let said = match of_member {
            Some((number, said)) if number.parse::<u32>().is_ok() => said,
            _ => said,
        };
        self.shown_by.iter().any(|by| said.starts_with(by))
    }
}

/// A release build in a folder.
fn build(arguments: &[&str], target: &Path) -> Result<PathBuf> {
    let mut build = workspace::cargo(["build", "--release", "-p", "rusd-sim", "--target-dir"]);
    workspace::must(build.arg(target).args(arguments))?;
    Ok(Binaries::in_folder(target.join("release")).simulator())
}

/// The steps of `test`.
pub(crate) fn steps(steps: &mut Steps, binaries: &Binaries) {
    let simulator = |is_whole| Simulator { program: binaries.simulator(), is_whole };
    let of_messages = SCHEDULES_TESTED - SCHEDULES_TESTED_WHOLE;
    steps.run("simulation", || simulator(false).run(of_messages, None, None));
    steps.run("simulation of whole servers", || {
        simulator(true).run(SCHEDULES_TESTED_WHOLE, None, None)
    });
}

/// The program, and which layer of it.
struct Simulator {
    program: PathBuf,
    is_whole: bool,
}

impl Simulator {
    fn run(&self, schedules: u64, seed: Option<u64>, plant: Option<&str>) -> Result<Outcome> {
        let seed = seed.unwrap_or_else(fresh);
        report::progress(&format!("{schedules} schedules from seed {seed}"));
        let mut command = Command::new(&self.program);
        command.args(["--schedules", &schedules.to_string(), "--seed", &seed.to_string()]);
        if self.is_whole {
            command.arg("--whole");
        }
        if let Some(plant) = plant {
            command.args(["--plant", plant]);
        }
        let mut lines = Vec::new();
        let status = workspace::tee(&mut command, &mut |line| lines.push(line.to_owned()))?;
        let last = lines.last().cloned().context("the simulator said nothing")?;
        Ok(if status.success() { Outcome::Passed(last) } else { Outcome::Failed(lines.join("; ")) })
    }
}

fn fresh() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_secs() * SEEDS_APART
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_found_by_what_it_does_only() {
        let judge = |outcome| matches!(PLANTS[0].judge(outcome), Outcome::Passed(_));
        let failed = |text: &str| Outcome::Failed(text.to_owned());
        assert!(judge(failed("seed 34: election safety: a and b lead in term 13; again: ...")));
        assert!(!judge(failed("seed 34: panicked: overflow; see election safety: ...")));
        assert!(!judge(failed("error: election safety: no such option")));
        assert!(!judge(Outcome::Passed("2000 schedules from seed 1".to_owned())));
        let apart = PLANTS.iter().find(|plant| plant.name == "applied-index-apart").unwrap();
        assert!(
            apart.is_shown("seed 5: m0 failed: it cannot start: tree kv_rev, key revision 9: ...")
        );
        assert!(!apart.is_shown("seed 5: m0 failed: it cannot start: no such folder"));
    }
}
