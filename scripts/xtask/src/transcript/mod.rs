//! `cargo xtask transcript`: what etcdctl prints against rusd is what it prints against etcd.
//!
//! The scripts in `scripts/transcript/*.txt` are run twice, each time on a fresh member on the
//! same ports: once on etcd, once on rusd. Exit codes, stdout and stderr of every command must be
//! equal after [`normalize`] has taken out what may differ. Nothing else is forgiven.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::difference::difference;
use crate::server::{Addresses, Options, Server, System};
use crate::steps::Outcome;
use crate::{peers, report, workspace};

mod arm;
mod normalize;
mod script;

use arm::Exchange;
use script::Script;

/// Compare what etcdctl prints against rusd and against etcd
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
        None => workspace::build_release(&["rusd"])?.join("rusd"),
    };
    let scripts = if args.scripts.is_empty() { all_scripts()? } else { args.scripts.clone() };
    let compared = compare(&scripts, &binary, args.show)?;
    report::line(&compared.note());
    Ok(if compared.differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The step of `test`.
pub(crate) fn step() -> Result<Outcome> {
    if !peers::is_available() {
        return Ok(Outcome::Skipped(peers::MISSING.to_owned()));
    }
    let binary = workspace::target().join("release/rusd");
    let compared = compare(&all_scripts()?, &binary, false)?;
    let note = compared.note();
    Ok(if compared.differing == 0 { Outcome::Passed(note) } else { Outcome::Failed(note) })
}

#[derive(Default)]
struct Compared {
    commands: usize,
    differing: usize,
}

impl Compared {
    fn note(&self) -> String {
        format!("{} commands, {} with different output", self.commands, self.differing)
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

fn compare(scripts: &[PathBuf], binary: &Path, show: bool) -> Result<Compared> {
    let mut compared = Compared::default();
    for path in scripts {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let script = Script::parse(&text).with_context(|| path.display().to_string())?;
        let addresses = Addresses::free()?;
        let run = |system, binary: &Path| -> Result<Vec<Exchange>> {
            let options = Options::new(system, binary)?.addresses(addresses);
            let server = Server::start(&options)?;
            arm::run(&script, &server)
                .with_context(|| format!("{} on {}", path.display(), system.name()))
        };
        let etcd = run(System::Etcd, &workspace::peer("etcd"))?;
        let rusd = run(System::Rusd, binary)?;
        for (wanted, seen) in etcd.iter().zip(&rusd) {
            compared.commands += 1;
            if show {
                report::line(&format!("$ {}\n{}", wanted.command, wanted.text));
            }
            if wanted.text != seen.text {
                compared.differing += 1;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                report::line(&format!("{name}:{}: etcdctl {}", wanted.line, wanted.command));
                for line in difference(&wanted.text, &seen.text) {
                    report::line(&line);
                }
            }
        }
    }
    Ok(compared)
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
