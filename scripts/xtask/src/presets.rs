//! `cargo xtask presets`: every workload of the repository, for a few seconds, on a fresh cluster of
//! rusd, recorded and judged. A preset that cannot run, or whose history is not valid, shows here.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::run_folder::{Ended, Run};
use crate::workspace::Binaries;
use crate::{report, workspace};

/// Run every workload for a few seconds; the table goes to results/presets.md
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long load is offered
    #[arg(long, default_value = "4s")]
    duration: String,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only those whose names hold this
    #[arg(long)]
    only: Option<String>,
}

/// Runs them one after another, without their faults, which have no room in a few seconds.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let commit = workspace::commit();
    let binaries = Binaries::release()?;
    let head = ["workload", "verdict", "answered", "per second", "p50 ms", "p99 ms", "operations"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    let mut holds = true;
    for path in workloads(args.only.as_deref())? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let out = workspace::target().join("presets").join(&name);
        let seed = args.seed.to_string();
        let run = Run::of(&binaries, &path, &out, |command| {
            command.args(["--duration", &args.duration, "--seed", &seed]);
            command.args(["--no-faults", "--record"]);
        })?;
        holds &= run.ended == Ended::Valid;
        table.push(cells(name, &run));
    }
    let mut lines = vec![
        format!(
            "Each workload for {} on a fresh cluster of rusd at {commit}, without faults, recorded and \
             judged; seed {}. Loadgen, members and checker share this machine, so the latencies are \
             no measure of anything else.",
            args.duration, args.seed
        ),
        String::new(),
    ];
    lines.extend(report::table(&table));
    for line in &lines {
        report::line(line);
    }
    if args.only.is_none() {
        report::keep("presets.md", &lines)?;
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn workloads(only: Option<&str>) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(workspace::root().join("workloads"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_workload = path.extension().is_some_and(|extension| extension == "toml");
        if is_workload && only.is_none_or(|only| name.contains(only)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn cells(name: String, run: &Run) -> Vec<String> {
    let ms = |quantile: &str| {
        format!("{:.2}", run.measure(&format!("/load/response_us/{quantile}")) / 1000.0)
    };
    vec![
        name,
        run.ended.name().to_owned(),
        run.count("/load/counts/ok").to_string(),
        format!("{:.0}", run.measure("/load/per_second")),
        ms("p50"),
        ms("p99"),
        run.count("/judgement/counts/operations").to_string(),
    ]
}
