//! Releases of etcd that are known to be wrong, and whether a workload shows it.
//!
//! Each is run with one seed after the other until it is caught. What a release does wrong depends on
//! moments that no seed decides, so one that is not caught is told, with how often it was tried. The
//! controls run the same workload on this tree's rusd and, where it keeps what the workload asks for,
//! on the etcd that rusd is compared with.
//!
//! Invariant: a run counts only if every fault of it was done as planned.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::fault_that_failed;
use crate::run_folder::{Ended, Run};
use crate::workspace::Binaries;
use crate::{peers, report, workspace};

/// A release, and a workload that shows what is wrong with it.
struct Case {
    /// The release's name in `target/peers`.
    release: &'static str,
    /// Makes sure that it is there.
    fetch: fn() -> Result<()>,
    workload: &'static str,
    /// What it is known for, for people.
    what: &'static str,
    /// Rules that say so.
    rules: &'static [&'static str],
    /// Who must be valid under the workload.
    controls: &'static [&'static str],
}

/// The etcd that rusd is compared with.
const COMPARED: &str = "etcd";

const CASES: [Case; 4] = [
    Case {
        release: "etcd-3.4",
        fetch: peers::old,
        workload: "scripts/bite/known-bad/etcd-3.4.23.toml",
        what: "3.4.23: how far a watch has come is told ahead of events \
               ([etcd's issue 15220](https://github.com/etcd-io/etcd/issues/15220), mended in 3.4.25)",
        rules: &["watch/bookmarkable", "watch/complete"],
        controls: &["rusd", COMPARED],
    },
    Case {
        release: peers::OF_PYPI,
        fetch: peers::of_pypi,
        workload: "scripts/bite/known-bad/etcd-3.5.1.toml",
        what: "3.5.1: after a kill, an entry may be skipped that the engine had only the index of \
               (3.5.0 to 3.5.2)",
        // A member that has skipped a write gives what comes after it other revisions.
        rules: &["txn/atomic", "linearizable/lost-write", "content/response", "final/hash"],
        controls: &["rusd", COMPARED],
    },
    Case {
        release: "etcd-3.4",
        fetch: peers::old,
        workload: "scripts/bite/known-bad/deposed-leader.toml",
        what: "3.4.23: a leader that stood still ends leases that the next one has renewed",
        rules: &["lease/early-expiry"],
        controls: &["rusd"],
    },
    Case {
        release: COMPARED,
        fetch: compared,
        workload: "scripts/bite/known-bad/deposed-leader.toml",
        what: "3.7.3: the same, still; see [etcd-lease-revoked-early.md](etcd-lease-revoked-early.md)",
        rules: &["lease/early-expiry"],
        controls: &[],
    },
];

fn compared() -> Result<()> {
    peers::build(false).map(|_built| ())
}

/// Runs of one release, or of a control, until one was caught.
struct Trial {
    system: String,
    workload: &'static str,
    seeds: Vec<u64>,
    last: Run,
}

/// Tries every release, and tells.
pub(super) fn run(binaries: &Binaries, first: u64, tries: u64) -> Result<ExitCode> {
    if tries == 0 {
        bail!("a release is tried once at least");
    }
    let commit = workspace::commit();
    let mut lines = vec![
        format!(
            "Releases of etcd, each with up to {tries} seeds until it is caught: \
             `cargo xtask bite --known-bad`, at {commit}."
        ),
        String::new(),
    ];
    let (mut trials, mut told, mut holds) = (Vec::new(), Vec::new(), true);
    for case in &CASES {
        if let Err(reason) = (case.fetch)() {
            told.push(format!("- {} was left out: {reason:#}", case.release));
            holds = false;
            continue;
        }
        let wrong = trial(binaries, case, case.release, first..first + tries)?;
        let is_caught = case.is_caught(&wrong.last);
        told.push(case.verdict(&wrong, is_caught));
        holds &= is_caught;
        trials.push(wrong);
        for control in case.controls {
            if *control == COMPARED
                && let Err(reason) = compared()
            {
                told.push(format!("- {COMPARED} was left out as a control: {reason:#}"));
                holds = false;
                continue;
            }
            let sound = trial(binaries, case, control, first..first + 1)?;
            holds &= sound.last.ended == Ended::Valid && fault_that_failed(&sound.last).is_none();
            trials.push(sound);
        }
    }
    lines.extend(table(&trials));
    lines.push(String::new());
    lines.extend(told);
    for line in &lines {
        report::line(line);
    }
    report::keep("known-bad.md", &lines)?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs with one seed after the other, until a run is not valid.
fn trial(
    binaries: &Binaries,
    case: &Case,
    system: &str,
    seeds: std::ops::Range<u64>,
) -> Result<Trial> {
    let (kind, binaries) = match system {
        "rusd" => ("rusd", binaries.with_server(binaries.server().to_path_buf())),
        name => ("etcd", binaries.with_server(workspace::peer(name))),
    };
    let mut tried = Vec::new();
    loop {
        let seed = seeds.start + u64::try_from(tried.len())?;
        let workload = PathBuf::from(case.workload);
        let stem = workload.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = format!("{stem}-on-{system}-{seed}");
        let out = workspace::target().join("known-bad").join(folder);
        let run = Run::of(&binaries, &workload, &out, |command| {
            command.args(["--system", kind, "--seed", &seed.to_string()]);
            command.env_remove(super::PLANT_VARIABLE);
        })?;
        tried.push(seed);
        report::progress(&format!("{system}, seed {seed}: {}", run.ended.name()));
        if seed + 1 == seeds.end || run.ended == Ended::Invalid {
            let (system, workload) = (system.to_owned(), case.workload);
            return Ok(Trial { system, workload, seeds: tried, last: run });
        }
    }
}

impl Case {
    fn is_caught(&self, run: &Run) -> bool {
        let rules = run.rules();
        run.ended == Ended::Invalid
            && fault_that_failed(run).is_none()
            && rules.iter().any(|rule| self.rules.contains(&rule.as_str()))
    }

    fn verdict(&self, trial: &Trial, is_caught: bool) -> String {
        let what = self.what;
        if is_caught {
            let first = trial.last.first_violation().unwrap_or_default();
            format!("- {what}: **caught**. {first}")
        } else {
            format!("- {what}: not caught in {} runs", trial.seeds.len())
        }
    }
}

fn table(trials: &[Trial]) -> Vec<String> {
    let head =
        ["system", "workload", "seeds", "verdict of the last", "rules", "operations", "faults"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(trials.iter().map(|trial| {
        let seeds: Vec<String> = trial.seeds.iter().map(u64::to_string).collect();
        vec![
            trial.last.system().unwrap_or(&trial.system).to_owned(),
            trial.workload.to_owned(),
            seeds.join(" "),
            fault_that_failed(&trial.last).unwrap_or_else(|| trial.last.ended.name().to_owned()),
            trial.last.rules().join(", "),
            trial.last.count("/judgement/counts/operations").to_string(),
            trial.last.count_faults().to_string(),
        ]
    }));
    report::table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_caught(ended: Ended, rule: &str, error: &str) -> bool {
        let report = format!(
            r#"{{"judgement":{{"violations":[{{"rule":"{rule}"}}]}},
               "config":{{"faults":[{{}}]}},"faults":[{{"fault":"kill"{error}}}]}}"#
        );
        let run = Run::read(ended, None, serde_json::from_str(&report).unwrap());
        CASES[1].is_caught(&run)
    }

    #[test]
    fn a_release_is_caught_by_a_rule_of_its_own_and_with_its_faults_done() {
        assert!(is_caught(Ended::Invalid, "final/hash", ""));
        assert!(!is_caught(Ended::Invalid, "watch/closed", ""));
        assert!(!is_caught(Ended::Unknown, "final/hash", ""));
        assert!(!is_caught(Ended::Invalid, "final/hash", r#","error":"nobody was there""#));
    }
}
