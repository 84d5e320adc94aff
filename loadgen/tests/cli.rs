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
