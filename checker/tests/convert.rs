//! `checker convert` from outside: `testdata/convert/SITUATION/in.*` becomes each `out.*` beside it,
//! and reports go both ways. `UPDATE_GOLDEN=1` rewrites; read the diff before keeping it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn convert(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_checker"))
        .arg("convert")
        .args(arguments)
        .output()
        .expect("the binary runs")
}

fn converted(arguments: &[&str]) -> String {
    let output = convert(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stderr(&output)
}

fn refused(arguments: &[&str]) -> String {
    let output = convert(arguments);
    assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", stderr(&output));
    stderr(&output)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
}

fn compare(found: &str, golden: &Path) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, found).expect("writable");
    }
    let expected = fs::read_to_string(golden).expect("readable");
    assert_eq!(found, expected, "{}", golden.display());
}

#[test]
fn histories_are_told_in_other_formats() {
    let folder = TempDir::new().expect("a folder");
    for situation in entries(&testdata().join("convert")) {
        let files = entries(&situation);
        let is = |name: &'static str| {
            move |path: &&PathBuf| path.file_stem().is_some_and(|stem| stem == name)
        };
        let input = files.iter().find(is("in")).expect("an input");
        for golden in files.iter().filter(is("out")) {
            let out = folder.path().join(golden.file_name().expect("named"));
            let to = if out.extension().is_some_and(|ending| ending == "txt") {
                &["--to", "porcupine"][..]
            } else {
                &[]
            };
            converted(&[&[text(input), text(&out)], to].concat());
            compare(&fs::read_to_string(&out).expect("written"), golden);
        }
    }
}

/// What was converted says the same when it is converted again.
#[test]
fn what_was_told_is_told_again() {
    let folder = TempDir::new().expect("a folder");
    for situation in entries(&testdata().join("convert")) {
        let edn = situation.join("out.edn");
        let again = folder.path().join("again.edn");
        converted(&[text(&edn), text(&again)]);
        assert_eq!(fs::read(&edn).unwrap(), fs::read(&again).unwrap(), "{}", edn.display());
    }
}

/// Every file of a report, by its name in it.
fn files_of(report: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for client in entries(report) {
        for file in entries(&client) {
            let name = file.strip_prefix(report).expect("inside").display().to_string();
            files.push((name, fs::read_to_string(&file).expect("readable")));
        }
    }
    files
}

#[test]
fn a_report_becomes_a_history_that_holds() {
    let folder = TempDir::new().expect("a folder");
    let report = testdata().join("robustness/report");
    let jsonl = folder.path().join("history.jsonl");
    let said = converted(&[text(&report), text(&jsonl)]);
    compare(&fs::read_to_string(&jsonl).unwrap(), &testdata().join("robustness/history.jsonl"));
    assert_eq!(
        said,
        "checker: left out, for want of words: 1 defragmentations\n\
         checker: left out, for want of words: 1 lease grants whose answer, and so whose id, was lost\n"
    );
    let checked = Command::new(env!("CARGO_BIN_EXE_checker")).arg("check").arg(&jsonl).output();
    let checked = checked.expect("the binary runs");
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn a_history_becomes_a_report() {
    let folder = TempDir::new().expect("a folder");
    let history = testdata().join("robustness/to_report.jsonl");
    let report = folder.path().join("report");
    let said = converted(&[text(&history), text(&report), "--to", "robustness"]);
    let golden = testdata().join("robustness/written");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        drop(fs::remove_dir_all(&golden));
        for (name, content) in files_of(&report) {
            let path = golden.join(name);
            fs::create_dir_all(path.parent().expect("inside")).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    assert_eq!(files_of(&report), files_of(&golden));
    compare(&said, &testdata().join("robustness/left_out.txt"));
}

/// A report that was written is read and written again without a difference.
#[test]
fn a_report_stays_itself() {
    let folder = TempDir::new().expect("a folder");
    let written = testdata().join("robustness/written");
    let jsonl = folder.path().join("history.jsonl");
    converted(&[text(&written), text(&jsonl)]);
    let again = folder.path().join("report");
    converted(&[text(&jsonl), text(&again), "--to", "robustness"]);
    // A compaction's revision is not told, so its outcome is unknown from then on.
    let known = |content: &str| !content.contains("\"Type\":\"compact\"");
    for ((name, one), (other_name, other)) in files_of(&written).iter().zip(files_of(&again)) {
        assert_eq!(*name, other_name);
        let pairs = one.lines().zip(other.lines()).filter(|(line, _)| known(line));
        for (line, other) in pairs {
            // Who answered is made up where nothing tells, and so are numbers of streams.
            let without_stream = |line: &str| {
                line.split_once(",\"Input\"").unwrap().1.replace(",\"member-id\":\"1\"", "")
            };
            if name.ends_with("operations.json") {
                assert_eq!(without_stream(line), without_stream(other), "{name}");
            } else {
                assert_eq!(line, other, "{name}");
            }
        }
    }
}

#[test]
fn compressed_histories_are_known_by_their_content() {
    let folder = TempDir::new().expect("a folder");
    let plain = folder.path().join("plain.jsonl");
    converted(&[text(&testdata().join("valid/lease_was_renewed.jsonl")), text(&plain)]);
    let packed = folder.path().join("history.jsonl.zst");
    converted(&[text(&plain), text(&packed)]);
    assert_ne!(fs::read(&packed).unwrap(), fs::read(&plain).unwrap());
    let renamed = folder.path().join("no-such-ending");
    fs::rename(&packed, &renamed).unwrap();
    let again = folder.path().join("again.jsonl");
    converted(&[text(&renamed), text(&again)]);
    assert_eq!(fs::read_to_string(&again).unwrap(), fs::read_to_string(&plain).unwrap());
    let verdict = |path: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_checker")).arg("check").arg(path).output();
        output.expect("the binary runs").status.code()
    };
    assert_eq!(verdict(&renamed), Some(0));
    assert_eq!(verdict(&plain), Some(0));
    fs::write(&renamed, &fs::read(&renamed).unwrap()[..60]).unwrap();
    assert_eq!(verdict(&renamed), Some(3), "cut off");
}

#[test]
fn a_dash_is_standard_input_and_output() {
    let input = testdata().join("convert/log/in.log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_checker"))
        .args(["convert", "-", "-", "--to", "edn"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("piped").write_all(&fs::read(input).unwrap()).unwrap();
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let expected = fs::read_to_string(testdata().join("convert/log/out.edn")).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn nothing_is_left_of_what_cannot_be_told() {
    let folder = TempDir::new().expect("a folder");
    let in_folder = |name: &str| folder.path().join(name);
    let bad = in_folder("bad.edn");
    fs::write(&bad, "{:type :invoke, :process 0, :f :read}\n{:type :gone, :process 0}\n").unwrap();
    let out = in_folder("out.json");
    assert_eq!(
        refused(&[text(&bad), text(&out)]),
        format!(
            "checker: {}: 2:8 (byte 45): unknown :type :gone: there are :invoke, :ok, :fail and \
             :info\n",
            bad.display()
        )
    );
    let history = testdata().join("valid/lease_was_renewed.jsonl");
    assert_eq!(
        refused(&[text(&history), text(&in_folder("out.edn"))]),
        format!("checker: {}: 2:1 (byte 162): a register has no leases\n", history.display())
    );
    let nested = testdata().join("valid/nested_txn.jsonl");
    let said = refused(&[text(&nested), text(&in_folder("report")), "--to", "robustness"]);
    assert!(said.ends_with(": the report has no nested transactions\n"), "{said}");
    let left: Vec<_> =
        entries(folder.path()).into_iter().map(|path| path.display().to_string()).collect();
    assert_eq!(left, [bad.display().to_string()]);
}

#[test]
fn requests_without_sense_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let edn = testdata().join("convert/register/out.edn");
    let out = |name: &str| folder.path().join(name).display().to_string();
    for (arguments, said) in [
        (vec![text(&edn).to_owned(), out("a")], "say --to"),
        (vec![text(&edn).to_owned(), out("a.jsonl")], "does not tell revisions"),
        (vec![text(&edn).to_owned(), out("a"), "--to".into(), "robustness".into()], "revisions"),
        (vec![text(&edn).to_owned(), out("a"), "--to".into(), "log".into()], "not written"),
        (vec![out("none.edn"), out("a.json")], "cannot be opened"),
        (vec![folder.path().display().to_string(), out("a.jsonl")], "no report"),
        (
            vec![text(&edn).to_owned(), out("a.json"), "--from".into(), "robustness".into()],
            "folder",
        ),
        (
            vec![
                text(&testdata().join("robustness/written")).to_owned(),
                folder.path().display().to_string(),
                "--to".into(),
                "robustness".into(),
            ],
            "is there already",
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let found = refused(&arguments);
        assert!(found.contains(said), "{arguments:?}: {found}");
    }
}
