//! Whether a comparison finds what is there, and nothing else.
//!
//! Both sides are one executable, which can have planted bugs: on one side it has none, or takes a
//! tenth more CPU time than it needs. With itself everything is compared, as `loadgen compare` does
//! unless it is told otherwise; with the slower one what it is about, CPU time.
//!
//! The servers have a CPU of their own. What an operation takes depends on how many share a sync, and
//! on where threads wake up; with the generator on the same CPUs it varies more from run to run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::{Args, Compared, Comparison, compare};
use crate::bite::{PLANT_VARIABLE, build_broken};
use crate::workspace::Binaries;
use crate::{report, workspace};

const WORKLOAD: &str = "workloads/compare/put.toml";
/// Of so many comparisons with itself this many must find no difference.
const ALIKE_MIN: (usize, usize) = (17, 20);
/// Of so many with a slower one this many must find it.
const FOUND_MIN: (usize, usize) = (19, 20);

/// One of each, with the same seed.
struct Try {
    seed: u64,
    with_itself: Comparison,
    with_slower: Comparison,
}

/// Compares, and prints the table.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let commit = workspace::commit();
    let binaries = build_broken(&Binaries::release()?)?;
    let out = workspace::target().join("compare-itself");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let cpu = leave_a_cpu()?;
    let side = |name: &str, plant: &str| {
        let path = out.join(name);
        let server = binaries.server().display();
        let text = format!("#!/bin/sh\n{plant} exec taskset -c {cpu} '{server}' \"$@\"\n");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        anyhow::Ok(format!("rusd={}", path.display()))
    };
    let same = side("same-rusd", "")?;
    let slower = side("slower-rusd", &format!("{PLANT_VARIABLE}=slower"))?;
    let mut tries = Vec::new();
    for seed in 1..=args.tries {
        let try_with = |other: &str, metrics: &[&str]| {
            compare(&binaries, (&same, other), Path::new(WORKLOAD), &out, |command| {
                command.args(["--rounds", &args.rounds.to_string(), "--duration", &args.duration]);
                command.args(["--seed", &seed.to_string()]).args(metrics);
                command.env_remove(PLANT_VARIABLE);
            })
        };
        let with_itself = try_with(&same, &[])?;
        let with_slower = try_with(&slower, &["--metrics", "cpu"])?;
        let made = Try { seed, with_itself, with_slower };
        report::progress(&made.cells().join(" | "));
        tries.push(made);
    }
    let (lines, holds) = summary(args, &commit, &tries);
    for line in &lines {
        report::line(line);
    }
    if args.keep {
        report::keep("compare-itself.md", &lines)?;
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Goes away from one CPU, and whatever we start with us, for the servers to have it: its number.
fn leave_a_cpu() -> Result<usize> {
    let us = Pid::from_raw(0);
    let mut cpus = sched_getaffinity(us)?;
    let left = (0..CpuSet::count()).find(|cpu| cpus.is_set(*cpu) == Ok(true));
    let left = left.context("no CPU to run on")?;
    cpus.unset(left)?;
    sched_setaffinity(us, &cpus).context("one CPU for the servers, and none for the others")?;
    Ok(left)
}

impl Try {
    /// What differs of rusd and itself: by chance, since nothing does.
    fn false_alarms(&self) -> Vec<&Compared> {
        self.with_itself.metrics.iter().filter(|compared| compared.differs).collect()
    }

    fn is_found(&self) -> bool {
        self.with_slower.of("cpu").is_some_and(|cpu| cpu.differs && cpu.is_worse)
    }

    fn cells(&self) -> Vec<String> {
        let cpu = |comparison: &Comparison| {
            comparison.of("cpu").map_or_else(|| "not measured".to_owned(), Compared::interval)
        };
        let alarms: Vec<String> = self
            .false_alarms()
            .iter()
            .map(|compared| format!("{} {}", compared.metric, compared.interval()))
            .collect();
        vec![
            self.seed.to_string(),
            if alarms.is_empty() { "none".to_owned() } else { alarms.join(", ") },
            cpu(&self.with_itself),
            if self.is_found() { "found" } else { "not found" }.to_owned(),
            cpu(&self.with_slower),
        ]
    }
}

/// Lines of the result, and whether it is good enough.
fn summary(args: &Args, commit: &str, tries: &[Try]) -> (Vec<String>, bool) {
    let alike = tries.iter().filter(|made| made.false_alarms().is_empty()).count();
    let found = tries.iter().filter(|made| made.is_found()).count();
    let is_enough = |count: usize, (least, of): (usize, usize)| count * of >= least * tries.len();
    let mut lines = Vec::new();
    if let Some(Try { with_itself: first, .. }) = tries.first() {
        lines.push(format!(
            "`cargo xtask compare --itself`, commit {commit}: `loadgen compare` of one executable, \
             {}, with itself, and with itself when a thread of its own takes a tenth more CPU time \
             (a planted bug), by turns. {WORKLOAD} for {} a run, {} pairs of runs; the servers have a \
             CPU of their own. All numbers of a comparison together at {:.0} % confidence; what \
             differs by less than {:.0} % does not count.",
            first.a_system,
            args.duration,
            first.pairs,
            first.confidence * 100.0,
            first.margin * 100.0,
        ));
        let names: Vec<&str> = first.metrics.iter().map(|it| it.metric.as_str()).collect();
        lines.push(format!(
            "Compared with itself: {}; with the slower one: CPU time. The thread takes a tenth, \
             and what the other threads take beside it may be less: the ratio can be below 1.1.",
            names.join(", ")
        ));
    }
    lines.push(String::new());
    lines.push(format!("With itself: no difference in {alike} of {} tries.", tries.len()));
    lines.push(format!("With the slower one: found in {found} of {} tries.", tries.len()));
    lines.push(String::new());
    let head = ["seed", "with itself: differs", "its CPU", "slower", "its CPU, ratio and interval"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    table.extend(tries.iter().map(Try::cells));
    lines.extend(report::table(&table));
    (lines, is_enough(alike, ALIKE_MIN) && is_enough(found, FOUND_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(cpu: f64, differs: bool) -> Comparison {
        let text = format!(
            r#"{{"a_system":"rusd","b_system":"rusd","pairs":6,"confidence":0.95,"margin":0.02,
                "not_compared":[],"metrics":[{{"metric":"cpu","in_words":["1 us","1 us"],
                "ratio":{cpu},"low":{cpu},"high":{cpu},"differs":{differs},"is_worse":{}}}]}}"#,
            cpu > 1.0
        );
        serde_json::from_str(&text).unwrap()
    }

    fn made(with_itself: bool, slower: f64, is_found: bool) -> Try {
        Try {
            seed: 1,
            with_itself: comparison(1.03, with_itself),
            with_slower: comparison(slower, is_found),
        }
    }

    #[test]
    fn false_alarms_and_what_is_missed_are_counted() {
        assert!(made(false, 1.1, true).false_alarms().is_empty());
        assert!(made(false, 1.1, true).is_found());
        assert_eq!(made(true, 1.1, true).false_alarms().len(), 1);
        assert!(!made(false, 0.9, true).is_found(), "that is the faster one");
        assert!(!made(false, 1.1, false).is_found(), "that may be chance");
    }

    #[test]
    fn one_miss_in_twenty_is_let_pass_and_two_are_not() {
        let args =
            Args { itself: true, tries: 20, rounds: 3, duration: "5s".to_owned(), keep: false };
        let holds = |missed: usize, alarms: usize| {
            let tries: Vec<Try> = (0..20).map(|n| made(n < alarms, 1.1, n >= missed)).collect();
            summary(&args, "abc", &tries).1
        };
        assert!(holds(0, 0) && holds(1, 3));
        assert!(!holds(2, 0));
        assert!(!holds(0, 4));
    }
}
