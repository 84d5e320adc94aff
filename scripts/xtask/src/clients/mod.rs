//! `cargo xtask clients`: programs that use etcd's client libraries see on rusd what they see on
//! etcd.
//!
//! Each of [`languages`] has a script in `scripts/clients`, which prints a line per thing it did. It
//! runs twice, each time on a fresh member on the same ports: once on etcd, once on rusd. What it
//! prints must be equal, line by line; what may differ is not printed. On etcd a script must come to
//! its end, or it says nothing about rusd.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::difference::difference;
use crate::server::{Addresses, Options, Server, System};
use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{peers, report, workspace};

mod languages;

use languages::{LANGUAGES, Language};

/// Compare what programs with etcd's client libraries see on rusd and on etcd
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this language: go, node, python or rust
    #[arg(long)]
    only: Option<String>,
    /// Compare this server instead of rusd's release build
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Print what the scripts print on etcd as well
    #[arg(long)]
    show: bool,
}

/// Builds what is needed and compares.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if peers::is_available() {
        peers::build(false)?;
    }
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => Binaries::release()?.server().to_owned(),
    };
    let wanted = |language: &&Language| args.only.as_ref().is_none_or(|o| o == language.name);
    let mut steps = Steps::default();
    for language in LANGUAGES.iter().filter(wanted) {
        steps.run(&language.title(), || compare(language, &binary, args.show));
    }
    Ok(steps.finish("cargo xtask clients"))
}

/// The steps of `test`.
pub(crate) fn steps(steps: &mut Steps, binaries: &Binaries) {
    for language in &LANGUAGES {
        steps.run(&language.title(), || compare(language, binaries.server(), false));
    }
}

fn compare(language: &Language, binary: &Path, show: bool) -> Result<Outcome> {
    if !peers::is_available() {
        return Ok(Outcome::Skipped(peers::MISSING.to_owned()));
    }
    if let Some(tool) = language.tools.iter().find(|tool| !workspace::is_installed(tool)) {
        return Ok(Outcome::Skipped(format!("{tool} is not installed")));
    }
    language.prepare()?;
    let addresses = Addresses::free()?;
    let run = |system, binary: &Path| {
        let server = Server::start(&Options::new(system, binary)?.addresses(addresses))?;
        printed(&mut language.command(&server.client_address()))
            .with_context(|| format!("{} on {}", language.name, system.name()))
    };
    let (wanted, is_whole) = run(System::Etcd, &workspace::peer("etcd"))?;
    if show {
        report::line(wanted.trim_end());
    }
    if !is_whole {
        let last = wanted.lines().last().unwrap_or_default();
        bail!("the script does not come to its end on etcd: {last}");
    }
    let (seen, is_whole) = run(System::Rusd, binary)?;
    let lines = difference(&wanted, &seen);
    for line in &lines {
        report::line(line);
    }
    let count =
        |mark: &str| lines.iter().filter(|line| line.trim_start().starts_with(mark)).count();
    let note = format!(
        "{} lines, {} missing and {} others on rusd",
        wanted.lines().count(),
        count("- "),
        count("+ ")
    );
    Ok(if lines.is_empty() && is_whole { Outcome::Passed(note) } else { Outcome::Failed(note) })
}

/// What a script prints, and whether it came to its end.
fn printed(command: &mut Command) -> Result<(String, bool)> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let text = String::from_utf8(output.stdout).context("output is not UTF-8")?;
    if !output.status.success() {
        report::error(String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok((text, output.status.success()))
}
