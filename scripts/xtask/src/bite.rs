//! `cargo xtask bite`: bugs planted on purpose are caught, each by the right rule.
//!
//! rusd is built with the feature `planted-bugs`, which no default build has, into a target folder
//! of its own. Each bug is run under a preset of `workloads/`, or, where none brings it out, under a
//! workload made for it; the run must be judged invalid, with the right rule to blame. The control
//! runs the same workload without a bug and must be valid: a check that flags everything catches
//! nothing. It is the default build, or, where the fault needs what only the other build writes, that
//! build with no bug named.
//!
//! Bugs that are seen in a single answer are the generator's to find: [`generate`]. Releases of etcd
//! with bugs that nobody planted: [`known_bad`].
//!
//! Invariant: a run counts only if every fault of it was done as planned; otherwise neither the
//! bug nor the control has shown anything.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::run_folder::{Ended, Run};
use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{report, workspace};

mod generate;
mod known_bad;

/// Plant bugs in rusd: each must be caught, by the right rule
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this bug, by its name
    #[arg(long)]
    only: Option<String>,
    /// Only the bugs that single answers show, which the generator of requests must find
    #[arg(long)]
    answers: bool,
    /// Only the releases of etcd that are known to be wrong
    #[arg(long)]
    known_bad: bool,
    /// With how many seeds a release is tried, at most
    #[arg(long, default_value_t = 5)]
    tries: u64,
    /// Seed of the runs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder with builds of loadgen, checker and rusd, instead of building them
    #[arg(long)]
    built: Option<PathBuf>,
    /// The rusd with planted bugs, instead of building it
    #[arg(long)]
    planted: Option<PathBuf>,
}

/// A bug, and what must be said of it.
struct Plant {
    /// Value of [`PLANT_VARIABLE`].
    name: &'static str,
    /// What brings it out.
    workload: &'static str,
    /// What it does, for people.
    what: &'static str,
    /// The rule that must be blamed first: any of these says what went wrong.
    rules: &'static [&'static str],
    /// Who must not be flagged.
    control: Control,
}

/// What runs without the bug.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    /// The default build.
    Default,
    /// The build that can have bugs, with none: it too notes how far its log is synced, without
    /// which the log cannot be cut back as a loss of power would.
    Unplanted,
}

/// Which rusd a run is of.
struct Subject<'a> {
    binaries: &'a Binaries,
    /// Of the results.
    name: &'static str,
    has_bug: bool,
}

/// Names the bug that a rusd built for this is to have.
pub(crate) const PLANT_VARIABLE: &str = "RUSD_PLANT";

const PLANTS: [Plant; 10] = [
    Plant {
        name: "stale-read",
        workload: "workloads/mixed-faults.toml",
        what: "reads are served without ReadIndex",
        rules: &["linearizable/stale-read"],
        control: Control::Default,
    },
    Plant {
        name: "ack-before-sync",
        workload: "scripts/bite/ack-before-sync.toml",
        what: "writes are acknowledged before the log is synced",
        rules: &["linearizable/lost-write"],
        control: Control::Unplanted,
    },
    Plant {
        name: "drop-watch-event",
        workload: "workloads/lock-storm.toml",
        what: "one watch event in a thousand is dropped",
        rules: &["watch/complete"],
        control: Control::Default,
    },
    Plant {
        name: "split-txn",
        workload: "workloads/quickstart.toml",
        what: "a transaction's puts are applied in two revisions",
        rules: &["txn/atomic"],
        control: Control::Default,
    },
    Plant {
        name: "progress-ahead",
        workload: "workloads/config-fanout.toml",
        what: "progress is told ahead of events on their way",
        rules: &["watch/bookmarkable"],
        control: Control::Default,
    },
    Plant {
        name: "version-survives-delete",
        workload: "workloads/jepsen-watch.toml",
        what: "a key made again after its deletion goes on counting versions",
        rules: &["content/response"],
        control: Control::Default,
    },
    Plant {
        name: "renewal-forgotten",
        workload: "workloads/lease-churn.toml",
        what: "a lease that was renewed ends at its old time",
        rules: &["lease/early-expiry"],
        control: Control::Default,
    },
    Plant {
        name: "create-revision-survives-delete",
        workload: "workloads/jepsen-lock.toml",
        what: "a key made again says that it was created when it was deleted",
        rules: &["content/response"],
        control: Control::Default,
    },
    Plant {
        name: "delete-range-leaves-last",
        workload: "workloads/mixed-faults.toml",
        what: "a delete of a range leaves its last key",
        rules: &["content/response"],
        control: Control::Default,
    },
    Plant {
        name: "prev-lost-by-lease",
        workload: "workloads/service-discovery.toml",
        what: "events of keys whose lease ended have no previous value",
        rules: &["watch/prev-kv"],
        control: Control::Default,
    },
];

/// Builds both, runs every bug, and prints the tables.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let only = args.only.as_deref();
    let histories: Vec<&Plant> =
        PLANTS.iter().filter(|plant| is_wanted(only, plant.name)).collect();
    let answers: Vec<&generate::Plant> =
        generate::PLANTS.iter().filter(|plant| is_wanted(only, plant.name)).collect();
    if histories.is_empty() && answers.is_empty() {
        let names = PLANTS.iter().map(|plant| plant.name);
        let names: Vec<&str> =
            names.chain(generate::PLANTS.iter().map(|plant| plant.name)).collect();
        bail!("no such bug; there are {}", names.join(", "));
    }
    let binaries = match &args.built {
        Some(folder) => Binaries::in_folder(folder.clone()),
        None => Binaries::release()?,
    };
    if args.known_bad {
        return known_bad::run(&binaries, args.seed, args.tries);
    }
    let broken = match &args.planted {
        Some(server) => binaries.with_server(server.clone()),
        None => build_broken(&binaries)?,
    };
    let mut code = ExitCode::SUCCESS;
    if !histories.is_empty() && !args.answers {
        let commit = workspace::commit();
        let steps = bite(&histories, &binaries, &broken, args.seed);
        code = steps.finish("cargo xtask bite: what histories show");
        if only.is_none() {
            let mut lines =
                vec![format!("rusd at {commit}, seed {}: `cargo xtask bite`.", args.seed)];
            lines.push(String::new());
            lines.extend(steps.table());
            report::keep("bite.md", &lines)?;
        }
    }
    if !answers.is_empty() {
        let steps = generate::run(&answers, &broken, args.seed)?;
        let answered = steps.finish("cargo xtask bite: what answers show");
        if !steps.hold() {
            code = answered;
        }
    }
    Ok(code)
}

fn is_wanted(only: Option<&str>, name: &str) -> bool {
    only.is_none_or(|only| only == name)
}

/// Every bug, and every control once.
fn bite(plants: &[&Plant], sound: &Binaries, broken: &Binaries, seed: u64) -> Steps {
    let mut steps = Steps::default();
    let mut controlled = Vec::new();
    let planted = Subject { binaries: broken, name: "broken", has_bug: true };
    for plant in plants {
        steps.run(&format!("{}: caught", plant.name), || caught(plant, &planted, seed));
        let control = match plant.control {
            Control::Default => Subject { binaries: sound, name: "default", has_bug: false },
            Control::Unplanted => Subject { binaries: broken, name: "unplanted", has_bug: false },
        };
        let now = (plant.workload, control.name);
        if !controlled.contains(&now) {
            controlled.push(now);
            let name = format!("{}: {} build is not flagged", plant.workload, control.name);
            steps.run(&name, || not_flagged(plant, &control, seed));
        }
    }
    steps
}

/// Builds a rusd that can have bugs.
pub(crate) fn build_broken(sound: &Binaries) -> Result<Binaries> {
    let folder = workspace::target().join("bite");
    let mut command = workspace::cargo(["build", "--release", "-p", "rusd", "--bin", "rusd"]);
    command.args(["--features", "planted-bugs", "--target-dir"]).arg(&folder);
    workspace::must(&mut command)?;
    Ok(sound.with_server(folder.join("release/rusd")))
}

fn caught(plant: &Plant, planted: &Subject<'_>, seed: u64) -> Result<Outcome> {
    let run = run_workload(plant, planted, seed)?;
    Ok(judge_caught(plant, &run))
}

fn judge_caught(plant: &Plant, run: &Run) -> Outcome {
    let rules = run.rules();
    let note = format!(
        "{}, under {}: {} {}",
        plant.what,
        plant.workload,
        run.ended.name(),
        rules.join(", ")
    );
    let is_right = rules.first().is_some_and(|rule| plant.rules.contains(&rule.as_str()));
    let wanted = plant.rules.join(" or ");
    match fault_that_failed(run) {
        Some(failed) => Outcome::Failed(format!("{note}; {failed}; see {}", run.place())),
        None if run.ended == Ended::Invalid && is_right => Outcome::Passed(note),
        None => Outcome::Failed(format!("{note}; wanted INVALID by {wanted}; see {}", run.place())),
    }
}

fn not_flagged(plant: &Plant, control: &Subject<'_>, seed: u64) -> Result<Outcome> {
    Ok(judge_control(&run_workload(plant, control, seed)?))
}

fn judge_control(run: &Run) -> Outcome {
    let operations = run.count("/judgement/counts/operations");
    let faults = run.planned_faults();
    let note = format!("{}, {operations} operations, {faults} faults", run.ended.name());
    match fault_that_failed(run) {
        Some(failed) => Outcome::Failed(format!("{note}; {failed}; see {}", run.place())),
        None if run.ended == Ended::Valid && operations > 0 => Outcome::Passed(note),
        None => {
            let rules = run.rules().join(", ");
            Outcome::Failed(format!("{note} {rules}; see {}", run.place()))
        }
    }
}

/// Why the run shows nothing, if it does not have the faults of its workload.
fn fault_that_failed(run: &Run) -> Option<String> {
    if let Some(error) = run.fault_errors().into_iter().next() {
        return Some(format!("a fault was not done: {error}"));
    }
    let wanted = run.planned_faults();
    let done = run.count_faults();
    (done < wanted).then(|| format!("{done} of {wanted} faults were done"))
}

fn run_workload(plant: &Plant, subject: &Subject<'_>, seed: u64) -> Result<Run> {
    let workload = PathBuf::from(plant.workload);
    let folder = format!("{}-{}", plant.name, subject.name);
    let out = workspace::target().join("bite-runs").join(folder);
    Run::of(subject.binaries, &workload, &out, |command| {
        command.args(["--seed", &seed.to_string()]);
        if subject.has_bug {
            command.env(PLANT_VARIABLE, plant.name);
        } else {
            command.env_remove(PLANT_VARIABLE);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ended: Ended, report: &str) -> Run {
        Run::read(ended, None, serde_json::from_str(report).unwrap())
    }

    fn is_passed(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Passed(_))
    }

    const DONE: &str = r#""config":{"faults":[{"kind":"kill"}]},"faults":[{"fault":"kill"}]"#;
    const FAILED: &str =
        r#""config":{"faults":[{"kind":"kill"}]},"faults":[{"fault":"kill","error":"no log"}]"#;
    const NONE: &str = r#""config":{"faults":[{"kind":"kill"}]},"faults":[]"#;

    /// The sound build was "not flagged" when its log could not be cut at all.
    #[test]
    fn a_control_whose_fault_was_not_done_shows_nothing() {
        for (faults, passes) in [(DONE, true), (FAILED, false), (NONE, false)] {
            let report = format!(r#"{{"judgement":{{"counts":{{"operations":9}}}},{faults}}}"#);
            assert_eq!(is_passed(&judge_control(&run(Ended::Valid, &report))), passes, "{report}");
        }
        let flagged = format!(r#"{{"judgement":{{"counts":{{"operations":9}}}},{DONE}}}"#);
        assert!(!is_passed(&judge_control(&run(Ended::Invalid, &flagged))));
    }

    #[test]
    fn a_bug_is_caught_only_by_its_rule_and_with_its_fault_done() {
        let plant = &PLANTS[1];
        for (rule, faults, passes) in [
            ("linearizable/lost-write", DONE, true),
            ("linearizable/stale-read", DONE, false),
            ("linearizable/lost-write", FAILED, false),
        ] {
            let report =
                format!(r#"{{"judgement":{{"violations":[{{"rule":"{rule}"}}]}},{faults}}}"#);
            let outcome = judge_caught(plant, &run(Ended::Invalid, &report));
            assert_eq!(is_passed(&outcome), passes, "{report}");
        }
    }
}
