//! Pages for a browser, and graphs: of whatever is judged. What is in a page, unit tests and
//! `cargo xtask pages` say.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{checker, stderr, stdout, testdata, text};

/// Some of each kind: a store's, calls and transactions, in all formats.
fn histories() -> Vec<PathBuf> {
    let kinds = ["valid", "calls/valid", "transactions/valid"];
    let kinds = kinds.into_iter().chain(["invalid", "calls/invalid", "transactions/invalid"]);
    let files = kinds.flat_map(|kind| fs::read_dir(testdata().join(kind)).expect("there"));
    let paths = files.map(|entry| entry.expect("readable").path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending != "txt")).collect()
}

#[test]
fn whatever_is_judged_has_a_page() {
    let folder = TempDir::new().expect("a folder");
    let page = folder.path().join("page.html");
    let histories = histories();
    assert!(histories.len() > 50, "{} histories", histories.len());
    for path in histories {
        let plain = checker(&[text(&path)]);
        let output = checker(&[text(&path), "--timeline", text(&page)]);
        assert_eq!(output.status.code(), plain.status.code(), "{}", path.display());
        let written = fs::read_to_string(&page).expect("a page");
        let verdict = stdout(&plain).lines().next().expect("a verdict").replace('"', "&quot;");
        assert!(written.contains(&verdict), "{}: {verdict}", path.display());
        assert!(written.ends_with("</html>\n"), "{}", path.display());
        fs::remove_file(&page).expect("it is there");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0, "nothing else was written");
}

#[test]
fn a_report_folder_has_a_page() {
    let folder = TempDir::new().expect("a folder");
    let (report, page) = (folder.path().join("report"), folder.path().join("page.html"));
    let history = testdata().join("valid/empty.jsonl");
    let converted =
        super::command(&["convert", text(&history), text(&report), "--to", "robustness"]);
    assert_eq!(converted.status.code(), Some(0), "{}", stderr(&converted));
    let output = checker(&[text(&report), "--timeline", text(&page)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(fs::read_to_string(&page).expect("a page").contains("VALID: every rule"));
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let history = testdata().join("calls/valid/lock.edn");
    let output = checker(&[text(&history), "--timeline", "/nowhere/page.html"]);
    assert_eq!(output.status.code(), Some(3));
    let said = stderr(&output);
    assert!(said.contains("/nowhere/page.html: cannot be written"), "{said}");
    assert_eq!(stdout(&output), "");
}

/// A graph for each thing that is wrong, and none for what is right.
#[test]
fn what_is_wrong_is_drawn_for_graphviz() {
    for path in histories() {
        let output = checker(&[text(&path), "--format", "graphviz"]);
        let graphs = stdout(&output);
        let is_valid = output.status.code() == Some(0);
        assert_eq!(graphs.is_empty(), is_valid, "{}", path.display());
        assert_eq!(graphs.matches("digraph \"").count(), graphs.matches("\n}\n").count());
    }
    let calls = testdata().join("calls/invalid/lost_append.porcupine");
    let graph = stdout(&checker(&[text(&calls), "--format", "graphviz"]));
    assert!(graph.contains("n0 -> n1 [label=\"then\"];"), "{graph}");
    assert!(
        graph.contains("n2 [label=\"process 1 [4, 5]\\n\\\"3\\\": get -> \\\"y\\\"\"];"),
        "{graph}"
    );
    assert!(graph.contains("n1 -> n2 [label=\"no place\""), "{graph}");
    let skew = testdata().join("transactions/invalid/write_skew.edn");
    let graph = stdout(&checker(&[text(&skew), "--format", "graphviz"]));
    assert!(graph.contains("T1 -> T2 [label=\"rw\\n"), "{graph}");
}
