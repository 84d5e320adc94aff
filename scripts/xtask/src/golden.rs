//! `cargo xtask golden`: rewrites the golden files from what the code does now.
//!
//! Read the diff before committing it: a golden file is a promise.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace;

/// Rewrite the golden files (read the diff afterwards)
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the golden tests with `UPDATE_GOLDEN=1`.
pub(crate) fn run() -> Result<ExitCode> {
    let mut command =
        workspace::cargo(["test", "-p", "rusd-raft", "-p", "rusd-state", "--test", "golden"]);
    let status = workspace::status(command.env("UPDATE_GOLDEN", "1"))?;
    Ok(workspace::exit_code(status))
}
