//! `cargo xtask watch-stress`: a thousand watches under stress, on rusd and on etcd.
//!
//! A run counts only if the stress was there: enough events, watches that fell behind a compaction,
//! a kill of the leader. And the workload must be able to fail: a rusd that drops one watch event in
//! a thousand must be blamed for it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::run_folder::{Ended, Run};
use crate::workspace::Binaries;
use crate::{bite, peers, report, workspace};

/// Run watch-stress on rusd, on etcd and on a broken rusd; the table goes to results/watch-stress.md
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const WORKLOAD: &str = "workloads/watch-stress.toml";
/// Events that must have happened.
const EVENTS_MIN: u64 = 200_000;
/// Watches that must have been there, whatever the run keeps besides.
const WATCHES_MIN: u64 = 1_000;
/// The bug that must be found, and the rule to blame.
const PLANT: &str = "drop-watch-event";
const BLAMED: &str = "watch/complete";

/// One run.
struct Row {
    system: &'static str,
    has_bug: bool,
    run: Run,
}

/// Runs them one after another.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binaries = Binaries::release()?;
    let mut rows = vec![one("rusd", &binaries, args.seed, &[])?];
    let mut notes = Vec::new();
    if peers::is_available() {
        peers::build(false)?;
        let etcd = binaries.with_server(workspace::peer("etcd"));
        rows.push(one("etcd", &etcd, args.seed, &["--system", "etcd"])?);
    } else {
        notes.extend([String::new(), format!("Not on etcd: {}.", peers::MISSING)]);
    }
    rows.push(planted(&binaries, args.seed)?);
    let mut lines = summary(args, &rows);
    lines.extend(notes);
    for line in &lines {
        report::line(line);
    }
    report::keep("watch-stress.md", &lines)?;
    let holds = rows.iter().all(|row| row.lacks().is_none());
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(system: &'static str, binaries: &Binaries, seed: u64, further: &[&str]) -> Result<Row> {
    let out = workspace::target().join("watch-stress").join(system);
    let run = Run::of(binaries, Path::new(WORKLOAD), &out, |command| {
        command.args(["--seed", &seed.to_string()]).args(further);
    })?;
    Ok(Row { system, has_bug: false, run })
}

fn planted(binaries: &Binaries, seed: u64) -> Result<Row> {
    let broken = bite::build_broken(binaries)?;
    let out = workspace::target().join("watch-stress").join(PLANT);
    let run = Run::of(&broken, Path::new(WORKLOAD), &out, |command| {
        command.args(["--seed", &seed.to_string()]).env(bite::PLANT_VARIABLE, PLANT);
    })?;
    Ok(Row { system: "rusd that drops one watch event in 1,000", has_bug: true, run })
}

impl Row {
    fn judged(&self, name: &str) -> u64 {
        self.run.count(&format!("/judgement/counts/{name}"))
    }

    /// What the run must have had and has not.
    fn lacks(&self) -> Option<String> {
        let rules = self.run.rules();
        if self.has_bug {
            let blamed = rules.first().is_some_and(|rule| rule == BLAMED);
            return (!blamed).then(|| format!("the bug was not blamed on {BLAMED}"));
        }
        if self.run.ended != Ended::Valid {
            return Some(self.run.ended.name().to_owned());
        }
        if let Some(error) = self.run.fault_errors().into_iter().next() {
            return Some(format!("a fault was not done: {error}"));
        }
        let [watches, complete] =
            ["/watches/count", "/watches/complete"].map(|name| self.run.count(name));
        let lacking = [
            (self.judged("changes") < EVENTS_MIN, "too few events happened"),
            (watches < WATCHES_MIN, "there were too few watches"),
            (watches != complete, "a watch is not complete"),
            (self.judged("watches_compacted") == 0, "no watch fell behind a compaction"),
            (self.run.faults("kill", Some("leader")) == 0, "the leader was not killed"),
        ];
        lacking.into_iter().find(|(lacks, _)| *lacks).map(|(_, what)| what.to_owned())
    }

    fn cells(&self) -> Vec<String> {
        let verdict = match (self.lacks(), self.run.rules().first()) {
            (None, None) => self.run.ended.name().to_owned(),
            (None, Some(rule)) => format!("{} {rule}", self.run.ended.name()),
            (Some(lacks), _) => lacks,
        };
        vec![
            self.system.to_owned(),
            verdict,
            self.judged("changes").to_string(),
            format!(
                "{} of {}",
                self.run.count("/watches/complete"),
                self.run.count("/watches/count")
            ),
            self.judged("events").to_string(),
            self.judged("compactions").to_string(),
            self.judged("watches_compacted").to_string(),
            self.run.faults("kill", Some("leader")).to_string(),
            format!("{:.0}", self.run.measure("/load/elapsed_s")),
            format!("{:.1}", self.run.measure("/judgement/timing/check_seconds")),
        ]
    }
}

fn summary(args: &Args, rows: &[Row]) -> Vec<String> {
    let heading = [
        "system",
        "verdict",
        "events that happened",
        "watches complete",
        "events delivered",
        "compactions",
        "watches ended by one",
        "kills of the leader",
        "load s",
        "checked in s",
    ];
    let mut table = vec![heading.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(Row::cells));
    let mut lines = vec![
        format!(
            "{WORKLOAD} with seed {}, rusd at {}: a thousand watches, one in ten reading slowly.",
            args.seed,
            workspace::commit()
        ),
        String::new(),
    ];
    lines.extend(report::table(&table));
    lines
}
