//! `loadgen run --stop-on-violation`: the load ends as soon as a promise is seen to be broken, and the
//! history of it is judged as ever.
//!
//! The server is our own yardstick, which answers every call at once and knows nothing: it takes puts
//! and never gets to another revision.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusd_loadgen::wire::null;
use serde_json::Value;

const WORKLOAD: &str = "\
duration = \"30s\"
clients = 2
keys = { count = 4 }
mix = { put = 1, get = 1 }
";
/// So many operations are due in that time at 200 a second, if nothing ends the load.
const DUE: u64 = 30 * 200;

/// A server that breaks its promises, as long as the test goes on; says where.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || null::serve(&listener).expect("it accepts"));
    address
}

/// What a run below this folder says of itself.
fn report(folder: &Path) -> Value {
    let only = |folder: &Path| -> PathBuf {
        let mut entries = std::fs::read_dir(folder).expect("the run has a folder");
        entries.next().expect("one run").expect("readable").path()
    };
    let text = std::fs::read(only(&only(folder)).join("run.json")).expect("the run is kept");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn the_load_ends_at_the_first_violation() {
    let folder = tempfile::tempdir().expect("there is a place for temporary files");
    let workload = folder.path().join("early.toml");
    std::fs::write(&workload, WORKLOAD).expect("written");
    let out = folder.path().join("runs");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.arg("run").arg(&workload).arg("--out").arg(&out);
    command.args(["--endpoints", &serve(), "--rate", "200", "--record", "--stop-on-violation"]);
    let output = command.output().expect("cargo built it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");

    let report = report(&out);
    let stopped_by = report["stopped_by"].as_str().unwrap_or_default();
    assert!(stopped_by.contains(", line "), "{}", report["stopped_by"]);
    let answered = report["load"]["counts"]["ok"].as_u64().expect("operations are counted");
    assert!((1..DUE / 2).contains(&answered), "{answered} of {DUE} operations were answered");
    assert_eq!(report["judgement"]["verdict"], "invalid");
    assert_eq!(report["incidents"].as_array().map(Vec::len), Some(0), "{}", report["incidents"]);
}
