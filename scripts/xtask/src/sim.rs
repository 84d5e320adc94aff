//! `cargo xtask sim`: whole clusters in one thread, from seeds.
//!
//! `test` runs fresh seeds each time and names them, so that what was found once can be found again.

use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::steps::{Outcome, Steps};
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
    /// Keep what was found in results/sim.md
    #[arg(long)]
    keep: bool,
}

/// Of the pass of `test`.
const SCHEDULES_TESTED: u64 = 500;
/// Fresh seeds lie apart, so that passes do not share schedules.
const SEEDS_APART: u64 = 1_000_000;

/// Builds the simulator, runs it, prints a summary.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut steps = Steps::default();
    let mut headline = None;
    steps.run("simulation", || {
        let outcome = simulate(args.schedules, args.seed)?;
        if let Outcome::Passed(line) = &outcome {
            headline = Some(line.clone());
        }
        Ok(outcome)
    });
    if args.keep
        && let Some(headline) = headline
    {
        let lines = [
            "# Schedules of simulated clusters".to_owned(),
            String::new(),
            format!(
                "`cargo xtask sim --schedules {}`, commit {}.",
                args.schedules,
                workspace::commit()
            ),
            String::new(),
            headline,
        ];
        report::keep("sim.md", &lines)?;
    }
    Ok(steps.finish("cargo xtask sim"))
}

/// The step of `test`.
pub(crate) fn steps(steps: &mut Steps) {
    steps.run("simulation", || simulate(SCHEDULES_TESTED, None));
}

fn simulate(schedules: u64, seed: Option<u64>) -> Result<Outcome> {
    let release = workspace::build_release(&["rusd-sim"])?;
    let seed = seed.unwrap_or_else(fresh);
    report::progress(&format!("{schedules} schedules from seed {seed}"));
    let mut command = Command::new(release.join("rusd-sim"));
    command.args(["--schedules", &schedules.to_string(), "--seed", &seed.to_string()]);
    let mut lines = Vec::new();
    let status = workspace::tee(&mut command, &mut |line| lines.push(line.to_owned()))?;
    let last = lines.last().cloned().context("the simulator said nothing")?;
    Ok(if status.success() { Outcome::Passed(last) } else { Outcome::Failed(lines.join("; ")) })
}

fn fresh() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_secs() * SEEDS_APART
}
