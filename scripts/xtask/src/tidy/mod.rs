//! `cargo xtask tidy`: a test of the repository itself.
//!
//! Rules are pure functions from a [`Tree`] to findings, so that each is tested on a
//! small tree in memory with a violation planted in it. What is allowed is data: see
//! [`layers`] for the direction of dependencies.
//!
//! Not here: anything rustfmt, clippy or rustdoc can say (function length, docs on items, casts).

use std::process::ExitCode;

use anyhow::Result;

use crate::report;
use crate::steps::Outcome;

mod files;
mod goldens;
mod imports;
mod layers;
mod manifests;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod words;

use tree::Tree;

/// Check the repository itself: layers, docs, lengths, golden files, blobs, words
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Something the repository must not hold, at a place a person can open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path, with `:line` where there is one.
    place: String,
    /// What is wrong, and what to do.
    what: String,
}

impl Finding {
    fn new(path: &str, what: impl Into<String>) -> Self {
        Self { place: path.to_owned(), what: what.into() }
    }

    fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { place: format!("{path}:{line}"), what: what.into() }
    }
}

/// One rule: its name, and what it finds.
type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

/// Every rule, in the order in which findings are shown.
const RULES: [Rule; 10] = [
    ("package dependencies go downwards", manifests::packages),
    ("pure packages name no runtime", manifests::runtimes),
    ("imports of packages go downwards", imports::packages),
    ("imports of modules go downwards", imports::modules),
    ("only its adapter names the engine", imports::engines),
    ("every file says what it is", files::documented),
    ("files stay short", files::lengths),
    ("no blobs and no build output", files::blobs),
    ("golden files have tests", goldens::tested),
    ("no unfinished work and no paths of a machine", words::forbidden),
];

/// Runs every rule and prints what was found.
pub(crate) fn run() -> Result<ExitCode> {
    let tree = Tree::of_repository()?;
    let findings = check(&tree);
    for line in &findings {
        report::line(line);
    }
    report::line(&format!("tidy: {}", note(&tree, findings.len())));
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The step of `check`.
pub(crate) fn step() -> Result<Outcome> {
    let tree = Tree::of_repository()?;
    let findings = check(&tree);
    for line in &findings {
        report::error(line);
    }
    let note = note(&tree, findings.len());
    Ok(if findings.is_empty() { Outcome::Passed(note) } else { Outcome::Failed(note) })
}

fn check(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, rule) in RULES {
        let mut findings = rule(tree);
        findings.sort();
        findings.dedup();
        lines.extend(findings.iter().map(|f| format!("{}: {} [{name}]", f.place, f.what)));
    }
    lines
}

fn note(tree: &Tree, findings: usize) -> String {
    format!("{} files, {} rules, {findings} findings", tree.files.len(), RULES.len())
}
