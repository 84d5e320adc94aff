//! Runs a script against one cluster.

use std::collections::BTreeMap;
use std::path::Path;
use std::process;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use regex::Regex;
use serde_json::Value;

use super::cluster::Cluster;
use super::normalize::normalize;
use super::running::{Running, TIMED_OUT};
use super::script::{Action, Command, Script};
use crate::server::Server;
use crate::workspace;

/// A command, and everything it gave, normalized.
pub(super) struct Exchange {
    /// Line in the script.
    pub(super) line: usize,
    /// As written.
    pub(super) command: String,
    /// Exit code, stdout and stderr.
    pub(super) text: String,
}

impl Exchange {
    /// The command did not do in time what was waited for.
    pub(super) fn is_timed_out(&self) -> bool {
        self.text.ends_with(TIMED_OUT)
    }
}

/// Runs every step in order, with the given etcdctl; up to the first that times out, since what
/// comes after it would wait for what did not happen.
pub(super) fn run(
    script: &Script,
    etcdctl: &Path,
    cluster: &mut Cluster<'_>,
) -> Result<(Vec<Exchange>, Ids)> {
    let (ids, started) = (Ids::default(), BTreeMap::new());
    let mut arm = Arm { etcdctl, cluster, is_https: script.is_https, ids, started };
    arm.name_members()?;
    let mut exchanges = Vec::new();
    for step in &script.steps {
        let done = arm.step(&step.action).with_context(|| format!("line {}", step.line))?;
        if let Some((command, text)) = done {
            exchanges.push(Exchange { line: step.line, command, text: normalize(&text) });
        }
        if exchanges.last().is_some_and(Exchange::is_timed_out) {
            break;
        }
    }
    Ok((exchanges, arm.ids))
}

/// Ids that a server chose, by the name that the script gives them.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeMap<String, u64>);

impl Ids {
    /// The names in place of the ids, which etcdctl fills to their full width with zeros, with
    /// spaces, or not.
    pub(super) fn take_out_of(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, id)| {
            let name = format!("{{{name}}}");
            text.replace(&format!("{id:016x}"), &name)
                .replace(&format!(" {id:16x}"), &format!(" {name}"))
                .replace(&format!("{id:x}"), &name)
                .replace(&id.to_string(), &name)
        })
    }

    /// The ids in place of the names.
    fn put_into(&self, text: String) -> String {
        self.0
            .iter()
            .fold(text, |text, (name, id)| text.replace(&format!("{{{name}}}"), &format!("{id:x}")))
    }
}

struct Arm<'a, 'c> {
    etcdctl: &'a Path,
    cluster: &'a mut Cluster<'c>,
    is_https: bool,
    ids: Ids,
    started: BTreeMap<String, (Command, Running)>,
}

impl Arm<'_, '_> {
    /// Does a step; returns a command as written, and what it gave.
    fn step(&mut self, action: &Action) -> Result<Option<(String, String)>> {
        let (command, text) = match action {
            Action::Start(name, command) => {
                let running = self.start(command)?;
                self.started.insert(name.clone(), (command.clone(), running));
                return Ok(None);
            }
            Action::Join => {
                self.cluster.join()?;
                return Ok(None);
            }
            Action::Run(command) => (command.clone(), self.start(command)?.finish()?),
            Action::Until(name, lines) => {
                let (command, mut running) = self.take(name)?;
                let text = running.until(*lines)?;
                self.started.insert(name.clone(), (command.clone(), running));
                (command, text)
            }
            Action::Await(name) => {
                let (command, running) = self.take(name)?;
                (command, running.finish()?)
            }
            Action::Interrupt(name) => {
                let (command, running) = self.take(name)?;
                (command, running.interrupt()?)
            }
        };
        if let Some(name) = &command.id_name {
            self.ids.0.insert(name.clone(), find_id(&text).context("no id was printed")?);
        }
        Ok(Some((command.text, self.ids.take_out_of(&text))))
    }

    fn take(&mut self, name: &str) -> Result<(Command, Running)> {
        self.started.remove(name).with_context(|| format!("no command named {name} runs"))
    }

    fn start(&self, command: &Command) -> Result<Running> {
        let mut etcdctl = self.etcdctl();
        let arguments: Vec<String> =
            command.arguments.iter().map(|argument| self.with_ids(argument)).collect();
        if !arguments.iter().any(|argument| argument.starts_with("--endpoints")) {
            let address = if self.is_https { Server::client_url } else { Server::client_address };
            let all: Vec<String> = self.cluster.members().iter().map(address).collect();
            etcdctl.args(["--endpoints", &all.join(",")]);
        }
        etcdctl.args(arguments);
        Running::start(&mut etcdctl, &self.with_ids(&command.stdin), command.lines_wanted)
    }

    fn etcdctl(&self) -> process::Command {
        let mut etcdctl = process::Command::new(self.etcdctl);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCDCTL_") {
                etcdctl.env_remove(name);
            }
        }
        etcdctl
    }

    /// Learns the ids of several members; the first one must lead.
    fn name_members(&mut self) -> Result<()> {
        if self.cluster.members().len() == 1 {
            return Ok(());
        }
        for (position, member) in self.cluster.members().iter().enumerate() {
            let mut etcdctl = self.etcdctl();
            etcdctl.args(["--endpoints", &member.client_address()]);
            let text = workspace::output(etcdctl.args(["endpoint", "status", "-w", "json"]))?;
            let status: Value = serde_json::from_str(&text).context("a status in JSON")?;
            let id = |pointer: &str| {
                status.pointer(pointer).and_then(Value::as_u64).context("an id is missing")
            };
            let (own, leader) = (id("/0/Status/header/member_id")?, id("/0/Status/leader")?);
            if position == 0 && own != leader {
                bail!("the first member does not lead");
            }
            self.ids.0.insert(format!("m{}", position + 1), own);
        }
        Ok(())
    }

    fn with_ids(&self, text: &str) -> String {
        self.ids.put_into(self.cluster.put_into(text))
    }
}

/// The id in "lease 694d7c1e9f2b3a11 granted with ...", or in the key "a/694d7c1e9f2b3a11".
fn find_id(text: &str) -> Option<u64> {
    static ID: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b[0-9a-f]{12,16}\b").expect("the pattern is tested"));
    ID.find(text).and_then(|id| u64::from_str_radix(id.as_str(), 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_is_named_however_wide_it_is_printed() {
        let ids = Ids(BTreeMap::from([("M".to_owned(), 0xd8f_ac10_dd75_ceab)]));
        for text in
            ["0d8fac10dd75ceab", " d8fac10dd75ceab", "d8fac10dd75ceab", "977188832597626539"]
        {
            assert_eq!(ids.take_out_of(&format!("Member {text} added")), "Member {M} added");
        }
    }

    #[test]
    fn an_id_is_found_in_a_sentence_and_in_a_key() {
        assert_eq!(find_id("lease 694d7c1e9f2b3a11 granted"), Some(0x694d_7c1e_9f2b_3a11));
        assert_eq!(find_id("lock/4c2ba2141e87b\n"), Some(0x4_c2ba_2141_e87b));
        assert_eq!(find_id("granted with TTL(60s)"), None);
    }
}
