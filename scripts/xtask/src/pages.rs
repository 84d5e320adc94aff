//! `cargo xtask pages`: what loadgen and the checker show people, opened in a browser.
//!
//! Pages are made: of a run with faults, of a run whose history is invalid, of a comparison; and the
//! timelines of both histories, of transactions, of a history full of markup, and of a million
//! operations. Each is opened in light and dark, 1280 and 400 pixels wide. Nothing may be said on the
//! console or loaded from elsewhere, nothing may be wider than the window, every text must be readable
//! and stand clear of the others; a timeline must open at the violation, and draw quickly, and only what
//! can be seen, while somebody moves through it (`scripts/pages/look.mjs`). The pictures stay, for
//! whoever wants to judge what a program cannot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::run_folder::{Ended, Run};
use crate::server::{Options, Server, System};
use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{pinned, report, run_folder, workspace};

/// Open the pages of runs, of a comparison and of histories in a headless browser
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The browser, instead of the one that npm installs: any Chromium
    #[arg(long)]
    browser: Option<PathBuf>,
    /// Look at these pages, instead of making some
    pages: Vec<PathBuf>,
}

/// Name of the page in a folder of loadgen's.
const PAGE: &str = "report.html";

/// Makes the pages, unless some are named, and looks at them.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(tool) = missing_tool() {
        bail!("{tool} is not installed, which drives the browser");
    }
    let named = args.pages.iter().zip(1..).map(|(path, place)| (format!("page-{place}"), path));
    let mut pages: Pages = named.map(|(name, path)| (name, path.clone())).collect();
    if pages.is_empty() {
        let binaries = Binaries::release()?;
        pages = made(&binaries, with_faults(&binaries)?)?;
    }
    report::line(&look(&pages, args.browser.as_deref())?);
    Ok(ExitCode::SUCCESS)
}

/// The step of `test`, below `judged` of which is a run with faults already.
pub(crate) fn step(steps: &mut Steps, binaries: &Binaries, judged: &Path) {
    steps.run("pages in a browser", || {
        if let Some(tool) = missing_tool() {
            return Ok(Outcome::Skipped(format!("{tool} is not installed")));
        }
        let with_faults = run_folder::newest(judged).context("no run with faults was left")?;
        let pages = made(binaries, with_faults.join(PAGE))?;
        look(&pages, None).map(Outcome::Passed)
    });
}

/// Pages, each with what its pictures are called.
type Pages = Vec<(String, PathBuf)>;

/// One page of each sort.
fn made(binaries: &Binaries, with_faults: PathBuf) -> Result<Pages> {
    let invalid = invalid(binaries)?;
    let beside = |page: &Path| page.with_file_name(HISTORY);
    let in_tree = |path| workspace::root().join(path);
    let million = million(binaries)?;
    let timelines = [
        ("timeline-with-faults", beside(&with_faults), Ended::Valid),
        ("timeline-invalid", beside(&invalid), Ended::Invalid),
        ("timeline-transactions", in_tree(WRITE_SKEW), Ended::Invalid),
        ("timeline-hostile", in_tree("scripts/pages/hostile.jsonl"), Ended::Invalid),
        ("timeline-million", million.clone(), Ended::Valid),
    ];
    let mut pages = vec![
        ("with-faults".to_owned(), with_faults),
        ("invalid".to_owned(), invalid),
        ("compared".to_owned(), compared(binaries)?),
    ];
    for (name, history, verdict) in timelines {
        pages.push((name.to_owned(), timeline(binaries, name, &history, verdict)?));
    }
    // Ten times as large as its page.
    fs::remove_file(million)?;
    Ok(pages)
}

/// The history in a folder of loadgen's.
const HISTORY: &str = "history.jsonl";

/// Two transactions each of which comes before the other.
const WRITE_SKEW: &str = "checker/testdata/transactions/invalid/write_skew.edn";

/// A page that is larger is not sent to anybody.
const PAGE_BYTES_MAX: u64 = 60_000_000;

/// The timeline of a history that has this verdict.
fn timeline(binaries: &Binaries, name: &str, history: &Path, verdict: Ended) -> Result<PathBuf> {
    let page = folder("timelines").join(format!("{name}.html"));
    let mut command = Command::new(binaries.checker());
    command.arg("check").arg(history).arg("--timeline").arg(&page).stdout(Stdio::null());
    let wanted = i32::from(verdict == Ended::Invalid);
    let status = workspace::status(&mut command)?;
    ensure!(status.code() == Some(wanted), "{name} is not {}: {status}", verdict.name());
    let bytes = fs::metadata(&page).with_context(|| format!("no {}", page.display()))?.len();
    ensure!(bytes <= PAGE_BYTES_MAX, "{}: {bytes} bytes", page.display());
    report::progress(&format!("{name}: {bytes} bytes"));
    Ok(page)
}

/// A history of a million operations.
fn million(binaries: &Binaries) -> Result<PathBuf> {
    let folder = folder("timelines");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let history = folder.join("million.jsonl");
    let mut command = Command::new(binaries.checker());
    command.arg("generate").arg(&history).args(["--operations", "1000000", "--seed", "1"]);
    workspace::must(&mut command)?;
    Ok(history)
}

fn missing_tool() -> Option<&'static str> {
    pinned::NODE.into_iter().find(|tool| !workspace::is_installed(tool))
}

/// Looks at pages; an error if something is wrong with one. Says how much was looked at.
fn look(pages: &Pages, browser: Option<&Path>) -> Result<String> {
    let source = workspace::root().join("scripts/pages");
    let (installed, pictures) = (folder("browser"), folder("pictures"));
    pinned::npm(&source, &installed)?;
    let mut command = Command::new("node");
    command.arg(source.join("look.mjs"));
    if let Some(browser) = browser {
        command.arg("--browser").arg(browser);
    }
    command.arg(&pictures);
    command.args(pages.iter().map(|(name, path)| format!("{name}={}", path.display())));
    // The browser is unpacked into the folder for temporary files.
    command.env("PAGES_MODULES", installed.join("node_modules")).env("TMPDIR", &installed);
    let mut said = String::new();
    let status = workspace::tee(&mut command, &mut |line| line.clone_into(&mut said))?;
    ensure!(status.success(), "{said}; the pictures are in {}", pictures.display());
    Ok(format!("{said}, in {}", pictures.display()))
}

fn folder(name: &str) -> PathBuf {
    workspace::target().join("pages").join(name)
}

fn page_of(run: &Run, wanted: Ended) -> Result<PathBuf> {
    ensure!(run.ended == wanted, "the run was {}, see {}", run.ended.name(), run.place());
    let folder = run.folder.as_ref().context("loadgen left no folder")?;
    Ok(folder.join(PAGE))
}

/// All kinds of faults, and service levels of which one is kept and one is not.
fn with_faults(binaries: &Binaries) -> Result<PathBuf> {
    let workload = Path::new("workloads/mixed-faults.toml");
    let run = Run::of(binaries, workload, &folder("with-faults"), |command| {
        command.args(["--seed", "1"]);
    })?;
    page_of(&run, Ended::Valid)
}

/// Two servers that know nothing of each other, shown to loadgen as members of one cluster.
fn invalid(binaries: &Binaries) -> Result<PathBuf> {
    let start = || Server::start(&Options::new(System::Rusd, binaries.server())?);
    let servers = [start()?, start()?];
    let endpoints = servers.each_ref().map(Server::client_address).join(",");
    let workload = Path::new("scripts/pages/split.toml");
    let run = Run::of(binaries, workload, &folder("invalid"), |command| {
        command.args(["--endpoints", &endpoints, "--seed", "1"]);
    })?;
    page_of(&run, Ended::Invalid)
}

/// The engine of rusd beside one that keeps nothing.
fn compared(binaries: &Binaries) -> Result<PathBuf> {
    let out = folder("compared");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let system = format!("rusd={}", binaries.server().display());
    let mut command = Command::new(binaries.loadgen());
    command.arg("compare").arg(&system).arg(format!("{system} --backend=memory"));
    command.args(["--workload", "workloads/quickstart.toml", "--duration", "1s", "--rounds", "2"]);
    command.args(["--rate", "200", "--seed", "1", "--fail-if", "p50>1.5,cpu>100"]);
    workspace::must(command.arg("--out").arg(&out).current_dir(workspace::root()))?;
    let mut found = Vec::new();
    for workload in fs::read_dir(&out)? {
        for comparison in fs::read_dir(workload?.path())? {
            found.push(comparison?.path().join(PAGE));
        }
    }
    found.pop().context("the comparison left no folder")
}
