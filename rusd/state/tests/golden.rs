//! Golden scripts: `testdata/<area>/<situation>` holds what must hold, a script, and all that came
//! of it.
//!
//! Every script runs four times: plainly, with no value kept in memory, opened anew after every
//! step, and folded, compacted and opened anew after every step. The answers must be the same.
//! `UPDATE_GOLDEN=1` rewrites the files; read the diff. The answers were compared with etcd 3.7.3;
//! where a line differs from etcd's on purpose, the file's head says so.

#![expect(clippy::unwrap_used, reason = "tests")]

mod script;

#[path = "script/machine.rs"]
mod machine;

use std::fs;
use std::path::{Path, PathBuf};

use machine::{Machine, Trouble};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn files() -> Vec<PathBuf> {
    let areas = fs::read_dir(testdata()).unwrap().map(|area| area.unwrap().path());
    let mut files: Vec<PathBuf> = areas
        .flat_map(|area| fs::read_dir(area).unwrap().map(|file| file.unwrap().path()))
        .collect();
    files.sort();
    files
}

/// The head and script of a file, without the answers.
fn script_of(text: &str) -> &str {
    text.split_once("\n---\n").map_or(text.trim_end(), |(script, _)| script)
}

fn run(script: &str, trouble: Trouble) -> String {
    let mut machine = Machine::new(trouble);
    let mut out = vec![script.to_owned(), "---".to_owned()];
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        out.push(format!("> {line}"));
        out.extend(machine.run(&script::parse(line)));
    }
    out.join("\n") + "\n"
}

#[test]
fn the_answers_are_as_written_down() {
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let script = script_of(&text);
        assert!(script.starts_with('#'), "{} opens with what must hold", path.display());
        let got = run(script, Trouble::None);
        if got == text {
            continue;
        }
        if is_update {
            fs::write(&path, &got).unwrap();
        } else {
            let at = got.lines().zip(text.lines()).find(|(a, b)| a != b);
            wrong.push(format!("{}: got/expected {at:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_answers_do_not_depend_on_memory_or_restarts() {
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let script = script_of(&text);
        let expected = run(script, Trouble::None);
        for trouble in [Trouble::Evict, Trouble::Reopen, Trouble::FoldAndReopen] {
            let got = run(script, trouble);
            let at = got.lines().zip(expected.lines()).enumerate().find(|(_, (a, b))| a != b);
            assert!(got == expected, "{}, {trouble:?}: {at:?}", path.display());
        }
    }
}

#[test]
fn there_are_enough_situations() {
    assert!(files().len() >= 30, "{} situations", files().len());
}
