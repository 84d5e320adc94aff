//! `cargo xtask peers`: builds etcd and its tools, and Porcupine, to compare with.
//!
//! The versions are pinned by the Go modules in `scripts/peers`; a program is built again only
//! when its pin or the Go toolchain changes. Go is needed for nothing else but a client of etcd,
//! and without it everything but the comparisons works. Older ones come from [`debian`] and, for
//! `bite`, from [`pypi`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::steps::Outcome;
use crate::{report, workspace};

mod debian;
mod pypi;

pub(crate) use pypi::NAME as OF_PYPI;

/// Build etcd, etcdctl, etcdutl, etcd-dump-logs and Porcupine (needs Go), fetch Debian's etcd 3.4
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build even what is up to date
    #[arg(long)]
    force: bool,
}

/// A program: its name here, the module folder that pins it, and its Go package.
struct Peer {
    name: &'static str,
    module: &'static str,
    package: &'static str,
}

const PEERS: [Peer; 5] = [
    Peer { name: "etcd", module: "scripts/peers", package: "go.etcd.io/etcd/server/v3" },
    Peer { name: "etcdctl", module: "scripts/peers", package: "go.etcd.io/etcd/etcdctl/v3" },
    Peer { name: "etcdutl", module: "scripts/peers", package: "go.etcd.io/etcd/etcdutl/v3" },
    Peer {
        name: "etcd-dump-logs",
        module: "scripts/peers/dump-logs",
        package: "go.etcd.io/etcd/v3/tools/etcd-dump-logs",
    },
    // Our own program around the library, which has none.
    Peer { name: "porcupine", module: "scripts/peers/porcupine", package: "." },
];

/// Builds what is not up to date and says where it is.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    build(args.force)?;
    for peer in &PEERS {
        report::line(&format!("{}", workspace::peer(peer.name).display()));
    }
    match debian::fetch(args.force) {
        Ok(()) => {
            for program in &debian::PROGRAMS {
                report::line(&format!("{}", workspace::peer(program.name).display()));
            }
        }
        Err(reason) => report::line(&format!("left out: {reason:#}")),
    }
    Ok(ExitCode::SUCCESS)
}

/// The step of `test`: without Go it is skipped, and says so.
pub(crate) fn step() -> Result<Outcome> {
    if !is_available() {
        return Ok(Outcome::Skipped(MISSING.to_owned()));
    }
    let built = build(false)?;
    let old = match old() {
        Ok(()) => "3.4 of Debian".to_owned(),
        Err(reason) => format!("left out: {reason:#}"),
    };
    Ok(Outcome::Passed(format!("{built} built, {} up to date; {old}", PEERS.len() - built)))
}

/// Makes sure that `etcd-3.4` and `etcdctl-3.4` are there; an error says why they cannot be had.
pub(crate) fn old() -> Result<()> {
    debian::fetch(false)
}

/// Makes sure that [`OF_PYPI`] is there; an error says why it cannot be had.
pub(crate) fn of_pypi() -> Result<()> {
    pypi::fetch()
}

/// Whether the peers are there or can be built.
pub(crate) fn is_available() -> bool {
    workspace::is_installed("go") || PEERS.iter().all(|peer| workspace::peer(peer.name).is_file())
}

/// What the summary says when comparisons cannot run.
pub(crate) const MISSING: &str = "Go is not installed: no etcd to compare with";

/// Builds every peer that is not up to date; returns how many were built.
pub(crate) fn build(force: bool) -> Result<usize> {
    let folder = workspace::target().join("peers");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let Some(go) = go_version()? else {
        if !force && PEERS.iter().all(|peer| workspace::peer(peer.name).is_file()) {
            return Ok(0);
        }
        bail!(
            "{MISSING}. Install Go from https://go.dev/dl/ (the version is in \
             scripts/peers/go.mod); it is needed only for `peers` and for comparisons with etcd"
        );
    };
    let mut built = 0;
    for peer in &PEERS {
        let pin = pin(&workspace::root().join(peer.module), &go)?;
        let stamp = folder.join(format!("{}.pin", peer.name));
        let binary = workspace::peer(peer.name);
        if !force && binary.is_file() && fs::read_to_string(&stamp).is_ok_and(|old| old == pin) {
            continue;
        }
        compile(peer, &binary)?;
        fs::write(&stamp, pin).with_context(|| format!("cannot write {}", stamp.display()))?;
        built += 1;
    }
    Ok(built)
}

fn compile(peer: &Peer, binary: &Path) -> Result<()> {
    let mut command = Command::new("go");
    command
        .args(["build", "-buildvcs=false", "-mod=readonly", "-o"])
        .arg(binary)
        .arg(peer.package)
        .current_dir(workspace::root().join(peer.module));
    workspace::must(&mut command)
}

/// What decides whether a built program is still the right one: the toolchain, the versions of the
/// modules, and our own source if there is any.
fn pin(module: &Path, go: &str) -> Result<String> {
    let list = || format!("cannot list {}", module.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(module).with_context(list)? {
        files.push(entry.with_context(list)?.path());
    }
    files.sort();
    let mut pin = go.to_owned();
    for file in files.iter().filter(|file| file.is_file()) {
        pin.push('\n');
        let text = fs::read_to_string(file);
        pin.push_str(&text.with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(pin)
}

fn go_version() -> Result<Option<String>> {
    if !workspace::is_installed("go") {
        return Ok(None);
    }
    let mut command = Command::new("go");
    command.arg("version").current_dir(workspace::root().join("scripts/peers"));
    workspace::output(&mut command).map(Some)
}
