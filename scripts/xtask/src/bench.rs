//! `cargo xtask bench`: the criterion benches of the workspace.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace;

/// Run the criterion benches
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this package
    #[arg(short, long)]
    package: Option<String>,
    /// Passed on to criterion: a filter, --quick, --save-baseline NAME ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs `cargo bench` on the bench targets alone. `--benches` would run the libraries' unit tests
/// too, which do not know criterion's arguments.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut command = workspace::cargo(["bench", "--bench", "*"]);
    match &args.package {
        Some(package) => command.args(["-p", package]),
        None => command.arg("--workspace"),
    };
    command.arg("--").args(&args.arguments);
    Ok(workspace::exit_code(workspace::status(&mut command)?))
}
