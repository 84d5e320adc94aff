//! etcdctl, etcdutl and `rusd snapshot`, run on files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// What reads snapshots: etcdutl, or rusd.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    program: PathBuf,
}

impl Tool {
    pub(super) fn new(program: PathBuf) -> Tool {
        Tool { program }
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("snapshot");
        command
    }
}

/// `etcdctl snapshot save`.
pub(super) fn save(address: &str, file: &Path) -> Result<()> {
    let mut command = Command::new(workspace::peer("etcdctl"));
    command.args(["--endpoints", address, "snapshot", "save"]).arg(file);
    succeeded(command.output()?, "etcdctl snapshot save").map(|_| ())
}

/// `snapshot status`, not run yet.
pub(super) fn status_command(tool: &Tool, file: &Path, format: &str) -> Command {
    let mut command = tool.command();
    command.args(["status", "-w", format]).arg(file);
    command
}

/// What a tool says of a file.
pub(super) fn status(tool: &Tool, file: &Path, format: &str) -> Result<String> {
    succeeded(
        status_command(tool, file, format).output()?,
        &format!("{} snapshot status", tool.program.display()),
    )
}

/// The revision of a file.
pub(super) fn status_revision(tool: &Tool, file: &Path) -> Result<i64> {
    let json: serde_json::Value = serde_json::from_str(&status(tool, file, "json")?)?;
    json["revision"].as_i64().context("a status without revision")
}

/// `snapshot restore`, not run yet.
pub(super) struct Restore {
    pub(super) command: Command,
    file: PathBuf,
}

impl Restore {
    pub(super) fn of(
        tool: &Tool,
        file: &Path,
        data_dir: &Path,
        founding_flags: &[String],
        bump: Option<i64>,
    ) -> Restore {
        let mut command = tool.command();
        command.arg("restore").arg(file).arg("--data-dir").arg(data_dir).args(founding_flags);
        if let Some(bump) = bump {
            command.args(["--bump-revision", &bump.to_string(), "--mark-compacted"]);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Restore { command, file: file.to_path_buf() }
    }

    pub(super) fn run(mut self) -> Result<()> {
        let output = self.command.stderr(Stdio::piped()).output()?;
        succeeded(output, &format!("restore of {}", self.file.display())).map(|_| ())
    }
}

/// Runs a command that must be refused; gives the reason.
pub(super) fn refusal(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::piped()).output()?;
    let reason = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "ended with {}: {reason}", output.status);
    Ok(reason)
}

/// Runs a command that may be refused, but not crash.
pub(super) fn answers(command: &mut Command) -> Result<()> {
    let output = command.stderr(Stdio::piped()).output()?;
    let is_answer = matches!(output.status.code(), Some(0 | 1));
    ensure!(is_answer, "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn succeeded(output: Output, what: &str) -> Result<String> {
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("{what} ended with {}: {reason}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
