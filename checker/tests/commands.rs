//! `checker check --follow` and `checker shrink` as a user calls them: what they end with, and what they
//! leave behind.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rusd_checker::history::jsonl::Writer;
use rusd_checker::history::record::Record;
use rusd_checker::synthetic::{Bug, Mix, Run, Shape};
use rusd_checker::{Options, Rule, check_file};

const OPERATIONS: u64 = 3_000;

/// A history of which a stream's check leaves nothing to the whole one, as a file has it.
fn history(bug: Option<Bug>) -> Vec<u8> {
    let mix = Mix {
        lease_grant: 0,
        lease_put: 0,
        lease_revoke: 0,
        lease_keep_alive: 0,
        ..Shape::medium().mix
    };
    let mut run = Run::shaped(3, Shape { mix, bug, ..Shape::medium() });
    let mut writer = Writer::new(Vec::new(), &run.header()).expect("memory takes everything");
    let records: Vec<Record> = run.records(OPERATIONS);
    for record in &records {
        writer.write(record).expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything")
}

/// Begins to follow a history.
fn follow(history: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_checker"))
        .args(["check", "--follow"])
        .arg(history)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

/// Waits until it has read so much of the file, and has come back since to look for more, or has ended.
/// Only Linux tells.
#[cfg(target_os = "linux")]
fn wait_until_back(following: &mut Child, path: &Path, length: usize) {
    let process = Path::new("/proc").join(following.id().to_string());
    let number = |text: &str, name: &str| -> Option<usize> {
        text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    };
    let position = || {
        let open = fs::read_dir(process.join("fd")).ok()?.flatten();
        let mut ours = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == path));
        let said =
            fs::read_to_string(process.join("fdinfo").join(ours.next()?.file_name())).ok()?;
        number(&said, "pos:")
    };
    let reads = || number(&fs::read_to_string(process.join("io")).ok()?, "syscr:");
    let mut at_end = None;
    while following.try_wait().expect("it is ours").is_none() {
        if position().is_some_and(|position| position >= length)
            && let Some(reads) = reads()
            // One that was under way, and one after a pause.
            && *at_end.get_or_insert(reads) + 2 <= reads
        {
            return;
        }
        std::thread::yield_now();
    }
}

/// Waits for its end: its exit code, and all that it printed.
fn ended(child: Child) -> (Option<i32>, String) {
    told(&child.wait_with_output().expect("it ends"))
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// What follows a file must neither take its end of today for the end, nor wait on after the end.
#[cfg(target_os = "linux")]
#[test]
fn a_file_is_followed_to_the_end_of_its_history() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let path = folder.path().join("history.jsonl");
    let text = history(None);
    let (first, rest) = text.split_at(text.len() / 2);
    let mut file = File::create(&path).expect("a file can be made");
    file.write_all(first).expect("written");
    let mut following = follow(&path);
    wait_until_back(&mut following, &path, first.len());
    file.write_all(rest).expect("written");
    // The file stays open: its end is told by its last record.
    let (code, text) = ended(following);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3000 operations"), "{text}");
    drop(file);
}

#[test]
fn a_file_is_followed_to_the_first_violation_only() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let path = folder.path().join("history.jsonl");
    let text = history(Some(Bug::StaleRead));
    // Without its last lines, and with its writer still there, it has no end to wait for.
    let mut file = File::create(&path).expect("a file can be made");
    file.write_all(&text[..text.len() * 9 / 10]).expect("written");
    let (code, text) = ended(follow(&path));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("stale-read"), "{text}");
    drop(file);
}

#[test]
fn what_its_writer_has_left_unfinished_is_not_called_valid() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let path = folder.path().join("history.jsonl");
    let text = history(None);
    fs::write(&path, &text[..text.len() / 2]).expect("written");
    let (code, text) = ended(follow(&path));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("the end of the history did not come"), "{text}");
}

#[test]
fn a_pipe_is_followed_as_a_file_is() {
    for (part, verdict) in [(1, 0), (2, 2)] {
        let text = history(None);
        let mut following = follow(Path::new("-"));
        let mut pipe = following.stdin.take().expect("it is a pipe");
        pipe.write_all(&text[..text.len() / part]).expect("it reads on");
        drop(pipe);
        let (code, text) = ended(following);
        assert_eq!(code, Some(verdict), "{text}");
    }
}

#[test]
fn shrink_writes_a_short_history_that_breaks_the_same_rule() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let path = folder.path().join("history.jsonl");
    fs::write(&path, history(Some(Bug::StaleRead))).expect("written");
    let shrink = |arguments: &[&Path]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_checker"));
        told(&command.arg("shrink").args(arguments).output().expect("the binary runs"))
    };
    let short = folder.path().join("history.short.jsonl");
    let named = folder.path().join("named.jsonl");
    for (arguments, written) in [(&[path.as_path()][..], &short), (&[&path, &named], &named)] {
        let (code, text) = shrink(arguments);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("stale-read"), "{text}");
        let lines = fs::read_to_string(written).expect("it was written").lines().count();
        assert!(lines < 10, "{lines} lines are left");
        let report = check_file(written, &Options::default()).expect("well-formed");
        assert_eq!(report.verdict.rule(), Some(Rule::StaleRead));
    }

    fs::write(&path, history(None)).expect("written");
    fs::remove_file(&short).expect("it was written");
    let (code, text) = shrink(&[&path]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!short.exists(), "there is nothing to show of a valid history");
    fs::write(&path, "nonsense").expect("written");
    assert_eq!(shrink(&[&path]).0, Some(3));
}
