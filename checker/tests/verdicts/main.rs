//! `checker check` on histories of Jepsen and Porcupine: `testdata/KIND/VERDICT/SITUATION.*` has that
//! verdict, and what is printed stands in `SITUATION.txt` beside it. `UPDATE_GOLDEN=1` rewrites; read
//! the diff before keeping it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

mod calls;
mod pages;
mod transactions;

/// What the checker ends with, and the folder of such histories.
type Verdict = (i32, &'static str);

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn checker(arguments: &[&str]) -> Output {
    command(&[&["check"], arguments].concat())
}

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_checker"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The histories of a kind, each with the code of its verdict.
fn histories(kind: &Path, verdicts: &[Verdict]) -> Vec<(i32, PathBuf)> {
    let mut histories = Vec::new();
    for (code, verdict) in verdicts {
        for entry in fs::read_dir(kind.join(verdict)).expect("the folder is there") {
            let path = entry.expect("readable").path();
            if path.extension().is_some_and(|ending| ending != "txt") {
                histories.push((*code, path));
            }
        }
    }
    histories.sort();
    histories
}

/// Each history ends with its code, and prints what stands beside it, but for the time it took.
fn must_print_what_is_kept(histories: &[(i32, PathBuf)]) {
    for (code, path) in histories {
        let output = checker(&[text(path)]);
        let found = untimed(&stdout(&output));
        let golden = path.with_extension("txt");
        assert_eq!(output.status.code(), Some(*code), "{}: {}", path.display(), stderr(&output));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).expect("writable");
        }
        assert_eq!(found, fs::read_to_string(&golden).expect("golden"), "{}", path.display());
    }
}

fn untimed(text: &str) -> String {
    let lines =
        text.lines().map(|line| line.split_once("; checked in ").map_or(line, |(own, _)| own));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}
