//! Invalid histories are shortened to a handful of records that break the same rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rusd_checker::history::History;
use rusd_checker::history::jsonl::Reader;
use rusd_checker::history::record::{Outcome, Record, Request, Response, ResponseBody};
use rusd_checker::history::text::Text;
use rusd_checker::synthetic::{Bug, Mix, Run, Shape};
use rusd_checker::{Options, Rule, Shrunk, Verdict, check, check_records, shrink};

fn history(records: Vec<Record>) -> History {
    History::collect(records).expect("well-formed")
}

fn made(seed: u64, shape: Shape, operations: u64) -> Vec<Record> {
    let mut run = Run::shaped(seed, shape);
    let header = Record::Header(run.header());
    std::iter::once(header).chain(run.records(operations)).collect()
}

/// Shrinks, and checks what every shrunk history must be.
#[track_caller]
fn shrunk(records: Vec<Record>) -> Shrunk {
    let options = Options { search_steps_max: 100_000, ..Options::default() };
    let whole = history(records);
    let before = check(&whole, &options).verdict;
    let shrunk = shrink(&whole, &options, &mut |_| {}).expect("invalid");
    let verdict = check_records(shrunk.records.clone(), &options).expect("well-formed").verdict;
    assert_eq!(verdict.rule(), before.rule(), "{:#?}", shrunk.records);
    assert_eq!(verdict, shrunk.report.verdict);
    let rules = |verdict: &Verdict| -> BTreeSet<Rule> {
        verdict.violations().iter().map(|violation| violation.rule).collect()
    };
    assert!(rules(&verdict).is_subset(&rules(&before)), "{verdict:#?}");
    shrunk
}

#[test]
fn bugs_are_shown_by_a_handful_of_records() {
    let leases = Mix { lease_grant: 4, lease_put: 20, lease_revoke: 0, ..Shape::large().mix };
    let early = Shape { mix: leases, lease_ttl: 1, unknown_per_mille: 0, ..Shape::medium() };
    let cases = [
        (Bug::StaleRead, Shape::medium(), 4),
        (Bug::LostWrites, Shape::medium(), 4),
        (Bug::DroppedEvent, Shape::medium(), 6),
        (Bug::SplitTxn, Shape::medium(), 8),
        (Bug::EarlyExpiry, Shape { keys: 2_000, ..early }, 8),
    ];
    for (bug, shape, most) in cases {
        for seed in 0..3 {
            let records = made(seed, Shape { bug: Some(bug), ..shape.clone() }, 2_000);
            let shrunk = shrunk(records);
            assert!(
                shrunk.records.len() <= most,
                "{bug:?}, seed {seed}: {} records after {} tries: {:#?}",
                shrunk.records.len(),
                shrunk.tried,
                shrunk.records
            );
        }
    }
}

#[test]
fn a_wrong_answer_is_shown_by_itself() {
    let mut records = made(4, Shape::medium(), 3_000);
    let middle = records.len() / 2;
    let wrong = records[middle..].iter_mut().find_map(|record| match record {
        Record::Op(operation) => match (&operation.request, &mut operation.outcome) {
            (
                Request::Range(range),
                Outcome::Ok(Response { body: ResponseBody::Range(got), .. }),
            ) if range.range_end.is_empty() && range.revision == 0 => got.kvs.first_mut(),
            _ => None,
        },
        _ => None,
    });
    wrong.expect("somebody reads a key").value = Text::from("nobody wrote this");
    let shrunk = shrunk(records);
    // The state that the history begins with, and the read.
    assert_eq!(shrunk.records.len(), 2, "{:#?}", shrunk.records);
    assert_eq!(shrunk.report.verdict.rule(), Some(Rule::ContentResponse));
}

#[test]
fn every_story_stays_its_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/invalid");
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.display().to_string();
        if name.contains("no-order") {
            // Only stateright says so.
            continue;
        }
        let text = fs::read(&path).expect("readable");
        let records = Reader::new(text.as_slice()).map(|next| next.expect("well-formed").1);
        let records: Vec<Record> =
            records.filter(|record| !matches!(record, Record::End(_))).collect();
        let before = records.len();
        assert!(shrunk(records).records.len() <= before, "{name}");
    }
}

#[test]
fn a_valid_history_is_not_shrunk() {
    let whole = history(made(1, Shape::medium(), 200));
    let report = shrink(&whole, &Options::default(), &mut |_| {}).expect_err("valid");
    assert_eq!(report.verdict, Verdict::Valid);
}
