//! A command that runs: what it prints, how long it may take, and how it is ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a command may take until it does what is waited for.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

/// After the last line that is wanted: a line more within this time is a difference.
const QUIET: Duration = Duration::from_millis(300);

/// Lines read from a command and not yet looked at; the reader waits when it is full.
const LINES_QUEUED_MAX: usize = 1024;

/// How the text ends of a command that did not do in time what was waited for.
pub(super) const TIMED_OUT: &str = "TIMED OUT";

/// A command, killed when dropped.
pub(super) struct Running {
    child: Child,
    lines_wanted: Option<usize>,
    lines: Receiver<String>,
    errors: JoinHandle<io::Result<String>>,
    printed: Vec<String>,
}

impl Running {
    /// Starts it, with `stdin` to read.
    pub(super) fn start(
        command: &mut Command,
        stdin: &str,
        lines_wanted: Option<usize>,
    ) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start etcdctl: cargo xtask peers")?;
        let mut input = child.stdin.take().expect("stdin was asked for");
        input.write_all(stdin.as_bytes())?;
        drop(input);
        let stdout = child.stdout.take().expect("stdout was asked for");
        let mut stderr = child.stderr.take().expect("stderr was asked for");
        let errors = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text)
        });
        let (send, lines) = sync_channel(LINES_QUEUED_MAX);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines_wanted, lines, errors, printed: Vec::new() })
    }

    /// Waits until it has printed so many lines, and lets it go on.
    pub(super) fn until(&mut self, lines: usize) -> Result<String> {
        let how = self.wait(Some(lines))?.unwrap_or_else(|| "still running".to_owned());
        Ok(format!("{}\n{how}", self.printed.join("\n")))
    }

    /// Waits for its end, which we make if lines are wanted of it.
    pub(super) fn finish(mut self) -> Result<String> {
        let how = if let Some(how) = self.wait(self.lines_wanted)? {
            how
        } else {
            self.child.kill()?;
            "ended by us".to_owned()
        };
        self.text(&how)
    }

    /// Ends it as Ctrl-C does.
    pub(super) fn interrupt(mut self) -> Result<String> {
        if self.child.try_wait()?.is_none() {
            let pid = i32::try_from(self.child.id()).context("a process id that is no pid_t")?;
            kill(Pid::from_raw(pid), Signal::SIGINT)?;
        }
        let how = self.wait(None)?.expect("its end was waited for");
        self.text(&how)
    }

    /// Waits for so many lines, or else for its end. `None` if it goes on; else how it ended.
    fn wait(&mut self, lines: Option<usize>) -> Result<Option<String>> {
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        loop {
            let is_complete = lines.is_some_and(|lines| self.printed.len() >= lines);
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(if is_complete { QUIET } else { left }) {
                Ok(line) => self.printed.push(line),
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Some(self.child.wait()?.to_string()));
                }
                Err(RecvTimeoutError::Timeout) if is_complete => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill()?;
                    return Ok(Some(TIMED_OUT.to_owned()));
                }
            }
        }
    }

    /// All it gave; it has ended, or is about to.
    fn text(mut self, how: &str) -> Result<String> {
        self.child.wait()?;
        // Their place is taken by a thread without work: this one is dropped.
        let errors = mem::replace(&mut self.errors, thread::spawn(|| Ok(String::new())));
        let Ok(errors) = errors.join() else { bail!("reading stderr failed") };
        Ok(format!("{}\n{}{how}", self.printed.join("\n"), errors?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}
