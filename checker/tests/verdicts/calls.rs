//! Single operations.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{checker, must_print_what_is_kept, stderr, stdout, text};

fn testdata() -> PathBuf {
    super::testdata().join("calls")
}

fn histories() -> Vec<(i32, PathBuf)> {
    let histories = super::histories(&testdata(), &[(0, "valid"), (1, "invalid")]);
    assert!(histories.len() >= 16, "two of each model");
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
        let unplaced = json["counterexample"]["unplaced"].as_array().map_or(0, Vec::len);
        assert_eq!(unplaced > 0, code == 1, "{}", path.display());
        let output = checker(&[text(&path), "--format", "junit"]);
        assert_eq!(output.status.code(), Some(code), "{}", path.display());
        assert_eq!(stdout(&output).contains("<failure"), code == 1, "{}", path.display());
    }
}

/// Every engine has the verdict of the others, or says that it has none; the report names it.
#[test]
fn engines_agree_and_are_named() {
    for (code, path) in histories() {
        for (engine, others) in [("zones", [Some(code), Some(2)]), ("wgl", [Some(code); 2])] {
            let output = checker(&[text(&path), "--engine", engine]);
            assert!(others.contains(&output.status.code()), "{}: {engine}", path.display());
            assert!(stdout(&output).contains(&format!("\nengine {engine}: ")), "{engine}");
        }
    }
    let register = testdata().join("valid/register.edn");
    let output = checker(&[text(&register), "--engine", "revision"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("a history without revisions is judged by zones, wgl"));
    let own = testdata().with_file_name("valid").join("empty.jsonl");
    let output = checker(&[text(&own), "--engine", "wgl"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("a history with revisions is judged by revision, stateright"));
}

/// Twenty writes that overlap, then twenty reads in an order that none of theirs can explain: the
/// search has to give up, and says so.
#[test]
fn a_search_that_gives_up_does_not_know() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("history.edn");
    let event = |process: usize, kind: &str, f: &str, value: usize| {
        format!("{{:process {process} :type :{kind} :f :{f} :value {value}}}\n")
    };
    let all = |kind: &str| -> String { (0..20).map(|n| event(n, kind, "add", 1 << n)).collect() };
    let mut content = all("invoke") + &event(20, "invoke", "read", 0);
    content += &event(20, "ok", "read", (1 << 19) - 2);
    content += &event(20, "invoke", "read", 0);
    content += &(event(20, "ok", "read", 1 << 19) + &all("ok"));
    fs::write(&path, &content).expect("writable");
    let arguments = [text(&path), "--model", "counter", "--steps-max", "1000"];
    let output = checker(&arguments);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert!(stdout(&output).starts_with("UNKNOWN: the object: no answer within 1000 steps"));
    let output = checker(&[&arguments[..], &["--format", "junit"]].concat());
    assert!(stdout(&output).contains("<error"), "{}", stdout(&output));
    let output = checker(&[&arguments[..], &["--format", "json"]].concat());
    let json: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(json["verdict"], "unknown");
    assert_eq!(json["reason"], "the object: no answer within 1000 steps");
}

/// What an object begins with is asked for, not guessed.
#[test]
fn what_an_object_begins_with_can_be_said() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("history.edn");
    let read = |f: &str, value: &str, answer: &str| {
        format!(
            "{{:process 0 :type :invoke :f :{f} :value {value}}}\n\
             {{:process 0 :type :ok :f :{f} :value {answer}}}\n"
        )
    };
    let transfer = |amount: i64| {
        let value = format!("{{:from 0, :to 1, :amount {amount}}}");
        read("transfer", &value, &value)
    };
    let registers = "[[:read :x nil] [:read :y nil]]";
    for (content, model, initial, codes) in [
        (read("read", "nil", "0"), "cas-register", "0", [1, 0]),
        (read("read", "[:x nil]", "[:x 0]"), "cas-register", "0", [1, 0]),
        (read("read", "nil", "7"), "counter", "7", [1, 0]),
        (
            read("txn", registers, "[[:read :x 0] [:read :y 1]]"),
            "multi-register",
            "{:x 0, :y 1}",
            [1, 0],
        ),
        (read("read", "nil", "{0 1, 1 2}"), "bank", "{0 2, 1 1}", [0, 1]),
        (transfer(3) + &read("read", "nil", "{0 1, 1 2}"), "bank", "{0 4, 1 -1}", [1, 0]),
        (read("read", "nil", "{0 -1, 1 2}"), "bank", "{0 -1, 1 2}", [1, 0]),
    ] {
        fs::write(&path, &content).expect("writable");
        let arguments = [text(&path), "--model", model];
        let output = checker(&arguments);
        assert_eq!(output.status.code(), Some(codes[0]), "{content}: {}", stderr(&output));
        let output = checker(&[&arguments[..], &["--initial", initial]].concat());
        assert_eq!(output.status.code(), Some(codes[1]), "{content}: {}", stderr(&output));
    }
    let overdrawn = transfer(3) + &read("read", "nil", "{0 1, 1 2}");
    fs::write(&path, overdrawn).expect("writable");
    assert_eq!(checker(&[text(&path), "--negative-balances"]).status.code(), Some(0));
    for (model, initial, said) in [
        ("bank", "7", "--initial 7: it must be a map of accounts and balances"),
        ("bank", "{0 :x}", "it must be a map of accounts and balances"),
        ("bank", "{0", "invalid value '{0' for '--initial <EDN>'"),
        ("bank", "0 1", "it must be one form of EDN"),
    ] {
        let output = checker(&[text(&path), "--model", model, "--initial", initial]);
        assert_eq!(output.status.code(), Some(3), "{initial}");
        assert!(stderr(&output).contains(said), "{initial}: {}", stderr(&output));
    }
    // Of an account that must have held 3 in between; and of one that is not there.
    let back = |amount: i64| transfer(amount).replace(":from 0, :to 1", ":from 1, :to 0");
    for (balances, code) in [("{0 1, 1 9}", 1), ("{0 3, 1 9}", 0), ("{1 9}", 1)] {
        let content = transfer(3) + &back(3) + &read("read", "nil", balances);
        fs::write(&path, content).expect("writable");
        let output = checker(&[text(&path), "--model", "bank"]);
        assert_eq!(output.status.code(), Some(code), "{balances}");
    }
    let lock = testdata().join("valid/lock.edn");
    let output = checker(&[text(&lock), "--initial", "0"]);
    assert!(stderr(&output).contains("--initial 0: mutex begins empty"), "{}", stderr(&output));
}
