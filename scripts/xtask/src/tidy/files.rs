//! Rules over files as a whole.

use super::Finding;
use super::tree::Tree;

/// A file this long has a seam somewhere.
const LINES_MAX: usize = 800;

/// Larger files do not belong in git.
const BLOB_BYTES_MAX: u64 = 1_000_000;

/// Endings and folders of what a build or a run leaves behind.
const OUTPUT_ENDINGS: [&str; 9] =
    [".rlib", ".rmeta", ".o", ".so", ".exe", ".profraw", ".wal", ".snap.new", ".proptest"];
const OUTPUT_FOLDERS: [&str; 4] = ["target/", "node_modules/", "criterion/", "default.etcd/"];

/// Every Rust file opens with `//!`.
pub(super) fn documented(tree: &Tree) -> Vec<Finding> {
    tree.texts(".rs")
        .filter(|(_, text)| {
            !text.lines().find(|line| !line.trim().is_empty()).is_some_and(|l| l.starts_with("//!"))
        })
        .map(|(path, _)| Finding::at(path, 1, "opens without `//!`: say what the file is"))
        .collect()
}

/// No Rust file is too long.
pub(super) fn lengths(tree: &Tree) -> Vec<Finding> {
    tree.texts(".rs")
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| {
            Finding::new(path, format!("{lines} lines, at most {LINES_MAX}: split it by meaning"))
        })
        .collect()
}

/// No large files, and nothing that a build or a run made.
pub(super) fn blobs(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in &tree.files {
        if file.size_bytes > BLOB_BYTES_MAX {
            let what = format!("{} bytes, at most {BLOB_BYTES_MAX}", file.size_bytes);
            findings.push(Finding::new(path, what));
        }
        let is_output = OUTPUT_ENDINGS.iter().any(|ending| path.ends_with(ending))
            || OUTPUT_FOLDERS
                .iter()
                .any(|folder| path.starts_with(folder) || path.contains(&format!("/{folder}")));
        // What a test reads is kept on purpose; the rule over golden files looks after it.
        if is_output && !path.contains("/testdata/") {
            findings.push(Finding::new(path, "made by a build or a run: remove it, ignore it"));
        }
    }
    findings
}
