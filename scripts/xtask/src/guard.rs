//! Servers that end with us, however we end.
//!
//! On Linux a server is started through our own executable, by a hidden verb: it asks the kernel to
//! kill it when the thread that started it ends, and then becomes the server, with the same process
//! id. Elsewhere a server outlives an xtask that is killed.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

/// Name of the hidden verb.
pub(crate) const VERB: &str = "become-server";

/// Become a server; used by the verbs that start one
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Process id of who started us
    parent: u32,
    /// The server
    program: OsString,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// A command that becomes `program`, to which arguments can be added. Start it from a thread that
/// lives as long as the server should.
#[cfg(target_os = "linux")]
pub(crate) fn command(program: &Path) -> Command {
    // Also when our file has been replaced by a newer build meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg(VERB).arg(std::process::id().to_string()).arg(program);
    command
}

/// A command that becomes `program`.
#[cfg(not(target_os = "linux"))]
pub(crate) fn command(program: &Path) -> Command {
    Command::new(program)
}

/// Returns only on error.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let Err(error) = become_server(args);
    Err(error).with_context(|| format!("cannot become {}", args.program.display()))
}

fn become_server(args: &Args) -> io::Result<Infallible> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    // Our parent may have ended before we asked.
    if u32::try_from(nix::unistd::getppid().as_raw()).ok() != Some(args.parent) {
        return Err(io::Error::other("started by somebody who is gone"));
    }
    Err(Command::new(&args.program).args(&args.arguments).exec())
}
