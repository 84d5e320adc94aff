//! `cargo xtask bite`: bugs planted on purpose are caught, each by the right rule.
//!
//! rusd is built with the feature `planted-bugs`, which no default build has, into a target folder
//! of its own. Each bug is run under a workload made to bring it out; the run must be judged
//! invalid, with the right rule to blame. The unbroken build runs the same workloads and must be
//! valid: a check that flags everything catches nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::run_folder::{Ended, Run};
use crate::steps::{Outcome, Steps};
use crate::{report, workspace};

/// Plant bugs in rusd: each must be caught, by the right rule
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this bug, by its name
    #[arg(long)]
    only: Option<String>,
    /// Seed of the runs
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A bug, and what must be said of it.
struct Plant {
    /// Value of `RUSD_PLANT`; its workload is `scripts/bite/NAME.toml`.
    name: &'static str,
    /// What it does, for people.
    what: &'static str,
    /// The rule that must be blamed first: any of these says what went wrong.
    rules: &'static [&'static str],
}

const PLANTS: [Plant; 4] = [
    Plant {
        name: "stale-read",
        what: "reads are served without ReadIndex",
        rules: &["linearizable/stale-read"],
    },
    Plant {
        name: "ack-before-sync",
        what: "writes are acknowledged before the log is synced",
        rules: &["linearizable/lost-write"],
    },
    Plant {
        name: "drop-watch-event",
        what: "one watch event in a thousand is dropped",
        rules: &["watch/complete"],
    },
    Plant {
        name: "split-txn",
        what: "a transaction's puts are applied in two revisions",
        rules: &["txn/atomic"],
    },
];

/// Builds both, runs every bug on both, and prints the table.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let sound = workspace::build_release(&["rusd", "rusd-loadgen", "rusd-checker"])?.join("rusd");
    let broken = build_broken()?;
    let mut steps = Steps::default();
    let mut is_known = args.only.is_none();
    for plant in &PLANTS {
        if args.only.as_ref().is_some_and(|only| only != plant.name) {
            continue;
        }
        is_known = true;
        steps.run(&format!("{}: caught", plant.name), || caught(plant, &broken, args.seed));
        steps.run(&format!("{}: sound build is not flagged", plant.name), || {
            not_flagged(plant, &sound, args.seed)
        });
    }
    if !is_known {
        let names: Vec<&str> = PLANTS.iter().map(|plant| plant.name).collect();
        bail!("no such bug; there are {}", names.join(", "));
    }
    let code = steps.finish("cargo xtask bite");
    if args.only.is_none() {
        report::keep("bite.md", &steps.table())?;
    }
    Ok(code)
}

fn build_broken() -> Result<PathBuf> {
    let folder = workspace::target().join("bite");
    let mut command = workspace::cargo(["build", "--release", "-p", "rusd", "--bin", "rusd"]);
    command.args(["--features", "planted-bugs", "--target-dir"]).arg(&folder);
    workspace::must(&mut command)?;
    Ok(folder.join("release/rusd"))
}

fn caught(plant: &Plant, broken: &Path, seed: u64) -> Result<Outcome> {
    let run = run_workload(plant, broken, seed, "broken")?;
    let rules = run.rules();
    let note = format!("{}: {} {}", plant.what, run.ended.name(), rules.join(", "));
    let is_right = rules.first().is_some_and(|rule| plant.rules.contains(&rule.as_str()));
    if run.ended == Ended::Invalid && is_right {
        return Ok(Outcome::Passed(note));
    }
    let wanted = plant.rules.join(" or ");
    Ok(Outcome::Failed(format!("{note}; wanted INVALID by {wanted}; see {}", run.place())))
}

fn not_flagged(plant: &Plant, sound: &Path, seed: u64) -> Result<Outcome> {
    let run = run_workload(plant, sound, seed, "sound")?;
    let operations = run.count("/judgement/counts/operations");
    let note = format!("{}, {operations} operations", run.ended.name());
    if run.ended == Ended::Valid && operations > 0 {
        return Ok(Outcome::Passed(note));
    }
    Ok(Outcome::Failed(format!("{note} {}; see {}", run.rules().join(", "), run.place())))
}

fn run_workload(plant: &Plant, binary: &Path, seed: u64, build: &str) -> Result<Run> {
    let workload = PathBuf::from(format!("scripts/bite/{}.toml", plant.name));
    let out = workspace::target().join("bite-runs").join(format!("{}-{build}", plant.name));
    Run::of(&workload, binary, &out, |command| {
        // The sound build has no such variable; setting it there too keeps the runs alike.
        command.args(["--seed", &seed.to_string()]).env("RUSD_PLANT", plant.name);
    })
}
