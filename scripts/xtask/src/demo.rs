//! `cargo xtask demo`: builds everything and judges a cluster under load and faults.
//!
//! The first command of the README. Its exit code is that of `loadgen run`: 0 valid, 1 a promise
//! was broken, 2 bad input, 3 unknown, 4 the run itself failed.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::workspace;
use crate::workspace::Binaries;

/// Build rusd and run mixed load with faults against three members
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The workload to run; comes first
    #[arg(long, default_value = "workloads/mixed-faults.toml")]
    workload: PathBuf,
    /// Passed on to `loadgen run`: --seed N, --duration 30s, --out DIR ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

const EXIT_CODES: &str = "\
Exit codes: 0 valid; 1 a promise was broken; 2 bad input; 3 the checker could not
decide; 4 the run itself failed: a fault was not done, a watch did not come to the
end, a member ended by itself.";

/// Builds in release and hands over to loadgen.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binaries = Binaries::release()?;
    let mut command = Command::new(binaries.loadgen());
    command
        .arg("run")
        .arg(&args.workload)
        .arg("--binary")
        .arg(binaries.server())
        .args(&args.arguments)
        .current_dir(workspace::root());
    Ok(workspace::exit_code(workspace::status(&mut command)?))
}
