//! `cargo xtask generate`: random requests, answered by rusd as by etcd.
//!
//! Two steps: many short streams on rusd and etcd side by side, and one long stream with the hash
//! of everything compared after each request. `test` runs a shorter pass of both.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{peers, report, workspace};

/// Send random streams of requests to rusd and to etcd; all answers must be the same
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many streams
    #[arg(long, default_value_t = 20_000)]
    streams: u64,
    /// Requests of the stream whose hashes are compared after each
    #[arg(long, default_value_t = 10_000)]
    hashed: u64,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the servers' data; one in memory, such as /dev/shm, makes it faster
    #[arg(long)]
    data: Option<PathBuf>,
    /// Keep what was found in results/generate.md
    #[arg(long)]
    keep: bool,
}

/// Of the pass of `test`.
const STREAMS_TESTED: u64 = 200;
const HASHED_TESTED: u64 = 500;

/// Builds what is needed, runs both steps, prints a summary.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binaries = Binaries::release()?;
    let commit = workspace::commit();
    let mut steps = Steps::default();
    let pages = both(&mut steps, &binaries, args);
    let code = steps.finish("cargo xtask generate");
    if args.keep {
        let mut lines = vec![
            "# Random streams on rusd and etcd 3.7.3 side by side".to_owned(),
            String::new(),
            format!("`cargo xtask generate --seed {}`, commit {commit}.", args.seed),
        ];
        for (title, page) in pages {
            lines.extend([String::new(), format!("## {title}"), String::new(), page]);
        }
        report::keep("generate.md", &lines)?;
    }
    Ok(code)
}

/// The steps of `test`.
pub(crate) fn steps(steps: &mut Steps, binaries: &Binaries) {
    let args =
        Args { streams: STREAMS_TESTED, hashed: HASHED_TESTED, seed: 1, data: None, keep: false };
    both(steps, binaries, &args);
}

/// Runs both steps; returns the tables that each printed.
fn both(steps: &mut Steps, binaries: &Binaries, args: &Args) -> Vec<(&'static str, String)> {
    let (streams, hashed) = (args.streams.to_string(), args.hashed.to_string());
    let mut pages = Vec::new();
    for (title, name, arguments) in [
        ("Streams of 50 requests", "streams", ["--streams", streams.as_str()].as_slice()),
        (
            "Hashes after every request",
            "hashes",
            &["--streams", "1", "--requests", &hashed, "--hash-every", "1"],
        ),
    ] {
        steps.run(&format!("generate: {}", title.to_lowercase()), || {
            if !peers::is_available() {
                return Ok(Outcome::Skipped(peers::MISSING.to_owned()));
            }
            peers::build(false)?;
            let out = workspace::target().join("ci").join(format!("generate-{name}"));
            let mut generate = Generate::new(binaries, out);
            generate.command.args(arguments).args(["--seed", &args.seed.to_string()]);
            if let Some(data) = &args.data {
                generate.command.arg("--data").arg(data);
            }
            let found = generate.run()?;
            pages.push((title, found.page));
            let note = found.headline;
            Ok(if found.differences.is_empty() {
                Outcome::Passed(note)
            } else {
                Outcome::Failed(note)
            })
        });
    }
    pages
}

/// A run of `loadgen conform generate`.
pub(crate) struct Generate {
    /// For more arguments.
    pub(crate) command: Command,
    out: PathBuf,
}

/// What a run found.
pub(crate) struct Found {
    /// In one line.
    pub(crate) headline: String,
    /// How many requests each difference was shrunk to.
    pub(crate) differences: Vec<Difference>,
    page: String,
}

/// A stream on which the servers differ.
pub(crate) struct Difference {
    /// What it was shrunk to.
    pub(crate) requests: u64,
    /// The script.
    pub(crate) script: String,
}

impl Generate {
    /// Of this server and etcd, with results in a folder.
    pub(crate) fn new(binaries: &Binaries, out: PathBuf) -> Generate {
        let mut command = Command::new(binaries.loadgen());
        command.args(["conform", "generate", "--binary"]).arg(binaries.server());
        command.arg("--against-binary").arg(workspace::peer("etcd")).arg("--out").arg(&out);
        Generate { command, out }
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<Found> {
        let json = self.out.join("generate.json");
        if json.exists() {
            std::fs::remove_file(&json)?;
        }
        let status = workspace::tee(&mut self.command, &mut |_line| {})?;
        let text = std::fs::read_to_string(&json).with_context(|| {
            format!("loadgen ended with {status} and left no {}", json.display())
        })?;
        let page = std::fs::read_to_string(self.out.join("generate.md"))?;
        report::progress(&format!("kept in {}", self.out.display()));
        Found::read(&serde_json::from_str(&text)?, page)
    }
}

impl Found {
    /// What a test says was found.
    #[cfg(test)]
    pub(crate) fn of(differences: Vec<Difference>) -> Found {
        Found { headline: String::new(), differences, page: String::new() }
    }

    fn read(json: &Value, page: String) -> Result<Found> {
        let headline = json["headline"].as_str().context("no headline")?.to_owned();
        let found = json["found"].as_array().context("no list of differences")?;
        let differences = found.iter().map(|found| {
            let script = found["script"].as_str().context("no script")?.to_owned();
            Ok(Difference { requests: found["requests"].as_u64().context("no count")?, script })
        });
        Ok(Found { headline, differences: differences.collect::<Result<_>>()?, page })
    }
}
