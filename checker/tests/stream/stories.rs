//! The histories of `testdata`, and those of stores with one bug: what a stream finds, and what it
//! leaves to the whole check.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusd_checker::history::jsonl::Reader;
use rusd_checker::history::record::Record;
use rusd_checker::stream::StreamOptions;
use rusd_checker::synthetic::{Bug, Shape};
use rusd_checker::{Rule, Verdict, Violation};

use super::{plain, records, stream, stream_with, whole};

fn files(folder: &str) -> Vec<(String, Vec<Record>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "jsonl") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_str().expect("text").to_owned();
        let text = fs::read(&path).expect("readable");
        let records = Reader::new(text.as_slice()).map(|next| next.expect("well-formed").1);
        found.push((name, records.collect()));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// Invalid histories of which the stream says that it does not know.
const LEFT: [&str; 21] = [
    // Two answers that contradict each other, after what nobody knows for certain.
    "content.agreement--after_what_is_not_certain",
    "content.compacted--read_below",
    "content.compacted--smaller_one_after",
    "content.refusal--key_was_there",
    "content.refusal--lease_was_there",
    "content.refusal--not_compacted_since_the_beginning",
    "content.refusal--not_in_the_future",
    "content.refusal--nothing_was_compacted",
    "lease.early-expiry--after_grant",
    "lease.early-expiry--after_renewal",
    "lease.late-expiry--long_after_its_renewal",
    "lease.late-expiry--long_after_the_last_fault",
    "lease.late-expiry--never_ended",
    "lease.lifecycle--kept_alive_before_grant",
    "lease.lifecycle--lost",
    "lease.lifecycle--never_granted",
    "lease.lifecycle--revoked",
    "linearizable.no-order--two_leases",
    // No watch on everything tells of these revisions.
    "revision.gap--far_away",
    "revision.gap--pinned_to_nobody",
    "revision.gap--used_twice",
];

#[test]
fn invalid_histories_are_found_or_left_to_the_whole_check() {
    let mut left = BTreeSet::new();
    for (name, records) in files("invalid") {
        match stream(&records, StreamOptions::default()) {
            Verdict::Invalid { .. } => {}
            Verdict::Unknown { .. } => {
                left.insert(name);
            }
            Verdict::Valid => panic!("{name} is not valid"),
        }
    }
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    assert_eq!(left, LEFT);
}

#[test]
fn valid_histories_are_not_accused() {
    for (name, records) in files("valid") {
        let verdict = stream(&records, StreamOptions::default());
        let is_accused = matches!(verdict, Verdict::Invalid { .. });
        assert!(!is_accused, "{name}: {verdict:#?}");
    }
}

#[test]
fn bugs_are_found_soon_after_they_show() {
    // What comes after a loss may show it first.
    let lost: &[Rule] = &[Rule::LostWrite, Rule::StaleRead, Rule::RealTimeOrder];
    let bugs: [(Bug, &[Rule]); 3] = [
        (Bug::StaleRead, &[Rule::StaleRead]),
        (Bug::LostWrites, lost),
        (Bug::DroppedEvent, &[Rule::WatchComplete]),
    ];
    for (bug, rules) in bugs {
        for seed in 0..10 {
            let records = records(seed, Shape { bug: Some(bug), ..plain() }, 4_000);
            let whole = whole(&records);
            let last =
                |violation: &Violation| violation.operations.iter().map(|own| own.line).max();
            let shown = whole.violations().iter().filter_map(last).min().expect("it names lines");
            let mut taken = 1;
            let options = StreamOptions { patience: 50, ..StreamOptions::default() };
            let report = stream_with(&records, options, |stream| {
                taken += u64::from(stream.violation().is_none());
            });
            let found = report.verdict.rule().expect("it is found");
            assert!(rules.contains(&found), "seed {seed}: {:#?}", report.verdict);
            assert!(taken <= shown + 200, "seed {seed}: {taken} records, {shown} would do");
        }
    }
}
