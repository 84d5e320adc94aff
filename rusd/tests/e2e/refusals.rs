//! A data directory that must not be used is refused in one clear line, and left as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::process::Member;

/// Runs `rusd` with these flags until it ends by itself.
fn run(flags: &[&str]) -> Output {
    let ports =
        ["--listen-client-urls=http://127.0.0.1:0", "--listen-peer-urls=http://127.0.0.1:0"];
    Command::new(env!("CARGO_BIN_EXE_rusd"))
        .args(ports)
        .arg("--advertise-client-urls=http://127.0.0.1:1")
        .args(flags)
        .output()
        .unwrap()
}

/// The last line on stderr of a run that must have failed.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "it was not refused");
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

/// Every file below a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// A data directory that a member has used and left.
fn used() -> (TempDir, PathBuf) {
    let mut member = Member::start(&[]);
    let data_dir = member.data_dir();
    assert!(member.terminate().is_some_and(|status| status.success()));
    let kept = TempDir::new().unwrap();
    let copy = kept.path().join("data");
    copy_folder(&data_dir, &copy);
    (kept, copy)
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn data_dir_flag(data_dir: &Path) -> String {
    format!("--data-dir={}", data_dir.display())
}

#[test]
fn a_data_directory_in_use() {
    let member = Member::start(&[]);
    let line = refusal(&run(&[&data_dir_flag(&member.data_dir())]));
    assert!(line.contains("in use by another process"), "{line}");
}

#[test]
fn a_corrupt_log() {
    let (_kept, data_dir) = used();
    let wal = fs::read_dir(data_dir.join("member/wal")).unwrap();
    let segment = wal
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "wal"));
    let segment = segment.unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    // Inside the first record that carries data: the member's identity.
    bytes[40] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let before = content(&data_dir);
    let line = refusal(&run(&[&data_dir_flag(&data_dir)]));
    assert!(line.contains("corrupt log segment") && line.contains("at byte"), "{line}");
    assert_eq!(content(&data_dir), before);
}

#[test]
fn an_engine_without_its_log() {
    let (_kept, data_dir) = used();
    fs::remove_dir_all(data_dir.join("member/wal")).unwrap();
    let before = content(&data_dir);
    let line = refusal(&run(&[&data_dir_flag(&data_dir)]));
    assert!(line.contains("has an engine but no log"), "{line}");
    assert_eq!(content(&data_dir), before);
}

#[test]
fn joining_a_running_cluster() {
    let dir = TempDir::new().unwrap();
    let flags = [&data_dir_flag(&dir.path().join("data")), "--initial-cluster-state=existing"];
    let line = refusal(&run(&flags));
    assert!(line.contains("cannot fetch cluster info from peer urls"), "{line}");
    assert!(!dir.path().join("data").exists());
}
