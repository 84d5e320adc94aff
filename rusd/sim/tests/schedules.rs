//! A few schedules, as a test; `cargo xtask sim` runs many.

use rusd_sim::plan::{self, Plan};
use rusd_sim::plants::Plant;
use rusd_sim::schedule::{self, Counts, Outcome, Settings};

fn run(seed: u64, settings: Settings) -> Outcome {
    schedule::run(&Plan::of(seed), &plan::config().expect("the defaults are good"), settings)
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
    assert!((1..=20).any(|seed| run(seed, settings).violation.is_some()));
}
