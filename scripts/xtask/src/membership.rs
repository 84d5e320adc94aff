//! `cargo xtask membership`: members that restart, come, are promoted, are replaced and go, under
//! load and faults.
//!
//! Every workload of [`WORKLOADS`] is run with several seeds on rusd, and with the first of them on
//! etcd. A run counts only if it is valid, every fault of the workload was done, and every watch on
//! those that are members at the end is complete.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::run_folder::{Ended, Run};
use crate::steps::Outcome;
use crate::workspace::Binaries;
use crate::{peers, report, workspace};

/// Run the workloads that change the membership; the table goes to results/membership.md
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds, for each workload on rusd
    #[arg(long, default_value_t = 5)]
    runs: u64,
    /// The first seed; the others follow it
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Only this workload, by the name of its file in workloads/; nothing is kept
    #[arg(long)]
    only: Option<String>,
    /// Without etcd; nothing is kept
    #[arg(long)]
    no_etcd: bool,
}

/// Files of `workloads/`.
const WORKLOADS: [&str; 4] =
    ["rolling-restart", "member-replace", "grow-and-shrink", "learner-promote"];

/// The one that runs in `test`: the shortest.
const SHORT: &str = "learner-promote";

/// One run.
struct Row {
    workload: &'static str,
    system: &'static str,
    seed: u64,
    run: Run,
}

/// Runs them one after another.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binaries = Binaries::release()?;
    let commit = workspace::commit();
    let is_wanted = |name: &&str| args.only.as_deref().is_none_or(|only| only == *name);
    if !WORKLOADS.iter().any(is_wanted) {
        bail!("no such workload; there are {}", WORKLOADS.join(", "));
    }
    let mut rows = Vec::new();
    for workload in WORKLOADS.into_iter().filter(is_wanted) {
        for seed in args.first..args.first + args.runs {
            rows.push(Row::of(workload, "rusd", &binaries, seed)?);
        }
        if !args.no_etcd && peers::is_available() {
            let etcd = binaries.with_server(workspace::peer("etcd"));
            rows.push(Row::of(workload, "etcd", &etcd, args.first)?);
        }
    }
    let mut lines = summary(&rows, &commit);
    if args.no_etcd || !peers::is_available() {
        lines.insert(0, format!("Without etcd: {}", peers::MISSING));
    }
    for line in &lines {
        report::line(line);
    }
    if args.only.is_none() && !args.no_etcd {
        report::keep("membership.md", &lines)?;
    }
    let holds = !rows.is_empty() && rows.iter().all(|row| row.lacks().is_none());
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One short run on rusd, for `test`.
pub(crate) fn step(binaries: &Binaries) -> Result<Outcome> {
    let row = Row::of(SHORT, "rusd", binaries, 1)?;
    let note = format!("{}; {}", row.run.ended.name(), row.run.place());
    Ok(match row.lacks() {
        Some(lacks) => Outcome::Failed(format!("{lacks}; {note}")),
        None => Outcome::Passed(note),
    })
}

impl Row {
    fn of(
        workload: &'static str,
        system: &'static str,
        binaries: &Binaries,
        seed: u64,
    ) -> Result<Self> {
        let file = PathBuf::from(format!("workloads/{workload}.toml"));
        let folder = format!("{workload}-{system}-{seed}");
        let out = workspace::target().join("membership").join(folder);
        let run = Run::of(binaries, &file, &out, |command| {
            command.args(["--system", system, "--seed", &seed.to_string()]);
        })?;
        let row = Self { workload, system, seed, run };
        let lacks = row.lacks().unwrap_or_else(|| "holds".to_owned());
        report::progress(&format!("{workload} on {system}, seed {seed}: {lacks}"));
        Ok(row)
    }

    /// Why the run does not count.
    fn lacks(&self) -> Option<String> {
        let (done, planned) = (self.run.count_faults(), self.run.planned_faults());
        let (count, complete) =
            (self.run.count("/watches/count"), self.run.count("/watches/complete"));
        let errors = self.run.fault_errors().into_iter().next();
        if let Some(error) = errors {
            Some(format!("a fault was not done: {error}"))
        } else if done < planned {
            Some(format!("{done} of {planned} faults were done"))
        } else if self.run.ended != Ended::Valid {
            Some(format!("{}: {}", self.run.ended.name(), self.run.rules().join(", ")))
        } else if count == 0 || complete < count {
            Some(format!("{complete} of {count} watches are complete"))
        } else {
            None
        }
    }

    fn cells(&self) -> Vec<String> {
        let judged = |name: &str| self.run.count(&format!("/judgement/counts/{name}")).to_string();
        let watches = ["complete", "count"].map(|name| self.run.count(&format!("/watches/{name}")));
        let kinds = ["restart", "member_add", "member_promote", "member_remove", "member_replace"];
        let mut cells = vec![
            self.workload.to_owned(),
            self.system.to_owned(),
            self.seed.to_string(),
            self.lacks().unwrap_or_else(|| "valid".to_owned()),
            judged("operations"),
            judged("unknown"),
            format!("{} of {}", watches[0], watches[1]),
            self.run.count("/watches/gone").to_string(),
        ];
        let mut others = self.run.count_faults();
        for kind in kinds {
            let done = self.run.faults(kind, None);
            others -= done;
            cells.push(done.to_string());
        }
        cells.push(others.to_string());
        cells
    }
}

fn summary(rows: &[Row], commit: &str) -> Vec<String> {
    let heading = [
        "workload",
        "system",
        "seed",
        "verdict",
        "operations",
        "outcome unknown",
        "watches complete",
        "gone with a member",
        "restarts",
        "added",
        "promoted",
        "removed",
        "replaced",
        "other faults",
    ];
    let mut table = vec![heading.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(Row::cells));
    let holding = rows.iter().filter(|row| row.lacks().is_none()).count();
    let mut lines = vec![
        format!(
            "{holding} of {} runs are valid, with every fault done and every watch complete; rusd \
             at {commit}.",
            rows.len()
        ),
        String::new(),
    ];
    lines.extend(report::table(&table));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacks(ended: Ended, faults: &str, complete: u32) -> Option<String> {
        let report = format!(
            r#"{{"config":{{"faults":[{{}},{{}}]}},"faults":[{faults}],
               "watches":{{"count":3,"complete":{complete}}}}}"#
        );
        let run = Run::read(ended, None, serde_json::from_str(&report).unwrap());
        Row { workload: SHORT, system: "rusd", seed: 1, run }.lacks()
    }

    #[test]
    fn a_run_counts_only_with_all_that_it_was_to_have() {
        let done = r#"{"fault":"member_add"},{"fault":"restart"}"#;
        assert_eq!(lacks(Ended::Valid, done, 3), None);
        for (ended, faults, complete) in [
            (Ended::Invalid, done, 3),
            (Ended::Unknown, done, 3),
            (Ended::Valid, r#"{"fault":"member_add"}"#, 3),
            (Ended::Valid, r#"{"fault":"member_add"},{"fault":"restart","error":"x"}"#, 3),
            (Ended::Valid, done, 2),
        ] {
            assert!(lacks(ended, faults, complete).is_some(), "{faults} {complete}");
        }
    }
}
