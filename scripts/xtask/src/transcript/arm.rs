//! Runs a script against one server.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::normalize::normalize;
use super::script::{Action, Command, Script};
use crate::server::Server;
use crate::workspace;

/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

/// After the last line that is wanted: a line more within this time is a difference.
const QUIET: Duration = Duration::from_millis(300);

/// Lines read from a command and not yet looked at; the reader waits when it is full.
const LINES_QUEUED_MAX: usize = 1024;

/// A command, and everything it gave, normalized.
pub(super) struct Exchange {
    /// Line in the script.
    pub(super) line: usize,
    /// As written.
    pub(super) command: String,
    /// Exit code, stdout and stderr.
    pub(super) text: String,
}

/// Runs every step in order.
pub(super) fn run(script: &Script, server: &Server) -> Result<Vec<Exchange>> {
    let mut arm = Arm { server, ids: BTreeMap::new(), started: BTreeMap::new() };
    let mut exchanges = Vec::new();
    for step in &script.steps {
        match &step.action {
            Action::Run(command) => {
                let running = arm.start(command)?;
                exchanges.push(arm.finish(step.line, running)?);
            }
            Action::Start(name, command) => {
                let running = arm.start(command)?;
                arm.started.insert(name.clone(), running);
            }
            Action::Await(name) => {
                let running = arm.started.remove(name).context("nothing of this name runs")?;
                exchanges.push(arm.finish(step.line, running)?);
            }
        }
    }
    Ok(exchanges)
}

struct Arm<'a> {
    server: &'a Server,
    /// Ids that the server chose, by the name the script gives them.
    ids: BTreeMap<String, u64>,
    started: BTreeMap<String, Running>,
}

struct Running {
    child: Child,
    text: String,
    id_name: Option<String>,
    lines_wanted: Option<usize>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

impl Arm<'_> {
    fn start(&self, command: &Command) -> Result<Running> {
        let mut etcdctl = std::process::Command::new(workspace::peer("etcdctl"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCDCTL_") {
                etcdctl.env_remove(name);
            }
        }
        let arguments = command.arguments.iter().map(|argument| self.with_ids(argument));
        let mut child = etcdctl
            .args(["--endpoints", &self.server.client_address()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start etcdctl: cargo xtask peers")?;
        let mut stdin = child.stdin.take().expect("stdin was asked for");
        stdin.write_all(self.with_ids(&command.stdin).as_bytes())?;
        drop(stdin);
        Ok(Running {
            child,
            text: command.text.clone(),
            id_name: command.id_name.clone(),
            lines_wanted: command.lines_wanted,
        })
    }

    fn finish(&mut self, line: usize, mut running: Running) -> Result<Exchange> {
        let stdout = running.child.stdout.take().expect("stdout was asked for");
        let mut stderr = running.child.stderr.take().expect("stderr was asked for");
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
        let deadline = Instant::now() + COMMAND_TIMEOUT;
        let mut printed: Vec<String> = Vec::new();
        let exit = loop {
            let is_complete = running.lines_wanted.is_some_and(|wanted| printed.len() >= wanted);
            let patience = if is_complete {
                QUIET
            } else {
                deadline.saturating_duration_since(Instant::now())
            };
            match lines.recv_timeout(patience) {
                Ok(line) => printed.push(line),
                Err(RecvTimeoutError::Disconnected) => break running.child.wait()?.to_string(),
                Err(RecvTimeoutError::Timeout) => {
                    running.child.kill()?;
                    running.child.wait()?;
                    break if is_complete { "ended by us" } else { "TIMED OUT" }.to_owned();
                }
            }
        };
        let Ok(errors) = errors.join() else { bail!("reading stderr failed") };
        let text = printed.join("\n");
        if let Some(name) = &running.id_name {
            self.ids.insert(name.clone(), find_id(&text).context("no id was printed")?);
        }
        let errors = errors?;
        let all = self.without_ids(&format!("{text}\n{errors}{exit}"));
        let text = normalize(&all, &self.server.client_address());
        Ok(Exchange { line, command: running.text.clone(), text })
    }

    fn with_ids(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (name, id)| {
            text.replace(&format!("{{{name}}}"), &format!("{id:x}"))
        })
    }

    fn without_ids(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (name, id)| {
            let name = format!("{{{name}}}");
            text.replace(&format!("{id:016x}"), &name)
                .replace(&format!("{id:x}"), &name)
                .replace(&id.to_string(), &name)
        })
    }
}

/// The id in "lease 694d7c1e9f2b3a11 granted with ...".
fn find_id(text: &str) -> Option<u64> {
    text.split_whitespace()
        .filter(|word| word.len() >= 12)
        .find_map(|word| u64::from_str_radix(word, 16).ok())
}
