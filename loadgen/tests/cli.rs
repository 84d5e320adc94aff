//! The command line: what it refuses, with which exit code and words, and how it becomes a member.
//!
//! Nothing here starts a server.

use std::path::Path;
use std::process::{Command, Output};

fn loadgen(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.output().expect("cargo built it")
}

#[test]
fn bad_input_exits_2_and_says_why() {
    for (arguments, words) in [
        (&["run"][..], "required arguments were not provided"),
        (&["run", "nowhere.toml"], "error: nowhere.toml: No such file"),
        (&["run", "workloads/quickstart.toml", "--duration", "5"], "`5` has no unit"),
        (&["run", "workloads/quickstart.toml", "--system", "zookeeper"], "possible values"),
        (
            &["run", "workloads/quickstart.toml", "--binary", "nowhere/rusd"],
            "no executable of rusd at nowhere/rusd",
        ),
        (
            &["run", "workloads/mixed-faults.toml", "--endpoints", "127.0.0.1:1"],
            "kill needs members that we started; drop --endpoints or add --no-faults",
        ),
        (
            &["run", "workloads/mixed-faults.toml", "--duration", "10s"],
            "begins when the load has ended (duration is 10s)",
        ),
        (
            &["run", "loadgen/tests/testdata/workload/unknown_field.toml"],
            "unknown_field.toml:4:18: unknown field `gett`",
        ),
    ] {
        let output = loadgen(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(words), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    }
}

#[test]
fn conform_wipes_only_what_it_is_told_to_and_says_what_is_missing() {
    for (arguments, code, words) in [
        (&["conform", "--endpoints", "127.0.0.1:1"][..], 2, "confirm by --wipe"),
        (&["conform", "--against", "127.0.0.1:1"], 2, "confirm by --wipe"),
        (&["conform", "--endpoints", "127.0.0.1:1", "--wipe"], 4, "127.0.0.1:1: "),
        (&["conform", "--endpoints", "a", "--wipe", "--jobs", "2"], 2, "--jobs must be 1"),
        (&["conform", "--binary", "nowhere/rusd"], 2, "no executable of rusd at nowhere/rusd"),
        (&["conform", "--filter", "no such"], 2, "no script's name contains \"no such\""),
        (&["conform", "--scripts", "nowhere"], 2, "nowhere: No such file"),
        (&["conform", "--record"], 2, "--scripts"),
        (&["conform", "--version", "new"], 2, "no version such as 3.4"),
        (
            &["conform", "--scripts", "loadgen/tests/testdata/conform"],
            2,
            "error: put/broken:3: there is no RPC \"Putt\"",
        ),
    ] {
        let output = loadgen(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(words), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    }
}

/// Whatever is compared or searched, a mistake is told before anything starts.
#[test]
fn what_cannot_be_compared_searched_or_started_is_told() {
    let put_heavy = "workloads/put-heavy.toml";
    // Any file will do where no member is started.
    let rusd = format!("rusd={put_heavy}");
    for (arguments, words) in [
        (&["compare", "rusd", "etc", "-w", put_heavy][..], "unknown system `etc`; did you mean"),
        (&["compare", "rusd=nowhere", &rusd, "-w", put_heavy], "no executable of rusd at nowhere"),
        (
            &["compare", &rusd, &rusd, "-w", put_heavy, "--rounds", "1"],
            "--rounds must be at least 2",
        ),
        (
            &["compare", &rusd, &rusd, "-w", put_heavy, "--fail-if", "cpu>1.1,put.p98>1"],
            "--fail-if:1:9: unknown metric `p98`; did you mean `p90`?",
        ),
        (&["compare", &rusd, &rusd, "-w", put_heavy, "--system", "etcd"], "told by A and B"),
        (&["compare", &rusd, &rusd, "-w", put_heavy, "--metrics", "cpuu"], "did you mean `cpu`?"),
        (&["search", put_heavy], "required arguments were not provided"),
        (
            &["search", put_heavy, "--slo", "put.p99<20"],
            "--slo:1:1: `20` has no unit; use us, ms, s",
        ),
        (&["search", put_heavy, "--slo", "p99<2ms", "--rate", "5"], "told by --start"),
        (
            &["search", put_heavy, "--slo", "p99<2ms", "--lowest", "0"],
            "--lowest must be at least 1",
        ),
        (&["run", put_heavy, "--slo", "eror<1%"], "--slo:1:1: unknown metric `eror`"),
        (&["run", put_heavy, "--pin", "9"], "there is no member m9 to pin to"),
        (&["cluster", "up", "-n", "0"], "--members must be 1 to 9"),
        (&["cluster", "up", "--binary", "nowhere/etcd"], "no executable of rusd at nowhere/etcd"),
        (&["ls", "loadgen/src"], "no run below loadgen/src"),
        (&["show", "nowhere"], "no run below nowhere"),
        (&["validate", "loadgen/src"], "no run below loadgen/src"),
        (&["replay", "nowhere"], "no run below nowhere"),
        (&["replay", "results/reference"], "workload.toml: No such file"),
    ] {
        let output = loadgen(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(words), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    }
}

/// A member that ends by itself is no answer to anything.
#[test]
fn what_did_not_run_does_not_count() {
    let out = tempfile::tempdir().expect("there is a place for temporary files");
    let out = out.path().to_str().expect("it is a plain name");
    let (quickstart, ends) = ("workloads/quickstart.toml", "loadgen/testdata/members/ends.sh");
    let side = format!("rusd={ends}");
    for (arguments, words) in [
        (&["run", quickstart, "--binary", ends, "--out", out][..], "m0 ended by itself"),
        (&["compare", &side, &side, "-w", quickstart, "--out", out], "run 1 of A does not count"),
        (
            &["search", quickstart, "--slo", "p99<1ms", "--binary", ends, "--out", out],
            "no rate could be measured",
        ),
    ] {
        let output = loadgen(arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains(words), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {text}");
    }
}

/// A folder that is not whole is told from one whose history breaks a promise.
#[test]
fn validate_exits_by_what_it_finds() {
    let root = tempfile::tempdir().expect("there is a place for temporary files");
    let run = root.path().join("a/b");
    std::fs::create_dir_all(&run).expect("a folder can be made");
    std::fs::write(run.join("run.json"), "{\"judgement\":{\"verdict\":\"valid\"}}")
        .expect("written");
    let path = root.path().to_str().expect("it is a plain name");
    let codes = || {
        let output = loadgen(&["validate", path]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = codes();
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("WRONG  run.json: : \"seed\" is a required property"), "{text}");
    let bad = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../checker/testdata/invalid/linearizable.stale-read--read_of_the_past.jsonl");
    std::fs::copy(bad, run.join("history.jsonl")).expect("copied");
    let (code, text) = codes();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("history.jsonl is invalid, and run.json says valid"), "{text}");
    std::fs::write(run.join("run.json"), "{").expect("written");
    let output = loadgen(&["validate", run.to_str().expect("it is a plain name")]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_member_takes_the_place_of_the_guard() {
    let us = std::process::id().to_string();
    let output = loadgen(&["become-member", &us, "sh", "-c", "echo \"$0 $1\"; exit 7", "a", "--b"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(output.stdout, b"a --b\n");
}

#[test]
fn an_orphan_does_not_become_a_member() {
    // Process 1 is not the parent of a test.
    let output = loadgen(&["become-member", "1", "sh", "-c", "exit 7"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}
