//! Transactions, and what is no kind of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{checker, must_print_what_is_kept, stderr, stdout, testdata, text};

fn histories() -> Vec<(i32, PathBuf)> {
    let verdicts = [(0, "valid"), (1, "invalid"), (2, "unknown")];
    let histories = super::histories(&testdata().join("transactions"), &verdicts);
    assert!(histories.len() >= 6);
    histories
}

#[test]
fn verdicts_are_told_to_people() {
    must_print_what_is_kept(&histories());
}

#[test]
fn verdicts_are_told_to_programs() {
    for (code, path) in histories() {
        let output = checker(&[text(&path), "--format", "json"]);
        assert_eq!(output.status.code(), Some(code), "{}", path.display());
        let json: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        let verdict = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        assert_eq!(json["verdict"].as_str(), verdict, "{}", path.display());
        let output = checker(&[text(&path), "--format", "junit"]);
        assert_eq!(output.status.code(), Some(code), "{}", path.display());
        let is_bad = ["<failure", "<error"].iter().any(|mark| stdout(&output).contains(mark));
        assert_eq!(is_bad, code != 0, "{}", stdout(&output));
    }
    let skew = testdata().join("transactions/invalid/write_skew.edn");
    let json: Value =
        serde_json::from_str(&stdout(&checker(&[text(&skew), "--format", "json"]))).expect("JSON");
    assert_eq!(json["model"], "list-append");
    assert_eq!(json["elle"]["anomaly-types"], serde_json::json!(["G2-item"]));
    assert_eq!(json["elle"]["not"], serde_json::json!(["repeatable-read"]));
    let step = &json["elle"]["anomalies"]["G2-item"]["cases"][0]["steps"][0];
    assert_eq!((&step["key"], &step["value'"]), (&"\"oncall\"".into(), &"1".into()));
}

/// A weaker model allows what a stronger one forbids; an anomaly that is asked for is forbidden.
#[test]
fn what_is_expected_can_be_said() {
    let code = |path: &str, arguments: &[&str]| {
        let path = testdata().join("transactions").join(path);
        let output = checker(&[&[text(&path)], arguments].concat());
        (output.status.code(), stderr(&output))
    };
    let skew = "invalid/write_skew.edn";
    assert_eq!(code(skew, &["--consistency-models", "snapshot-isolation"]).0, Some(0));
    assert_eq!(code(skew, &["--consistency-models", "read-atomic,serializable"]).0, Some(1));
    let asked = ["--consistency-models", "read-committed", "--anomalies", "G2-item"];
    assert_eq!(code(skew, &asked).0, Some(1));
    let stale = "invalid/stale_register.edn";
    assert_eq!(code(stale, &["--consistency-models", "serializable"]).0, Some(0));
    let (found, said) = code(skew, &["--consistency-models", "perfect"]);
    assert_eq!(found, Some(3));
    assert!(said.contains("perfect"), "{said}");
    let (found, said) = code(skew, &["--model", "rw-register"]);
    assert_eq!(found, Some(3));
    assert!(said.contains("2:1 (byte 49): the value of :txn is :append"), "{said}");
    let (found, said) = code(skew, &["--model", "queue"]);
    assert_eq!(found, Some(3));
    assert!(said.contains("there are list-append, rw-register"), "{said}");
}

/// What is not read has no verdict, and the message names file, place and what can be done.
#[test]
fn what_cannot_be_judged_is_bad_input() {
    let folder = TempDir::new().expect("a folder");
    let call = "{:process 0 :type :invoke :f :txn :value [[:append :x 1]]}\n";
    for (content, said) in [
        ("{:process 0 :type :invoke :f :dance}".into(), "1:1 (byte 0): no model has an operation"),
        (format!("{call}{call}"), "2:1 (byte 59): process 0 calls again before its call at 1:1"),
        ("{:process 0 :type :ok :value []}".into(), "1:1 (byte 0): process 0 returns without"),
        ("plain words".into(), "none of the known formats: say --from"),
    ] {
        let path = folder.path().join("history");
        fs::write(&path, &content).expect("writable");
        let output = checker(&[text(&path)]);
        assert_eq!(output.status.code(), Some(3), "{content}");
        let found = stderr(&output);
        assert!(found.contains(said) && found.contains(text(&path)), "{content}: {found}");
        assert_eq!(stdout(&output), "", "{content}");
    }
}

/// A clock that goes back is remarked on, and changes no verdict.
#[test]
fn oddities_are_told_beside_the_verdict() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("history.edn");
    let content = "{:process 0 :type :invoke :f :txn :value [[:append :x 1]] :time 9}
                   {:process 0 :type :ok :f :txn :value [[:append :x 1]] :time 8}
                   {:process 0 :type :invoke :f :txn :value [[:r :x nil]] :time 10}
                   {:process 0 :type :ok :f :txn :value [[:r :x [1]]] :time 11}";
    fs::write(&path, content).expect("writable");
    let output = checker(&[text(&path)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("2:20 (byte 86): the clock goes back from 9 ns to 8 ns"));
}

/// Other formats of a history with revisions have its verdict.
#[test]
fn histories_with_revisions_are_judged_in_every_format() {
    let report = testdata().join("robustness/report");
    let output = checker(&[text(&report)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("left out, for want of words: 1 defragmentations"));
    let stale = testdata().join("invalid/linearizable.stale-read--read_of_the_past.jsonl");
    let output = Command::new(env!("CARGO_BIN_EXE_checker"))
        .args(["check", "-"])
        .stdin(fs::File::open(&stale).expect("readable"))
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("INVALID: linearizable/stale-read"));
    let output = checker(&[text(&report), "--from", "edn"]);
    assert_eq!(output.status.code(), Some(3));
}
