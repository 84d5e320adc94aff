//! Folders of runs that have ended, read back.
//!
//! A folder is known by its `run.json`; see [`crate::report::schema`] for what that holds. Runs of
//! other versions are read as far as they tell.

pub mod listing;
pub mod validate;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::report::{TRACE, WORKLOAD};
use crate::workload::Overrides;

/// Name of a run's report for programs.
pub const RUN: &str = "run.json";
/// Folders below which runs are looked for have at most so many levels.
const DEPTH_MAX: usize = 4;

/// Why a folder is not that of a run.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is not JSON.
    #[error("{path}:{line}:{column}: {reason}")]
    Json {
        /// Which one.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// There is no run.
    #[error("no run below {path}: nothing there holds a {RUN}")]
    NoRun {
        /// Where we looked.
        path: PathBuf,
    },
    /// What is needed to do the run again is not there.
    #[error("{path}: {reason}")]
    NoReplay {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Its `run.json`.
    pub run: Value,
}

/// What is needed to do a run again.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Text of the workload.
    pub source: String,
    /// Where that was read.
    pub file: PathBuf,
    /// What made the workload differ from its text.
    pub overrides: Overrides,
    /// Seed of every random choice.
    pub seed: u64,
    /// Whether the members were there before the run.
    pub attached: bool,
}

impl Folder {
    /// The run in this folder.
    pub fn open(path: &Path) -> Result<Folder, ReadError> {
        let file = path.join(RUN);
        let text = read(&file)?;
        let run = serde_json::from_str(&text).map_err(|error| ReadError::Json {
            path: file,
            line: error.line(),
            column: error.column(),
            reason: error.to_string(),
        })?;
        Ok(Folder { path: path.to_owned(), run })
    }

    /// The newest run in this folder or below it; the run itself if it is a run's folder.
    pub fn newest(path: &Path) -> Result<Folder, ReadError> {
        if path.join(RUN).is_file() {
            return Folder::open(path);
        }
        let newest = Folder::all(path).into_iter().next_back();
        newest.ok_or_else(|| ReadError::NoRun { path: path.to_owned() })
    }

    /// Every run below this folder, in order of time. What cannot be read is left out.
    pub fn all(path: &Path) -> Vec<Folder> {
        let mut found = Vec::new();
        find(path, DEPTH_MAX, &mut found);
        found.sort_by(|a, b| (a.text("/started"), &a.path).cmp(&(b.text("/started"), &b.path)));
        found
    }

    /// A text of the report, by JSON pointer; empty if absent.
    pub fn text(&self, pointer: &str) -> &str {
        self.run.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    /// A number of the report, by JSON pointer.
    pub fn number(&self, pointer: &str) -> Option<f64> {
        self.run.pointer(pointer).and_then(Value::as_f64)
    }

    /// The page for a terminal.
    pub fn summary(&self) -> Result<String, ReadError> {
        read(&self.path.join("summary.md"))
    }

    /// What is needed to do the run again.
    pub fn replay(&self) -> Result<Replay, ReadError> {
        let lacks = |reason: &str| ReadError::NoReplay {
            path: self.path.clone(),
            reason: reason.to_owned(),
        };
        let file = self.path.join(WORKLOAD);
        let source = read(&file)?;
        let seed = self.run.get("seed").and_then(Value::as_u64);
        let seed = seed.ok_or_else(|| lacks("run.json has no seed"))?;
        let overrides = self.run.get("overrides").cloned().unwrap_or_default();
        let mut overrides: Overrides = serde_json::from_value(overrides)
            .map_err(|error| lacks(&format!("the overrides of run.json: {error}")))?;
        overrides.trace = Some(self.path.join(TRACE)).filter(|trace| trace.is_file());
        let attached = self.run.get("attached").and_then(Value::as_bool).unwrap_or(false);
        Ok(Replay { source, file, overrides, seed, attached })
    }
}

fn find(path: &Path, depth: usize, found: &mut Vec<Folder>) {
    if let Ok(folder) = Folder::open(path) {
        found.push(folder);
        return;
    }
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            find(&entry.path(), depth - 1, found);
        }
    }
}

fn read(path: &Path) -> Result<String, ReadError> {
    fs::read_to_string(path).map_err(|source| ReadError::File { path: path.to_owned(), source })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::tests::measured;

    /// A folder as a run leaves it, without its history.
    pub(crate) fn folder(root: &Path, name: &str, started: &str) -> PathBuf {
        let path = root.join("mixed").join(name);
        fs::create_dir_all(&path).unwrap();
        let mut report = measured();
        started.clone_into(&mut report.started);
        report.overrides.rate = Some(7);
        report.save(&path).unwrap();
        let source = "duration = \"1s\"\nclients = 1\nkeys = { count = 1 }\nmix = { put = 1 }\n";
        fs::write(path.join(WORKLOAD), source).unwrap();
        path
    }

    #[test]
    fn runs_are_found_in_order_of_time() {
        let root = tempfile::tempdir().unwrap();
        let late = folder(root.path(), "a", "20260102T000000");
        let early = folder(root.path(), "b", "20260101T000000");
        fs::create_dir(root.path().join("empty")).unwrap();
        let found: Vec<PathBuf> =
            Folder::all(root.path()).into_iter().map(|folder| folder.path).collect();
        assert_eq!(found, [early.clone(), late.clone()]);
        assert_eq!(Folder::newest(root.path()).unwrap().path, late);
        assert_eq!(Folder::newest(&early).unwrap().path, early);
        let none = Folder::newest(&root.path().join("empty")).unwrap_err().to_string();
        assert!(none.ends_with("nothing there holds a run.json"), "{none}");
    }

    #[test]
    fn a_run_can_be_done_again() {
        let root = tempfile::tempdir().unwrap();
        let path = folder(root.path(), "a", "20260102T000000");
        let replay = Folder::open(&path).unwrap().replay().unwrap();
        assert_eq!((replay.seed, replay.overrides.rate, replay.attached), (7, Some(7), false));
        let workload = replay.overrides.workload("workload.toml", &replay.source, None).unwrap();
        assert_eq!(*workload.pacing.rate.unwrap().get_ref(), 7);
        fs::remove_file(path.join(WORKLOAD)).unwrap();
        assert!(Folder::open(&path).unwrap().replay().is_err());
    }

    /// Its workload names a trace beside the file that it was, and that may be elsewhere.
    #[test]
    fn a_run_by_a_trace_can_be_done_again() {
        let root = tempfile::tempdir().unwrap();
        let path = folder(root.path(), "a", "20260102T000000");
        let mut source = fs::read_to_string(path.join(WORKLOAD)).unwrap();
        source += "pacing = { mode = \"trace\", file = \"elsewhere.txt\" }\n";
        fs::write(path.join(WORKLOAD), source).unwrap();
        fs::write(path.join(TRACE), "0.25\n").unwrap();
        let mut replay = Folder::open(&path).unwrap().replay().unwrap();
        replay.overrides.rate = None;
        let workload = replay.overrides.workload("workload.toml", &replay.source, None).unwrap();
        assert_eq!(*workload.pacing.file.unwrap().get_ref(), path.join(TRACE));
    }

    #[test]
    fn a_report_that_is_cut_is_told_with_its_place() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(RUN), "{\n  \"seed\": ").unwrap();
        let told = Folder::open(root.path()).unwrap_err().to_string();
        assert!(told.contains("run.json:2:"), "{told}");
    }
}
