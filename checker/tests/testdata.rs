//! Histories written by hand, as data: `testdata/invalid/RULE--SITUATION.jsonl` must be blamed on
//! its rule, `valid` ones must pass, and `bad_input/LINE.COLUMN-SITUATION.jsonl` must be refused at
//! that place, "truncated" ones as cut off. The header's workload tells the story.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusd_checker::{Engine, InputError, Options, Report, Rule, Verdict, check_file};

fn files(folder: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let mut files: Vec<(String, PathBuf)> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("can be read").path())
        .map(|path| (path.file_stem().expect("named").to_string_lossy().into_owned(), path))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

fn judge(path: &Path, engine: Engine) -> Report {
    check_file(path, &Options { engine, ..Options::default() }).expect("well-formed")
}

#[test]
fn invalid_histories_are_blamed_on_their_rule() {
    let mut seen = BTreeSet::new();
    for (name, path) in files("invalid") {
        let (rule, _) = name.split_once("--").expect("named by rule and situation");
        let rule = rule.replacen('.', "/", 1);
        let rule = Rule::ALL.into_iter().find(|known| known.id() == rule).expect("a known rule");
        // Only stateright cannot say more than that there is no order.
        let engine = if rule == Rule::NoOrder { Engine::Stateright } else { Engine::Revision };
        let report = judge(&path, engine);
        assert_eq!(report.verdict.rule(), Some(rule), "{name}: {:#?}", report.verdict);
        seen.insert(rule);
    }
    let unseen: Vec<Rule> = Rule::ALL.into_iter().filter(|rule| !seen.contains(rule)).collect();
    assert!(unseen.is_empty(), "no history breaks {unseen:?}");
}

#[test]
fn valid_histories_pass() {
    for (name, path) in files("valid") {
        for engine in [Engine::Auto, Engine::Revision] {
            let report = judge(&path, engine);
            assert_eq!(report.verdict, Verdict::Valid, "{name} by {engine}");
        }
    }
}

/// What stateright can judge, it judges the same.
#[test]
fn stateright_agrees_on_valid_histories() {
    for (name, path) in files("valid") {
        assert_eq!(judge(&path, Engine::Stateright).verdict, Verdict::Valid, "{name}");
    }
}

#[test]
fn bad_input_is_refused_where_it_is_bad() {
    for (name, path) in files("bad_input") {
        let (place, _) = name.split_once('-').expect("named by place and situation");
        let error = check_file(&path, &Options::default()).expect_err(&name);
        let position = error.position().expect("a place in the file");
        assert_eq!(format!("{}.{}", position.line, position.column.max(1)), place, "{error}");
        let truncated = matches!(error, InputError::Truncated { .. });
        assert_eq!(truncated, name.contains("truncated"), "{error}");
    }
}

fn checker(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_checker")).args(arguments).output().expect("runs")
}

fn path_of(folder: &str, name: &str) -> String {
    let (_, path) = files(folder).into_iter().find(|(own, _)| own == name).expect("is there");
    path.display().to_string()
}

#[test]
fn exit_codes_tell_the_verdict() {
    let valid = path_of("valid", "empty");
    let invalid = path_of("invalid", "watch.complete--dropped_in_between");
    let bad = path_of("bad_input", "2.74-truncated");
    let cut = path_of("bad_input", "3.1-truncated_at_a_line_end");
    let cases: [(&[&str], i32); 8] = [
        (&["check", &valid], 0),
        (&["check", &invalid], 1),
        (&["check", &bad], 3),
        (&["check", &cut], 3),
        (&["check", "/no/such/file"], 3),
        (&["check", &valid, "--engine", "none"], 3),
        (&[], 3),
        (&["--help"], 0),
    ];
    for (arguments, code) in cases {
        let output = checker(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    let told = String::from_utf8(checker(&["check", &bad]).stderr).expect("text");
    assert!(told.contains("truncated.jsonl: 2:74: the history is cut off"), "{told}");
}

#[test]
fn reports_name_rule_and_lines() {
    let invalid = path_of("invalid", "linearizable.stale-read--read_of_the_past");
    let text = checker(&["check", &invalid]);
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(text.starts_with("INVALID: linearizable/stale-read\n"), "{text}");
    assert!(text.contains("line 3: process 1") && text.contains("line 4: process 2"), "{text}");
    let json = checker(&["check", &invalid, "--format", "json"]);
    let report: Report = serde_json::from_slice(&json.stdout).expect("a report");
    assert_eq!(report.verdict.rule(), Some(Rule::StaleRead));
    assert_eq!(report.counts.operations, 3);
    let junit = checker(&["check", &invalid, "--format", "junit"]);
    let junit = String::from_utf8(junit.stdout).expect("text");
    let failures = junit.matches("<failure").count();
    assert_eq!(failures, 1, "{junit}");
    assert!(junit.contains("name=\"linearizable/stale-read\""), "{junit}");
}
