//! A member's process, from start to end.
//!
//! Each process has a thread of ours that starts it and waits for its end. On Linux the process is
//! started through our own executable ([`guard`]), which asks the kernel to kill it when that
//! thread ends, and then becomes the member. So members end with us however we end.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
#[cfg(target_os = "linux")]
use std::time::Duration;

use nix::sys::signal::Signal;
#[cfg(target_os = "linux")]
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use tokio::sync::watch;

/// Name of the hidden verb that becomes a member.
pub const GUARD_VERB: &str = "become-member";
/// The executable that has it, if that is not our own.
static GUARD: OnceLock<PathBuf> = OnceLock::new();
/// How much of a log an error shows.
const TAIL_BYTES: u64 = 2000;

/// Says which executable has the verb [`GUARD_VERB`], in a process that is not `loadgen` itself. Only
/// the first call counts.
pub fn guard_by(executable: PathBuf) {
    GUARD.get_or_init(|| executable);
}

/// A running, or just ended, process.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Its id.
    pub fn pid(&self) -> u32 {
        u32::try_from(self.pid.as_raw()).expect("a process id is positive")
    }

    /// Sends a signal, unless the process has ended; ask [`Process::exit_status`] whether it had.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.exit.borrow().is_some() {
            return Ok(());
        }
        nix::sys::signal::kill(self.pid, signal).map_err(io::Error::from)
    }

    /// How it ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Tells when it ends.
    #[cfg(test)]
    pub(super) fn watch(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.exit.clone()
    }

    /// CPU seconds that its threads have used, also those that ended; `None` where the system does
    /// not tell.
    pub fn cpu_seconds(&self) -> Option<f64> {
        cpu_seconds(self.pid)
    }

    /// Ends it at once and waits until it is gone. `Some` is the status of a process that had
    /// ended before, by itself.
    pub async fn kill(mut self) -> io::Result<Option<ExitStatus>> {
        let before = self.exit_status();
        self.signal(Signal::SIGKILL)?;
        self.ended().await;
        // It may have ended when we looked, without its end being known yet.
        let by_itself = |status: &ExitStatus| {
            status.signal().is_none_or(|number| Signal::try_from(number) != Ok(Signal::SIGKILL))
        };
        Ok(before.or_else(|| self.exit_status().filter(by_itself)))
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        // An error means that the waiting thread is gone, and with it the process.
        drop(self.exit.wait_for(Option::is_some).await);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing more can be done about a process that cannot be killed.
        drop(self.signal(Signal::SIGKILL));
    }
}

/// Starts a process whose output goes to `log`.
pub fn spawn(command: Command, log: File) -> io::Result<Process> {
    let mut command = guarded(command);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // An interrupt from the terminal is ours to handle, not the members'.
    command.process_group(0);
    watched(command)
}

/// Starts a process in a thread that waits for its end.
fn watched(mut command: Command) -> io::Result<Process> {
    let (started, start) = sync_channel(1);
    let (exited, exit) = watch::channel(None);
    std::thread::Builder::new().name("member".to_owned()).spawn(move || {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                started.send(Err(error)).expect("the starter waits");
                return;
            }
        };
        started.send(Ok(child.id())).expect("the starter waits");
        if let Ok(status) = child.wait() {
            exited.send_replace(Some(status));
        }
    })?;
    let id = start.recv().map_err(io::Error::other)??;
    let pid = Pid::from_raw(i32::try_from(id).map_err(io::Error::other)?);
    Ok(Process { pid, exit })
}

/// By the clock of a process, which counts nanoseconds: `/proc/<pid>/stat` counts in hundredths of a
/// second.
#[cfg(target_os = "linux")]
fn cpu_seconds(pid: Pid) -> Option<f64> {
    let used = clock_gettime(ClockId::pid_cpu_clock_id(pid).ok()?).ok()?;
    Some(Duration::from(used).as_secs_f64())
}

#[cfg(not(target_os = "linux"))]
fn cpu_seconds(_: Pid) -> Option<f64> {
    None
}

#[cfg(all(target_os = "linux", not(test)))]
fn guarded(command: Command) -> Command {
    // Also when our file has been replaced by a newer build meanwhile.
    let ours = GUARD.get().map_or(Path::new("/proc/self/exe"), PathBuf::as_path);
    let mut guarded = Command::new(ours);
    guarded.arg(GUARD_VERB).arg(std::process::id().to_string());
    guarded.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            guarded.env(name, value);
        }
    }
    guarded
}

// The executable of our own unit tests has no such verb.
#[cfg(any(not(target_os = "linux"), test))]
fn guarded(command: Command) -> Command {
    command
}

/// Becomes the program, to be killed when the thread that started us ends. Returns only on error.
pub fn guard(parent: u32, program: &OsString, args: &[OsString]) -> io::Result<Infallible> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // Our parent may have ended before we asked.
    if u32::try_from(nix::unistd::getppid().as_raw()).ok() != Some(parent) {
        return Err(io::Error::other("started by somebody who is gone"));
    }
    Err(Command::new(program).args(args).exec())
}

/// The end of a log, for an error message.
pub(super) fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(unreadable: {error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        watched(command).unwrap()
    }

    #[tokio::test]
    async fn a_kill_tells_whether_the_process_had_ended_by_itself() {
        assert_eq!(started("exec sleep 60").kill().await.unwrap(), None);
        let mut ended = started("exit 7");
        ended.ended().await;
        let status = ended.kill().await.unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(7));
    }

    #[tokio::test]
    async fn a_process_that_works_uses_cpu_time() {
        let busy = started("while :; do :; done");
        let before = busy.cpu_seconds().unwrap();
        // A turn of its loop is enough, whenever it comes.
        while busy.cpu_seconds().unwrap() <= before {
            tokio::task::yield_now().await;
        }
        let pid = busy.pid;
        busy.kill().await.unwrap();
        assert_eq!(cpu_seconds(pid), None, "it is gone");
    }
}
