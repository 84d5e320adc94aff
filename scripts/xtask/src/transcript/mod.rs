//! `cargo xtask transcript`: what etcdctl prints against rusd is what it prints against etcd.
//!
//! The scripts in `scripts/transcript/*.txt` are run twice with each etcdctl, every time on a fresh
//! cluster on the same ports: once on etcd, once on rusd. Exit codes, stdout and stderr of every
//! command must be equal after [`normalize`] has taken out what may differ. Nothing else is
//! forgiven.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::difference::difference;
use crate::server::{Addresses, Scratch, System};
use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{certificates, peers, report, workspace};

mod arm;
mod cluster;
mod logs;
mod normalize;
mod running;
mod script;

use arm::Exchange;
use cluster::{Cluster, Site};
use script::Script;

/// On as many clusters.
const SCRIPTS_AT_ONCE: usize = 3;

/// Compare what etcdctl, of 3.7 and of 3.4, prints against rusd and against etcd
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scripts to run; all of scripts/transcript/*.txt by default
    scripts: Vec<PathBuf>,
    /// Compare this server instead of rusd's release build
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Print every exchange with etcd as well
    #[arg(long)]
    show: bool,
}

/// Builds what is needed and compares.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    peers::build(false)?;
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => Binaries::release()?.server().to_owned(),
    };
    let scripts = if args.scripts.is_empty() { all_scripts()? } else { args.scripts.clone() };
    let mut steps = Steps::default();
    for etcdctl in ETCDCTLS {
        steps.run(etcdctl.title, || etcdctl.compare(&scripts, &binary, args.show));
    }
    Ok(steps.finish("cargo xtask transcript"))
}

/// The steps of `test`.
pub(crate) fn steps(steps: &mut Steps, binaries: &Binaries) {
    for etcdctl in ETCDCTLS {
        steps.run(etcdctl.title, || etcdctl.compare(&all_scripts()?, binaries.server(), false));
    }
}

/// An etcdctl that scripts are run with.
struct Etcdctl {
    /// In `target/peers`.
    name: &'static str,
    /// Of its step.
    title: &'static str,
    /// An error says why it cannot be had.
    fetch: fn() -> Result<()>,
}

const ETCDCTLS: [Etcdctl; 2] = [
    Etcdctl {
        name: "etcdctl",
        title: "transcript: rusd answers etcdctl 3.7 as etcd does",
        fetch: || Ok(()),
    },
    Etcdctl {
        name: "etcdctl-3.4",
        title: "transcript: rusd answers etcdctl 3.4 as etcd does",
        fetch: peers::old,
    },
];

impl Etcdctl {
    fn compare(&self, scripts: &[PathBuf], binary: &Path, show: bool) -> Result<Outcome> {
        if !peers::is_available() {
            return Ok(Outcome::Skipped(peers::MISSING.to_owned()));
        }
        if let Err(reason) = (self.fetch)() {
            return Ok(Outcome::Skipped(format!("{reason:#}")));
        }
        let etcdctl = workspace::peer(self.name);
        // They wait more than they work.
        let left = Mutex::new(scripts.iter());
        let next = || left.lock().expect("taking one does not panic").next();
        let work = || {
            let mut compared = Compared::default();
            while let Some(path) = next() {
                compare(path, &etcdctl, binary, show, &mut compared)
                    .with_context(|| path.display().to_string())?;
            }
            anyhow::Ok(compared)
        };
        let compared = thread::scope(|scope| {
            let workers: Vec<_> = (0..SCRIPTS_AT_ONCE).map(|_| scope.spawn(work)).collect();
            let ended = workers.into_iter().map(|it| it.join().expect("comparing does not panic"));
            ended.collect::<Result<Vec<Compared>>>()
        })?;
        let commands: usize = compared.iter().map(|it| it.commands).sum();
        let differing: Vec<String> = compared.into_iter().flat_map(|it| it.differing).collect();
        let note = format!("{commands} commands, {} with different output", differing.len());
        Ok(if differing.is_empty() {
            Outcome::Passed(note)
        } else {
            Outcome::Failed(format!("{note}: {}", differing.join("; ")))
        })
    }
}

fn all_scripts() -> Result<Vec<PathBuf>> {
    let folder = workspace::root().join("scripts/transcript");
    let mut scripts = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            scripts.push(path);
        }
    }
    scripts.sort();
    if scripts.is_empty() {
        bail!("no scripts in {}", folder.display());
    }
    Ok(scripts)
}

/// What came of scripts.
#[derive(Default)]
struct Compared {
    commands: usize,
    /// Those that differ.
    differing: Vec<String>,
}

/// Runs a script on both systems.
fn compare(
    path: &Path,
    etcdctl: &Path,
    binary: &Path,
    show: bool,
    compared: &mut Compared,
) -> Result<()> {
    let script = Script::parse(&fs::read_to_string(path)?)?;
    let addresses = Addresses::several(script.members + script.joiners)?;
    let certificates = Scratch::new("certificates")?;
    certificates::make(certificates.path())?;
    let run = |system: System, binary: &Path| {
        let site = Site { addresses: &addresses, certificates: certificates.path() };
        play(&script, etcdctl, system, binary, &site)
            .with_context(|| format!("on {}", system.name()))
    };
    let etcd = run(System::Etcd, &workspace::peer("etcd"))?;
    let rusd = run(System::Rusd, binary)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let named = |exchange: &Exchange| format!("{name}:{}: {}", exchange.line, exchange.command);
    // A command that did not run is one that differs.
    compared.differing.extend(etcd.iter().skip(rusd.len()).map(named));
    compared.commands += etcd.len();
    for (wanted, seen) in etcd.iter().zip(&rusd) {
        if show {
            report::line(&format!("$ {}\n{}", wanted.command, wanted.text));
        }
        if wanted.is_timed_out() {
            bail!("line {}: etcdctl {} times out on etcd", wanted.line, wanted.command);
        }
        if wanted.text != seen.text {
            let mut lines = vec![named(wanted)];
            lines.extend(difference(&wanted.text, &seen.text));
            report::line(&lines.join("\n"));
            compared.differing.push(named(wanted));
        }
    }
    Ok(())
}

/// Plays a script to a fresh cluster of a system.
fn play(
    script: &Script,
    etcdctl: &Path,
    system: System,
    binary: &Path,
    site: &Site<'_>,
) -> Result<Vec<Exchange>> {
    let data = Scratch::new("data")?;
    let mut cluster = Cluster::start(script, system, binary, site, data.path())?;
    let (mut exchanges, ids) = arm::run(script, etcdctl, &mut cluster)?;
    if script.compares_logs {
        for folder in cluster.stop()? {
            exchanges.push(logs::dump(&folder, &ids)?);
        }
    }
    Ok(exchanges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_parses() {
        for path in all_scripts().unwrap() {
            let script = Script::parse(&fs::read_to_string(&path).unwrap()).unwrap();
            assert!(!script.steps.is_empty(), "{}", path.display());
        }
    }
}
