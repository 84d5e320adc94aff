//! A few schedules, as a test; `cargo xtask sim` runs many.

use rusd_sim::plan::Plan;
use rusd_sim::plants::Plant;
use rusd_sim::schedule::{self, Counts, Outcome, Settings};
use rusd_sim::shrink::Failing;

fn run(seed: u64, settings: Settings) -> Outcome {
    schedule::run(&Plan::of(seed), &settings)
}

#[test]
fn clusters_keep_their_promises() {
    let mut counts = Counts::default();
    for seed in 1..=5 {
        let outcome = run(seed, Settings::default());
        assert!(
            outcome.violation.is_none(),
            "seed {seed}: {}",
            outcome.violation.expect("it is there")
        );
        counts += outcome.counts;
    }
    assert!(counts.operations > 1000 && counts.faults > 20 && counts.elections > 5, "{counts:?}");
}

#[test]
fn a_seed_gives_the_same_trace_again() {
    for seed in 11..=13 {
        let [one, other] = [0, 1].map(|_| run(seed, Settings::default()));
        assert_eq!(one.trace.hash(), other.trace.hash(), "seed {seed}");
        assert_eq!(one.records, other.records, "seed {seed}");
    }
    assert_ne!(
        run(11, Settings::default()).trace.hash(),
        run(12, Settings::default()).trace.hash()
    );
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let settings = Settings { plant: Some(Plant::SyncSkippedByFollower), ..Settings::default() };
    let found = |seed: &u64| run(*seed, settings.clone()).violation.is_some();
    let seed = (1..=20).find(found).expect("it is found");
    let plan = Plan::of(seed);
    let outcome = schedule::run(&plan, &settings);
    let before = outcome.faults.len();
    let failing =
        Failing::of(&plan, schedule::run, settings.plant, outcome).expect("it fails").shrunk();
    assert!(failing.faults() < before, "{}", failing.describe());
}
