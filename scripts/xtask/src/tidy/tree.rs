//! The files of the repository, as values.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace;

/// A file: its size, and its text if it is text.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Size on disk.
    pub(crate) size_bytes: u64,
    /// `None` when the content is not UTF-8.
    pub(crate) text: Option<String>,
}

/// Every file that is in git or would be added, by its path from the root.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Ordered, so that findings come out in the same order every time.
    pub(crate) files: BTreeMap<String, File>,
}

impl Tree {
    /// Reads the work tree: what git tracks, and what it does not ignore.
    pub(crate) fn of_repository() -> Result<Self> {
        let root = workspace::root();
        let listing = workspace::output(
            Command::new("git")
                .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
                .current_dir(&root),
        )?;
        let mut tree = Self::default();
        for path in listing.split('\0').filter(|path| !path.is_empty()) {
            let full = root.join(path);
            // A file that is deleted but not yet committed is still listed.
            if !full.is_file() {
                continue;
            }
            let bytes = fs::read(&full).with_context(|| format!("cannot read {path}"))?;
            let size_bytes =
                u64::try_from(bytes.len()).context("a file of more than 2^64 bytes")?;
            let file = File { size_bytes, text: String::from_utf8(bytes).ok() };
            tree.files.insert(path.to_owned(), file);
        }
        Ok(tree)
    }

    /// Text files whose name ends so.
    pub(crate) fn texts(&self, suffix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.ends_with(suffix))
            .filter_map(|(path, file)| Some((path.as_str(), file.text.as_deref()?)))
    }
}
