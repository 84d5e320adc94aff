//! A few schedules of whole servers, as a test; `cargo xtask sim --whole` runs many.

use rusd_sim::plants::Plant;
use rusd_sim::schedule::{Counts, Settings};
use rusd_sim::whole;

#[test]
fn servers_keep_their_promises() {
    let mut counts = Counts::default();
    for seed in 1..=4 {
        let outcome = whole::run(&whole::plan(seed), &Settings::default());
        if let Some(violation) = outcome.violation {
            panic!("seed {seed}: {violation}");
        }
        counts += outcome.counts;
    }
    assert!(counts.operations > 300 && counts.faults > 5 && counts.elections > 2, "{counts:?}");
}

#[test]
fn a_seed_gives_the_same_trace_again() {
    let plan = whole::plan(5);
    let [one, other] = [0, 1].map(|_| whole::run(&plan, &Settings::default()));
    assert_eq!(one.trace.hash(), other.trace.hash());
    assert_eq!(one.records, other.records);
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let settings = Settings { plant: Some(Plant::SyncSkippedByFollower), ..Settings::default() };
    let finds = |seed| whole::run(&whole::plan(seed), &settings).violation.is_some();
    assert!((1..=20).any(finds));
}
