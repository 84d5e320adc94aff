//! `cargo xtask test`: everything.
//!
//! The steps of `check`, the peers, and then the end-to-end tier (T5) with the same builds: the
//! transcript and the model against etcd, and a cluster under load and faults, judged. What needs
//! etcd is skipped without it, and the summary says so. An unknown verdict is a failure.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::run_folder::{Ended, Run};
use crate::server::{Options, Server, System};
use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{
    check, clients, conform, door, generate, membership, pages, peers, power_loss, report, sim,
    transcript, workspace, write_faults,
};

/// Run everything: check, comparisons with etcd, and a judged cluster under faults
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Length of the judged run
    #[arg(long, default_value = "30s")]
    duration: String,
    /// Operations of the model against etcd
    #[arg(long, default_value_t = 10_000)]
    model_operations: u64,
    /// Only the end-to-end steps, without those of `check`
    #[arg(long)]
    only_e2e: bool,
}

const EXIT_CODES: &str = "\
Exit codes: 0 every step holds (one that was skipped is named, with its reason);
1 a step does not hold: a test failed, a comparison differed, or the judged run
was anything but valid with all its faults; 2 wrong arguments.";

/// The judged run, and where it goes.
const MIXED_FAULTS: &str = "mixed-faults";

/// Runs the steps, keeps the summary in `target/ci/summary.md` and prints it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let kept = workspace::target().join("ci");
    fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
    let mut steps = Steps::default();
    if !args.only_e2e {
        check::all(&mut steps);
    }
    steps.run("peers", peers::step);
    let mut binaries = None;
    steps.run("binaries", || {
        binaries = Some(Binaries::tested()?);
        Ok(Outcome::Passed("as the tests were built".to_owned()))
    });
    if let Some(binaries) = &binaries {
        end_to_end(&mut steps, args, binaries, &kept);
    }

    let title = "cargo xtask test";
    let path = kept.join("summary.md");
    fs::write(&path, steps.summary(title).join("\n") + "\n")
        .with_context(|| format!("cannot write {}", path.display()))?;
    let code = steps.finish(title);
    report::progress(&format!("kept in {}", kept.display()));
    Ok(code)
}

/// The steps that need what was built.
fn end_to_end(steps: &mut Steps, args: &Args, binaries: &Binaries, kept: &Path) {
    transcript::steps(steps, binaries);
    clients::steps(steps, binaries);
    conform::steps(steps, binaries);
    generate::steps(steps, binaries);
    sim::steps(steps, binaries);
    door::steps(steps, binaries);
    power_loss::steps(steps, binaries);
    steps.run("model against etcd", || model(binaries, args.model_operations));
    steps.run("each fault has its effect on etcd", faults_on_etcd);
    steps.run("mixed-faults, judged", || judged(binaries, kept, &args.duration));
    pages::step(steps, binaries, &kept.join(MIXED_FAULTS));
    steps.run("members come and go, judged", || membership::step(binaries));
    // Last: its rusd takes the place of the one that the steps before it ran.
    steps.run("failpoints: a crash at each place loses nothing", failpoints);
    write_faults::step(steps, binaries.server());
}

/// A build of its own, in which members can be made to end, wait and fail at named places.
fn failpoints() -> Result<Outcome> {
    // Planted bugs are not asked for; their build notes how far the log is synced.
    let features = "rusd/failpoints,rusd/planted-bugs,rusd-loadgen/failpoints";
    let built = ["test", "--workspace", "--features", features];
    // The first builds the server, too, which the second finds beside loadgen.
    for tests in [["--test", "e2e", "failpoints::"], ["--test", "faults", "acted::"]] {
        workspace::must(&mut workspace::cargo(built.into_iter().chain(tests)))?;
    }
    let own = ["test", "-p", "rusd-failpoint", "--features", "enabled"];
    workspace::must(&mut workspace::cargo(own))?;
    Ok(Outcome::Passed("ends, waits and failures".to_owned()))
}

/// The tests of loadgen's faults, which ran on rusd with all others. Those that the member acts out need
/// a build of its own, and are in no build here.
fn faults_on_etcd() -> Result<Outcome> {
    if !peers::is_available() {
        return Ok(Outcome::Skipped(peers::MISSING.to_owned()));
    }
    let etcd = workspace::peer("etcd");
    let built = ["test", "--workspace", "--test", "faults", "--", "--test-threads", "2"];
    let mut tests = workspace::cargo(built);
    workspace::must(tests.env("LOADGEN_E2E_SYSTEM", "etcd").env("LOADGEN_E2E_BINARY", etcd))?;
    Ok(Outcome::Passed("all but slow_disk, disk_error, lose_unsynced".to_owned()))
}

/// The checker's model of etcd against etcd itself, on random sequential operations.
fn model(binaries: &Binaries, operations: u64) -> Result<Outcome> {
    if !peers::is_available() {
        return Ok(Outcome::Skipped(peers::MISSING.to_owned()));
    }
    let etcd = Server::start(&Options::new(System::Etcd, &workspace::peer("etcd"))?)?;
    let status = workspace::status(
        Command::new(binaries.loadgen())
            .args(["model", "--endpoints", &etcd.client_url(), "--seed", "1"])
            .args(["--operations", &operations.to_string()]),
    )?;
    if !status.success() {
        bail!("the model and etcd disagree ({status})");
    }
    Ok(Outcome::Passed(format!("{operations} operations, no disagreement")))
}

/// A cluster of three under load and faults.
fn judged(binaries: &Binaries, kept: &Path, duration: &str) -> Result<Outcome> {
    let workload = Path::new("workloads/mixed-faults.toml");
    let run = Run::of(binaries, workload, &kept.join(MIXED_FAULTS), |command| {
        command.args(["--seed", "1", "--duration", duration]);
    })?;
    // Kept whatever came of it: a failed run is the one that somebody wants to read about.
    let folder = run.folder.as_ref().context("loadgen left no run.json")?;
    for name in ["summary.md", "junit.xml"] {
        let (from, to) = (folder.join(name), kept.join(format!("{MIXED_FAULTS}-{name}")));
        fs::copy(&from, to).with_context(|| format!("loadgen left no {}", from.display()))?;
    }
    Ok(verdict(&run))
}

/// Unknown is not good enough, nor is a valid history without the faults: nothing was proven.
fn verdict(run: &Run) -> Outcome {
    let note = format!("{}; {}", run.ended.name(), run.place());
    match run.demo_lacks() {
        _ if run.ended != Ended::Valid => Outcome::Failed(note),
        Some(lacks) => Outcome::Failed(format!("{lacks}; {note}")),
        None => Outcome::Passed(note),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_run_with_its_faults_passes() {
        let whole = r#"{"watches":{"count":2,"complete":2},"faults":[
            {"fault":"kill","target":"leader"},{"fault":"pause"},{"fault":"partition"},
            {"fault":"move_leader"}]}"#;
        let judge = |ended, report: &str| {
            let report = serde_json::from_str(report).unwrap();
            matches!(verdict(&Run::read(ended, None, report)), Outcome::Passed(_))
        };
        assert!(judge(Ended::Valid, whole));
        for ended in [Ended::Invalid, Ended::Unknown, Ended::Failed] {
            assert!(!judge(ended, whole), "{}", ended.name());
        }
        assert!(!judge(Ended::Valid, r#"{"faults":[]}"#));
    }
}
