//! `cargo xtask seeds`: the demo with many seeds, and a table of the verdicts.
//!
//! A run counts only if it had what it must show: a kill and a move of the leader, a pause, a
//! partition, and every watch complete. That is read from what was done, not from the workload.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::run_folder::{Ended, Run};
use crate::workspace::Binaries;
use crate::{report, workspace};

/// Run mixed-faults with many seeds; the table goes to results/seeds.md
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many runs
    #[arg(long, default_value_t = 20)]
    runs: u64,
    /// The first seed; the others follow it
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Length of each run
    #[arg(long, default_value = "30s")]
    duration: String,
    /// The workload
    #[arg(long, default_value = "workloads/mixed-faults.toml")]
    workload: PathBuf,
}

/// One run.
struct Row {
    seed: u64,
    seconds: f64,
    run: Run,
}

/// Runs them one after another.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binaries = Binaries::release()?;
    let mut rows = Vec::new();
    for seed in args.first..args.first + args.runs {
        let out = workspace::target().join("seeds").join(seed.to_string());
        let start = Instant::now();
        let run = Run::of(&binaries, &args.workload, &out, |command| {
            command.args(["--seed", &seed.to_string(), "--duration", &args.duration]);
        })?;
        report::progress(&format!("seed {seed}: {}, {}", run.ended.name(), run.place()));
        rows.push(Row { seed, seconds: start.elapsed().as_secs_f64(), run });
    }
    let lines = summary(args, &rows);
    for line in &lines {
        report::line(line);
    }
    report::keep("seeds.md", &lines)?;
    let holds = rows.iter().all(Row::holds);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Row {
    fn holds(&self) -> bool {
        self.run.ended == Ended::Valid && self.run.demo_lacks().is_none()
    }

    fn cells(&self) -> Vec<String> {
        let faults = |kind: &str, target| self.run.faults(kind, target).to_string();
        let judged = |name: &str| self.run.count(&format!("/judgement/counts/{name}"));
        vec![
            self.seed.to_string(),
            self.run.ended.name().to_owned(),
            judged("operations").to_string(),
            judged("unknown").to_string(),
            format!(
                "{} of {}",
                self.run.count("/watches/complete"),
                self.run.count("/watches/count")
            ),
            judged("events").to_string(),
            faults("kill", None),
            faults("kill", Some("leader")),
            faults("pause", None),
            faults("partition", None),
            faults("move_leader", None),
            format!("{:.0}", self.seconds),
        ]
    }
}

fn summary(args: &Args, rows: &[Row]) -> Vec<String> {
    let heading = [
        "seed",
        "verdict",
        "operations",
        "outcome unknown",
        "watches complete",
        "events",
        "kills",
        "of the leader",
        "pauses",
        "partitions",
        "moves",
        "wall s",
    ];
    let mut table = vec![heading.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(Row::cells));
    let holding = rows.iter().filter(|row| row.holds()).count();
    let mut lines = vec![
        format!(
            "{} for {} with seeds {} to {}, rusd at {}.",
            args.workload.display(),
            args.duration,
            args.first,
            (args.first + args.runs).saturating_sub(1),
            workspace::commit()
        ),
        String::new(),
        format!(
            "{holding} of {} runs are valid with every watch complete, and had a kill of the \
             leader, a move of it, a pause and a partition.",
            rows.len()
        ),
        String::new(),
    ];
    lines.extend(report::table(&table));
    lines
}
