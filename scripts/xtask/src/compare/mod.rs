//! `cargo xtask compare`: `loadgen compare` is put to use, and put to the test.
//!
//! [`mod@reference`] compares rusd with etcd, work by work. [`itself`] asks whether a comparison is to be
//! trusted: of rusd with itself it must find nothing, of rusd with one that is a tenth slower it must
//! find that.

mod itself;
mod reference;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace;
use crate::workspace::Binaries;

/// Compare rusd with etcd, work by work; the table goes to results/compare.md
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compare rusd with itself and with a slower rusd instead; the table goes to results/compare-itself.md
    #[arg(long)]
    itself: bool,
    /// How often rusd is compared with itself, and how often with a slower one
    #[arg(long, default_value_t = 20)]
    tries: u64,
    /// How often a comparison runs A B B A
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How long each run offers load
    #[arg(long, default_value = "5s")]
    duration: String,
    /// Keep what was found in results/
    #[arg(long)]
    keep: bool,
}

/// Runs what was asked for.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.itself { itself::run(args) } else { reference::run(args) }
}

/// What a comparison came to, as loadgen writes it.
#[derive(Debug, Deserialize)]
struct Comparison {
    a_system: String,
    b_system: String,
    pairs: usize,
    confidence: f64,
    margin: f64,
    metrics: Vec<Compared>,
    not_compared: Vec<String>,
}

/// A number of both systems.
#[derive(Debug, Deserialize)]
struct Compared {
    metric: String,
    in_words: (String, String),
    ratio: f64,
    low: f64,
    high: f64,
    differs: bool,
    is_worse: bool,
}

impl Comparison {
    /// A number by its name.
    fn of(&self, metric: &str) -> Option<&Compared> {
        self.metrics.iter().find(|compared| compared.metric == metric)
    }
}

impl Compared {
    /// The ratio and how sure it is.
    fn interval(&self) -> String {
        format!("{:.2} ({:.2} .. {:.2})", self.ratio, self.low, self.high)
    }
}

/// Runs `loadgen compare` with results below `out`; its other words are for `adjust`.
fn compare(
    binaries: &Binaries,
    (a, b): (&str, &str),
    workload: &Path,
    out: &Path,
    adjust: impl FnOnce(&mut Command),
) -> Result<Comparison> {
    let mut command = Command::new(binaries.loadgen());
    command.current_dir(workspace::root()).args(["compare", a, b, "--json", "--workload"]);
    command.arg(workload).arg("--out").arg(out);
    adjust(&mut command);
    let text = workspace::output(&mut command)?;
    let comparison: Comparison =
        serde_json::from_str(&text).context("what `loadgen compare --json` prints")?;
    if comparison.metrics.is_empty() {
        bail!("nothing was compared: {}", comparison.not_compared.join("; "));
    }
    Ok(comparison)
}
