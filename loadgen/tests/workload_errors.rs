//! Golden test: every way to get a workload wrong, and what the user reads.
//!
//! Each `testdata/workload/*.toml` is wrong in one way; its error stands in `errors.txt`, which a
//! run with `UPDATE_GOLDEN=1` writes anew. The workloads of the repository are right.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use rusd_loadgen::workload::{Origin, Workload};

fn error(file: &str, text: &str) -> String {
    let origin = if text.starts_with("# attached") { Origin::Attached } else { Origin::Started };
    let result =
        Workload::parse(file, text).and_then(|workload| workload.validate(file, text, origin));
    result.expect_err(file).to_string()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is in the repository");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn every_error_says_where_and_what() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/workload");
    let mut actual = String::new();
    for path in files(&folder) {
        let name = path.file_name().unwrap().to_str().unwrap();
        writeln!(actual, "{}", error(name, &fs::read_to_string(&path).unwrap())).unwrap();
    }
    let golden = folder.join("errors.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &actual).unwrap();
    }
    assert_eq!(actual, fs::read_to_string(golden).unwrap());
}

#[test]
fn the_workloads_of_the_repository_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads");
    let (presets, compared) = (files(&folder), files(&folder.join("compare")));
    assert!(presets.len() >= 4 && compared.len() >= 4, "{presets:?} {compared:?}");
    for path in presets.into_iter().chain(compared) {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.to_str().unwrap();
        let workload = Workload::parse(name, &text).unwrap();
        workload.validate(name, &text, Origin::Started).unwrap();
        assert_eq!(path.file_stem().unwrap().to_str().unwrap(), workload.name);
    }
}

/// The demo's promise: whatever the seed, the leader is killed, somebody stands still and somebody
/// is cut off, and no two faults overlap, so that the cluster always has a majority.
#[test]
fn the_demo_breaks_something_of_each_kind_with_any_seed() {
    use rusd_loadgen::nemesis::schedule::timetable;
    use rusd_loadgen::workload::{FaultKind, Target};

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/mixed-faults.toml");
    let text = fs::read_to_string(path).unwrap();
    let workload = Workload::parse("mixed-faults.toml", &text).unwrap();
    for seed in 0..500 {
        let timetable = timetable(&workload, seed);
        let has = |kind, target: Option<Target>| {
            timetable
                .iter()
                .any(|fault| fault.kind == kind && target.is_none_or(|t| fault.target == t))
        };
        assert!(has(FaultKind::Kill, Some(Target::Leader)), "seed {seed}");
        assert!(has(FaultKind::Pause, None) && has(FaultKind::Partition, None), "seed {seed}");
        assert!(has(FaultKind::MoveLeader, None), "seed {seed}");
        for pair in timetable.windows(2) {
            assert!(
                pair[0].start_ns + pair[0].lasts_ns < pair[1].start_ns,
                "seed {seed}: {pair:?}"
            );
        }
    }
}
