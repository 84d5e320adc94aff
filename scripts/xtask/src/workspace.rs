//! Where things are, and how child processes are run.
//!
//! Every path a verb uses comes from here, so that a verb works from any folder of the tree.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::report;

/// Root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("scripts/xtask is two folders below the root")
        .to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where `cargo xtask peers` puts a program of etcd.
pub(crate) fn peer(name: &str) -> PathBuf {
    target().join("peers").join(name)
}

/// The cargo that runs us, started in the root.
pub(crate) fn cargo<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root());
    command
}

/// Runs to the end with our own stdin, stdout and stderr.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    report::progress(&describe(command));
    command.status().with_context(|| format!("cannot start {}", describe(command)))
}

/// Runs to the end; anything but exit code 0 is an error.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// Runs to the end, showing its stdout line by line and also handing each line to `each`.
pub(crate) fn tee(command: &mut Command, each: &mut dyn FnMut(&str)) -> Result<ExitStatus> {
    report::progress(&describe(command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    let stdout = child.stdout.take().expect("stdout was asked for");
    for line in BufReader::new(stdout).split(b'\n') {
        let bytes = line?;
        let line = String::from_utf8_lossy(&bytes);
        report::line(&line);
        each(&line);
    }
    Ok(child.wait()?)
}

/// Runs to the end and returns its stdout; anything but exit code 0 is an error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", describe(command), output.status);
    }
    String::from_utf8(output.stdout).context("output is not UTF-8")
}

/// The exit code of a child as our own; a child ended by a signal is a failure.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Whether a program can be started at all.
pub(crate) fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// Programs of this tree, built, and the server that is looked at.
pub(crate) struct Binaries {
    folder: PathBuf,
    server: PathBuf,
}

impl Binaries {
    /// As people run them. All are built for every verb, since cargo builds what they depend on anew
    /// for another choice.
    pub(crate) fn release() -> Result<Self> {
        let packages = ["-p", "rusd", "-p", "rusd-loadgen", "-p", "rusd-checker"];
        must(cargo(["build", "--release", "--bins"]).args(packages))?;
        Ok(Self::in_folder(target().join("release")))
    }

    /// As the tests of the workspace were built: with debug assertions, and without another build of
    /// everything, since the same features are asked for.
    pub(crate) fn tested() -> Result<Self> {
        must(&mut cargo(["build", "--workspace", "--bins", "--tests"]))?;
        Ok(Self::in_folder(target().join("debug")))
    }

    /// Where cargo has put them.
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        let server = folder.join("rusd");
        Self { folder, server }
    }

    /// The same with another server: of etcd, or built otherwise.
    pub(crate) fn with_server(&self, server: PathBuf) -> Self {
        Self { folder: self.folder.clone(), server }
    }

    /// The server: this tree's rusd, if no other took its place.
    pub(crate) fn server(&self) -> &Path {
        &self.server
    }

    /// The load generator.
    pub(crate) fn loadgen(&self) -> PathBuf {
        self.folder.join("loadgen")
    }

    /// The checker.
    pub(crate) fn checker(&self) -> PathBuf {
        self.folder.join("checker")
    }

    /// The simulator; the release builds have none.
    pub(crate) fn simulator(&self) -> PathBuf {
        self.folder.join("rusd-sim")
    }
}

/// The commit that is checked out, with a mark when the tree differs from it. A result that was
/// kept before changes nothing of what is measured.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| output(Command::new("git").args(arguments).current_dir(root()));
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let status = ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!results"];
    let dirty = git(&status).is_ok_and(|changes| !changes.trim().is_empty());
    format!("{}{}", commit.trim(), if dirty { "+changes" } else { "" })
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut text = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
